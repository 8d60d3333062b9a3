/* SPDX-License-Identifier: MIT */
/*
 * A session: from the first lane that may serve an image to its clean close.
 *
 * image_start: merge and recover what a crash left -> new dirty file -> durable
 * superblock with the new open nonce, `unclean` -> serve (invariant 5).
 * image_stop: commit and sweep -> equal slots -> durable superblock, `clean`.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypt/wrap.h"
#include "image/image.h"
#include "map/entries.h"
#include "request/cipher.h"

int image_lane_init(struct image *image, struct lane *lane, const struct xts_ops *xts)
{
	const struct xts_key *plane_keys[MAP_VALUES] = { 0 };
	const uint8_t *mac_key =
		keyring_find_mac_key(image->keys, le64_get(image->super.mac_key_id));
	int r;

	for (unsigned int i = 0; i < PLANES_MAX; i++) {
		const struct seal_plane *plane = &image->super.planes[i];

		if (plane->kind != SEAL_PLANE_SEALED)
			continue;
		plane_keys[i + SEAL_ENTRY_PLANE_FIRST] =
			keyring_find_plane_key(image->keys, le64_get(plane->key_id));
		if (!plane_keys[i + SEAL_ENTRY_PLANE_FIRST])
			return -ENOKEY;
	}
	lane->disk = &image->disk;
	if (!lane->mac.impl) {
		r = mac_init(&lane->mac, mac_key);
		if (r < 0)
			return r;
	}
	r = cipher_init(lane, xts, plane_keys);
	if (r < 0)
		mac_done(&lane->mac);
	return r;
}

int image_lane_learn(struct image *image, struct lane *lane, uint8_t value)
{
	const struct seal_plane *plane = &image->super.planes[value - SEAL_ENTRY_PLANE_FIRST];
	const struct xts_key *key;

	if (plane->kind != SEAL_PLANE_SEALED || cipher_has(lane, value))
		return 0;
	key = keyring_find_plane_key(image->keys, le64_get(plane->key_id));
	return key ? cipher_add(lane, image->xts, value, key) : -ENOKEY;
}

void image_lane_forget(struct lane *lane, uint32_t gone)
{
	for (unsigned int value = SEAL_ENTRY_PLANE_FIRST; value < MAP_VALUES; value++)
		if (gone >> value & 1)
			cipher_drop(lane, (uint8_t)value);
}

void image_lane_done(struct lane *lane)
{
	cipher_done(lane);
	mac_done(&lane->mac);
}

static struct dirty_identity dirty_identity_of(const struct image *image)
{
	return (struct dirty_identity){
		.uuid = image->super.uuid,
		.open_nonce = image->super.open_nonce,
		.boot_id = image->super.boot_id,
		.image_inode = image->store.inode,
		.mac_key_id = le64_get(image->super.mac_key_id),
	};
}

static int loss(struct image *image, const struct image_session *session, const char *what,
		struct problem *problem)
{
	if (session->accept_loss)
		return 0;
	problem_set(problem, "image", image->path,
		    "%s: writes that were acknowledged but not flushed may be lost; "
		    "serve it with --accept-loss to go on without them",
		    what);
	return -EUCLEAN;
}

/*
 * The dirty file of the daemon that was killed, if this host has not been
 * rebooted since; ret_dirty->header NULL: nothing to merge.
 */
static int find_dirty_file(struct image *image, const struct image_session *session,
			   struct dirty_file *ret_dirty, void **ret_memory, struct problem *problem)
{
	struct dirty_identity id = dirty_identity_of(image);
	int r;

	*ret_memory = NULL;
	*ret_dirty = (struct dirty_file){ 0 };
	if (memcmp(image->super.boot_id, session->boot_id, SEAL_UUID_BYTES) != 0)
		return 0;
	r = image->dirty_store->ops->find(image->dirty_store, image->super.uuid,
					  image->super.open_nonce, ret_memory);
	if (r == -ENOENT)
		return loss(image, session, "was not closed, and its dirty file is missing",
			    problem);
	if (r < 0) {
		/* It may be there: nobody is to be talked into giving it up. */
		problem_set(problem, "image", image->path,
			    "its dirty file in the runtime directory cannot be opened: %s",
			    strerror(-r));
		return r;
	}
	r = dirty_file_adopt(ret_dirty, *ret_memory, &id, &image->lane.mac);
	if (r == 0)
		return 0;
	image->dirty_store->ops->release(image->dirty_store, *ret_memory);
	*ret_memory = NULL;
	if (r == -ESTALE)
		return loss(image, session, "failed to write, and was closed for that", problem);
	if (r != -EBADMSG) {
		problem_set(problem, "image", image->path, "cannot compute a MAC: %s",
			    strerror(-r));
		return r;
	}
	return loss(image, session, "was not closed, and its dirty file is not of this image",
		    problem);
}

