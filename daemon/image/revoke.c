/* SPDX-License-Identifier: MIT */
/* Keys leave, and come back: see revoke.h. */
#include "image/revoke.h"

#include <errno.h>
#include <string.h>

#include "image/superblock.h"
#include "keys/key_mem.h"

/* ---- of an image that is being served ---- */

int image_revoke_prepare(struct image *image, struct revoked_supers *ret_supers)
{
	struct seal_superblock super = image->super;
	int r;

	super.revoked = 1;
	super.generation = le64_of(le64_get(super.generation) + 1);
	ret_supers->clean = super;
	ret_supers->clean.open_state = SEAL_CLEAN;
	ret_supers->unclean = super;
	r = superblock_finish(&ret_supers->clean, &image->lane.mac);
	return r == 0 ? superblock_finish(&ret_supers->unclean, &image->lane.mac) : r;
}

void image_forget_keys(struct image *image)
{
	image_lane_done(&image->lane);
	image->keys = key_mem_free(image->keys);
}

int image_revoke_finish(struct image *image, const struct revoked_supers *supers, int rest,
			bool *ret_clean, struct problem *problem)
{
	/* Also with places left to punch: blocks that are loaded later want equal slots. */
	const bool settled = rest == 0 || rest == -ENOSPC;
	int equalised = settled ? image_equalise(image) : 0;
	int r;

	if (equalised < 0)
		map_fail(&image->disk.map, equalised);
	*ret_clean = rest == 0 && equalised == 0;
	image->super = *ret_clean ? supers->clean : supers->unclean;
	image_rewrite_look(image);
	r = image_put_super(image);
	if (r < 0) {
		map_fail(&image->disk.map, r);
		problem_set(problem, "image", image->path,
			    "its keys have left memory and all I/O is refused, but that it is "
			    "revoked cannot be written to it: %s",
			    strerror(-r));
		return -EIO;
	}
	if (*ret_clean) {
		image->dirty_store->ops->keep_only(image->dirty_store, image->super.uuid,
						   image->store.inode, NULL);
		image->started = false;
	}
	return 0;
}

static int tell_unlocked(const struct image *image, int r, struct problem *problem)
{
	if (r == -EKEYREJECTED)
		problem_set(problem, "image", image->path, "none of the keys given opens it");
	else if (r < 0)
		problem_set(problem, "image", image->path, "cannot be unlocked: %s", strerror(-r));
	return r == -EBADMSG || r == -EINVAL ? -EUCLEAN : r;
}

int image_check_key(const struct image *image, const struct key_secret *secret,
		    struct problem *problem)
{
	unsigned int slot;

	return tell_unlocked(image, keyring_find_slot(&image->keyring, secret, &slot), problem);
}

int image_restore_keys(struct image *image, const struct key_secret *secret,
		       struct problem *problem)
{
	int r;

	if (atomic_load(&image->disk.map.failed)) {
		problem_set(
			problem, "image", image->path,
			"could not be closed cleanly when it was revoked: stop its daemon, then "
			"restore it");
		return -EIO;
	}
	r = tell_unlocked(
		image, keyring_unlock(&image->keyring, &secret, 1, &image->key_slot, &image->keys),
		problem);
	if (r < 0)
		return r;
	r = image_lane_init(image, &image->lane, image->xts);
	if (r < 0) {
		problem_set(problem, "image", image->path, "cannot set up its keys: %s",
			    strerror(-r));
		image_forget_keys(image);
	}
	return r;
}

int image_restore_finish(struct image *image, struct problem *problem)
{
	const struct seal_superblock before = image->super;
	int r;

	image->super.revoked = 0;
	r = image_start_again(image, problem);
	if (r == 0) {
		map_resume(&image->disk.map, le64_get(image->super.open_seq));
		return 0;
	}
	image->super = before;
	if (r == -EIO)
		map_fail(&image->disk.map, r);
	return r;
}

/* ---- of one that nobody serves ---- */

/*
 * After a sync that failed, a later one may well succeed without the data: what
 * the killed daemon's dirty file names must not be believed any more.
 */
static void void_dirty_file(const struct image *image, struct dirty_store *dirty_store)
{
	struct dirty_file dirty = { 0 };
	void *memory = NULL;

	if (dirty_store->ops->find(dirty_store, image->super.uuid, image->super.open_nonce,
				   &memory) < 0)
		return;
	dirty.header = memory;
	dirty_file_void(&dirty);
	dirty_store->ops->release(dirty_store, memory);
}

int image_mark_revoked(struct image *image, bool revoked, struct dirty_store *dirty_store,
		       bool *ret_changed, struct problem *problem)
{
	int r;

	*ret_changed = image->super.revoked != revoked;
	if (!*ret_changed)
		return 0;
	/* First: a superblock that is in the cache only must not be torn with the other one. */
	r = image_sync(image);
	image->super.revoked = revoked;
	if (r == 0)
		r = image_write_super(image);
	if (r == 0)
		return 0;
	if (image->sync_failed && image->super.open_state == SEAL_UNCLEAN)
		void_dirty_file(image, dirty_store);
	problem_set(problem, "image", image->path,
		    "its superblock cannot be written (%s): whether it is revoked shows when it is "
		    "opened again",
		    strerror(-r));
	return -EIO;
}
