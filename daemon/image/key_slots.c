/* SPDX-License-Identifier: MIT */
/*
 * Key slots: see key_slots.h. A rotation is two changes of the keyring:
 *
 * new slot -> copy, sync, copy, sync -> old slot emptied -> copy, sync, copy, sync
 */
#include "image/key_slots.h"

#include <errno.h>
#include <string.h>

/* Nothing has been written. */
static int refused(const struct image *image, int error, const char *text, struct problem *problem)
{
	problem_set(problem, "image", image->path, "%s", text);
	return error;
}

static int failed(const struct image *image, int error, struct problem *problem)
{
	problem_set(problem, "image", image->path, "its keys cannot be changed: %s",
		    strerror(-error));
	return error;
}

/* A sync that failed may have lost data of others too: invariant 7. */
static int write_keyring(struct image *image, struct problem *problem)
{
	int r = image_write_keyring(image);

	if (r == 0)
		return 0;
	if (image->started)
		map_fail(&image->disk.map, r);
	problem_set(problem, "image", image->path,
		    "its keyring cannot be written (%s): which keys open it shows when it is "
		    "opened again",
		    strerror(-r));
	return -EIO;
}

/* @secret: NULL: what the image was unlocked with. */
static int find_old_slot(const struct image *image, const struct key_secret *secret,
			 unsigned int *ret_slot, struct problem *problem)
{
	int r = 0;

	*ret_slot = image->key_slot;
	if (secret)
		r = keyring_find_slot(&image->keyring, secret, ret_slot);
	if (r == -EKEYREJECTED)
		return refused(image, r, "none of the keys given opens it", problem);
	return r < 0 ? failed(image, r, problem) : 0;
}

/* In no slot yet, or in which one. */
static int put_in_slot(struct image *image, const struct key_change *change,
		       struct key_change_result *result, struct problem *problem)
{
	int r = keyring_find_slot(&image->keyring, change->new_secret, &result->new_slot);

	if (r == 0)
		return 0;
	if (r == -EKEYREJECTED)
		r = keyring_add_slot(&image->keyring, image->keys, change->new_secret,
				     change->now_s, &result->new_slot);
	if (r == -ENOSPC)
		return refused(image, r, "all its key slots are in use: remove one first", problem);
	if (r < 0)
		return failed(image, r, problem);
	result->added = true;
	return write_keyring(image, problem);
}

static int empty_slot(struct image *image, struct key_change_result *result,
		      struct problem *problem)
{
	keyring_drop_slot(&image->keyring, result->old_slot);
	result->removed = true;
	return write_keyring(image, problem);
}

static int add(struct image *image, const struct key_change *change,
	       struct key_change_result *result, struct problem *problem)
{
	unsigned int old_slot;
	int r = find_old_slot(image, change->secret, &old_slot, problem);

	return r == 0 ? put_in_slot(image, change, result, problem) : r;
}

static int rotate(struct image *image, const struct key_change *change,
		  struct key_change_result *result, struct problem *problem)
{
	int r = find_old_slot(image, change->secret, &result->old_slot, problem);

	if (r == 0)
		r = put_in_slot(image, change, result, problem);
	if (r < 0)
		return r;
	if (result->new_slot == result->old_slot)
		return refused(image, -EINVAL, "the new key is the old one", problem);
	r = empty_slot(image, result, problem);
	if (r == 0)
		image->key_slot = result->new_slot;
	return r;
}

static int remove_slot(struct image *image, const struct key_change *change,
		       struct key_change_result *result, struct problem *problem)
{
	const unsigned int nr_slots = keyring_count_slots(&image->keyring);

	result->old_slot = change->slot;
	if (image->keyring.slots[change->slot].kind == 0)
		return 0;
	if (nr_slots > 1 && change->destroy_data)
		return refused(image, -EINVAL,
			       "--destroy-data is for the last key slot, and others are in use",
			       problem);
	if (nr_slots == 1 && !change->destroy_data)
		return refused(image, -EINVAL,
			       "this is its last key slot: to remove it destroys all data for ever "
			       "(--destroy-data)",
			       problem);
	/* The keys in the daemon's memory would go on opening everything. */
	if (nr_slots == 1 && image->started)
		return refused(image, -EBUSY,
			       "is being served: its daemon, which has the keys, must be stopped "
			       "before its data can be destroyed",
			       problem);
	return empty_slot(image, result, problem);
}

int image_change_keys(struct image *image, const struct key_change *change,
		      struct key_change_result *ret_result, struct problem *problem)
{
	static int (*const changes[])(struct image * image, const struct key_change *change,
				      struct key_change_result *result, struct problem *problem) = {
		[KEY_CHANGE_ADD] = add,
		[KEY_CHANGE_REMOVE] = remove_slot,
		[KEY_CHANGE_ROTATE] = rotate,
	};
	int r;

	*ret_result = (struct key_change_result){ 0 };
	if (!image->writable)
		return refused(image, -EROFS, "is served --read-only", problem);
	if (atomic_load(&image->disk.map.failed))
		return failed(image, -EIO, problem);
	r = changes[change->kind](image, change, ret_result, problem);
	ret_result->nr_slots_left = keyring_count_slots(&image->keyring);
	return r;
}