static int bump_open_seq(struct image *image, struct problem *problem)
{
	uint64_t seq = le64_get(image->super.open_seq) + 1;

	if (seq >> (64 - SEAL_ROUND_BITS)) {
		problem_set(problem, "image", image->path, "opened 2^24 times: make a new one");
		return -EOVERFLOW;
	}
	image->super.open_seq = le64_of(seq);
	image->disk.map.config.open_seq = seq;
	return 0;
}

/*
 * Until the last step of image_start() the superblock names the old open nonce,
 * so that a crash in here finds the old dirty file again.
 */
static int recover(struct image *image, const struct image_session *session,
		   struct problem *problem)
{
	struct dirty_file dirty;
	bool lost;
	void *memory;
	int r = find_dirty_file(image, session, &dirty, &memory, problem);

	if (r < 0)
		return r;
	r = image_settle_cache(image, problem);
	lost = r < 0;
	if (r == 0)
		r = bump_open_seq(image, problem);
	if (r == 0 && image_write_super(image) < 0) {
		problem_set(problem, "image", image->path, "cannot write its superblock");
		r = -EIO;
	}
	if (r == 0)
		r = image_recover(image, dirty.header ? &dirty : NULL, problem);
	/*
	 * A second try would find the fsync that failed successful (invariant 7). After
	 * any other failure it finds all as it was, and what was acknowledged with it.
	 */
	if (lost || image->sync_failed || atomic_load(&image->disk.map.failed))
		dirty_file_void(&dirty);
	image->dirty_store->ops->release(image->dirty_store, memory);
	return r;
}

static int grow_dirty_file(void *arg, size_t offset_bytes, size_t nr_bytes)
{
	const struct image *image = arg;
	struct dirty_store *store = image->dirty_store;

	if (!store->ops->grow)
		return 0;
	return store->ops->grow(store, image->dirty_memory, offset_bytes, nr_bytes);
}

/* A dirty file for this session, under a nonce that the superblock does not yet name. */
static int new_dirty_file(struct image *image, const uint8_t nonce[SEAL_NONCE_BYTES],
			  const uint8_t boot_id[SEAL_UUID_BYTES], struct problem *problem)
{
	struct dirty_identity id = dirty_identity_of(image);
	int r;

	id.open_nonce = nonce;
	id.boot_id = boot_id;
	r = image->dirty_store->ops->create(image->dirty_store, image->super.uuid, nonce,
					    &image->dirty_memory);
	if (r == 0)
		r = dirty_file_format(&image->disk.map.dirty_file, image->dirty_memory, &id,
				      &image->lane.mac);
	image->disk.map.dirty_file.grow = grow_dirty_file;
	image->disk.map.dirty_file.grow_arg = image;
	if (r < 0)
		problem_set(problem, "image", image->path,
			    "cannot make its dirty file in the runtime directory: %s",
			    strerror(-r));
	return r;
}

/*
 * A daemon that was killed while it closed the image may have left a superblock
 * in the cache only: it must be on the disk before the other one is written, or
 * a power cut could tear both.
 */
static int settle_clean(struct image *image, struct problem *problem)
{
	int r = image_sync(image);

	if (r < 0)
		problem_set(problem, "image", image->path, "cannot be synced: %s", strerror(-r));
	return r;
}

static int begin_session(struct image *image, const struct image_session *session, bool was_clean,
			 struct problem *problem)
{
	uint8_t nonce[SEAL_NONCE_BYTES];
	int r = random_public(nonce, sizeof(nonce));

	if (r == 0 && was_clean)
		r = settle_clean(image, problem);
	if (r == 0 && was_clean)
		r = bump_open_seq(image, problem);
	if (r == 0)
		r = new_dirty_file(image, nonce, session->boot_id, problem);
	if (r < 0)
		return r;
	memcpy(image->super.open_nonce, nonce, sizeof(nonce));
	memcpy(image->super.boot_id, session->boot_id, SEAL_UUID_BYTES);
	image->super.open_state = SEAL_UNCLEAN;
	/* On failure both dirty files stay: either superblock may be the one that counts. */
	if (image_write_super(image) < 0) {
		problem_set(problem, "image", image->path, "cannot write its superblock");
		return -EIO;
	}
	image->dirty_store->ops->keep_only(image->dirty_store, image->super.uuid,
					   image->store.inode, nonce);
	image->started = true;
	if (image_drop_unnamed_keys(image) < 0) {
		problem_set(problem, "image", image->path, "cannot write its keyring");
		return -EIO;
	}
	image_rewrite_look(image);
	return 0;
}

int image_start(struct image *image, const struct image_session *session, struct problem *problem)
{
	bool was_clean = image->super.open_state == SEAL_CLEAN;
	int r;

	image->dirty_store = session->dirty_store;
	image->xts = session->xts;
	r = image_lane_init(image, &image->lane, session->xts);
	if (r < 0) {
		problem_set(problem, "image", image->path, "cannot set up its keys: %s",
			    strerror(-r));
		return r == -EINVAL || r == -ENOKEY ? -EUCLEAN : r;
	}
	if (!image->writable) {
		if (was_clean)
			return 0;
		problem_set(problem, "image", image->path,
			    "was not closed: serve it once without --read-only to recover it");
		return -EUCLEAN;
	}
	/* Else what has been superseded would stay in it, and the image be marked clean. */
	assert(!image->base_identity.owned || image->owned_base);
	image_find_base_extents(image);
	if (!was_clean)
		r = recover(image, session, problem);
	else
		image_count_if_needed(image);
	if (r == 0)
		r = begin_session(image, session, was_clean, problem);
	return r;
}

static void drop_dirty_memory(struct image *image)
{
	image->disk.map.dirty_file = (struct dirty_file){ 0 };
	image->dirty_store->ops->release(image->dirty_store, image->dirty_memory);
	image->dirty_memory = NULL;
}

int image_start_again(struct image *image, struct problem *problem)
{
	struct image_session session = { .dirty_store = image->dirty_store };
	int r;

	memcpy(session.boot_id, image->super.boot_id, sizeof(session.boot_id));
	drop_dirty_memory(image);
	r = begin_session(image, &session, true, problem);
	if (r < 0)
		drop_dirty_memory(image);
	return r;
}

/* Give the stale slot of @index what the other one holds. */
static int equalise(struct image *image, uint64_t offset, unsigned int slot)
{
	struct seal_block block;
	int r = image_pread(image, offset + slot * SEAL_BLOCK_BYTES, &block, sizeof(block));

	if (r == 0)
		r = image_pwrite(image, offset + (slot ^ 1u) * SEAL_BLOCK_BYTES, &block,
				 sizeof(block));
	return r;
}

int image_equalise(struct image *image)
{
	struct map *map = &image->disk.map;
	uint64_t i = bitset_next(map->lagging, 0, map->nr_blocks);
	int r = 0;

	for (; i < map->nr_blocks && r == 0; i = bitset_next(map->lagging, i + 1, map->nr_blocks))
		r = equalise(image, map_pair_offset(map, i), bitset_has(map->slots, i));
	for (i = 0; i < map->nr_bitmap_blocks && r == 0; i++)
		r = equalise(image, map->config.bitmap_offset + i * SEAL_PAIR_BYTES,
			     map->bitmap_slots[i]);
	return r == 0 ? image_sync(image) : r;
}

int image_stop(struct image *image, struct problem *problem)
{
	int r;

	if (image->super.revoked && (image->started || atomic_load(&image->disk.map.failed))) {
		problem_set(
			problem, "image", image->path,
			"was not closed cleanly: when its keys were revoked or restored, a write "
			"failed or hung");
		return -EIO;
	}
	if (!image->started)
		return 0;
	map_set_lanes(&image->disk.map, &image->only_lane, 1);
	r = image_settle(image);
	if (r == 0 && image->disk.map.punch_failed) {
		/* Once more: space may have come back since. */
		image->disk.map.punch_failed = false;
		r = image_sweep(image);
	}
	if (r == 0)
		r = image_equalise(image);
	if (r == 0 && (image->disk.map.punch_failed || image->disk.map.punch_again_ms)) {
		/* The next open sweeps again; until then it is not all encrypted (invariant 11). */
		problem_set(problem, "image", image->path,
			    "all writes are safe, but superseded data could not be punched out; "
			    "left marked unclean");
		return -EIO;
	}
	if (r == 0) {
		image->super.open_state = SEAL_CLEAN;
		r = image_write_super(image);
	}
	if (r < 0) {
		problem_set(problem, "image", image->path,
			    "could not be closed cleanly: a write or flush has failed");
		return -EIO;
	}
	image->dirty_store->ops->keep_only(image->dirty_store, image->super.uuid,
					   image->store.inode, NULL);
	image->started = false;
	return 0;
}
