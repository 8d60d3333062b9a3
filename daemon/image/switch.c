/* SPDX-License-Identifier: MIT */
/*
 * Another current plane (invariants 6 and 9; docs/format.md 9, "encryption off
 * / on"). Writes are held back meanwhile; sectors stay where they are.
 *
 * A plane that there is: policy -> superblock.
 * A new one: the file made long enough, key -> both keyrings -> durable ->
 * plane row and policy -> superblock -> durable. Until the superblock is, a
 * crash leaves a key that no plane names, and zeros behind the last plane.
 */
#include <errno.h>
#include <string.h>

#include "image/image.h"
#include "image/superblock.h"

static struct seal_plane *row_of(struct image *image, uint8_t value)
{
	return &image->super.planes[value - SEAL_ENTRY_PLANE_FIRST];
}

/* Of the planes of @kind the one under the newest key; 0: there is none. */
static uint8_t find_plane(const struct image *image, enum seal_plane_kind kind)
{
	uint64_t newest = 0;
	uint8_t found = 0;

	for (unsigned int i = 0; i < PLANES_MAX; i++) {
		const struct seal_plane *plane = &image->super.planes[i];

		if (plane->kind != kind || (found && le64_get(plane->key_id) < newest))
			continue;
		newest = le64_get(plane->key_id);
		found = (uint8_t)(i + SEAL_ENTRY_PLANE_FIRST);
	}
	return found;
}

/* The first place in the file that no plane lies in; there are as many as rows. */
static uint64_t free_place(const struct image *image)
{
	for (unsigned int nth = 0;; nth++) {
		const uint64_t offset = superblock_plane_offset(&image->super, nth);
		bool taken = false;

		for (unsigned int i = 0; i < PLANES_MAX; i++) {
			const struct seal_plane *plane = &image->super.planes[i];

			taken |= plane->kind != SEAL_PLANE_NONE &&
				 le64_get(plane->file_offset_bytes) == offset;
		}
		if (!taken)
			return offset;
	}
}

/*
 * The file must be as long as its planes, durably, before the superblock names a
 * new one: a sector of zeros at its end, a place that no entry names yet, makes
 * it so.
 */
static int make_room(struct image *image, uint64_t file_offset_bytes)
{
	static const uint8_t zeros[SECTOR_BYTES];
	const uint64_t plane_bytes = superblock_plane_offset(&image->super, 1) -
				     superblock_plane_offset(&image->super, 0);
	const uint64_t end_bytes = file_offset_bytes + plane_bytes;
	int r;

	if (image->store.bytes >= end_bytes)
		return 0;
	r = image_pwrite(image, end_bytes - sizeof(zeros), zeros, sizeof(zeros));
	if (r < 0)
		return r == -EDQUOT ? -ENOSPC : r;
	image->store.bytes = end_bytes;
	return image_sync(image) < 0 ? -EIO : 0;
}

static bool drop_unnamed_keys(struct image *image)
{
	bool any = false;

	for (unsigned int row = 0; row < PLANE_KEYS_MAX; row++) {
		const uint64_t key_id = le64_get(image->keyring.plane_keys[row].key_id);
		bool named = false;

		for (unsigned int i = 0; i < PLANES_MAX; i++)
			named |= image->super.planes[i].kind == SEAL_PLANE_SEALED &&
				 le64_get(image->super.planes[i].key_id) == key_id;
		if (named || key_id == 0)
			continue;
		keyring_drop_plane_key(&image->keyring, image->keys, key_id);
		any = true;
	}
	return any;
}

int image_drop_unnamed_keys(struct image *image)
{
	return drop_unnamed_keys(image) ? image_write_keyring(image) : 0;
}

/* A new key, durable in both keyrings (invariant 6). */
static int add_key(struct image *image, uint64_t now_s, uint64_t *ret_key_id)
{
	int r;

	drop_unnamed_keys(image);
	r = keyring_add_plane_key(&image->keyring, image->keys, now_s, ret_key_id);
	if (r < 0)
		return r;
	/* Not "no space" any more: something may have been written. */
	return image_write_keyring(image) < 0 ? -EIO : 0;
}

/* A row for a new plane, not yet written. Returns its map value, or what failed. */
static int add_plane(struct image *image, enum seal_plane_kind kind, uint64_t now_s)
{
	const struct map_plane plane = { .kind = kind, .file_offset_bytes = free_place(image) };
	uint8_t value = SEAL_ENTRY_PLANE_FIRST;
	uint64_t key_id = 0;
	int r;

	while (value < MAP_VALUES && row_of(image, value)->kind != SEAL_PLANE_NONE)
		value++;
	if (value == MAP_VALUES)
		return -ENOSPC;
	r = make_room(image, plane.file_offset_bytes);
	if (r == 0 && kind == SEAL_PLANE_SEALED)
		r = add_key(image, now_s, &key_id);
	if (r < 0)
		return r;
	*row_of(image, value) = (struct seal_plane){
		.kind = kind,
		.key_id = le64_of(key_id),
		.sectors = le64_of(image->disk.nr_sectors),
		.file_offset_bytes = le64_of(plane.file_offset_bytes),
		.born_generation = le64_of(map_add_plane(&image->disk.map, value, &plane)),
	};
	return value;
}

static int set_policy(struct image *image, uint8_t value, uint64_t now_s)
{
	struct seal_superblock *super = &image->super;
	const bool enabled = row_of(image, value)->kind == SEAL_PLANE_SEALED;

	if (enabled && !super->encryption_enabled)
		super->last_enabled_s = le64_of(now_s);
	super->encryption_enabled = enabled;
	super->current_plane = value;
	return image_write_super(image) < 0 ? -EIO : 0;
}

static const char *why(int error)
{
	if (error == -EFBIG)
		return "one more plane makes it larger than its file system can hold";
	if (error == -ENOSPC)
		return "no plane, key or space is left for one more plane";
	return "a write or flush has failed";
}

int image_switch(struct image *image, enum image_target target, uint64_t now_s,
		 struct problem *problem)
{
	const enum seal_plane_kind kind = target == IMAGE_TARGET_PLAIN ? SEAL_PLANE_PLAIN
								       : SEAL_PLANE_SEALED;
	int r = target == IMAGE_TARGET_NEW_PLANE ? 0 : find_plane(image, kind);

	if (r != 0 && r == image->super.current_plane)
		return 0;
	if (atomic_load(&image->disk.map.failed))
		r = -EIO;
	if (r == 0)
		r = add_plane(image, kind, now_s);
	if (r > 0)
		r = set_policy(image, (uint8_t)r, now_s);
	if (r == 0)
		r = image_lane_learn(image, &image->lane, image->super.current_plane);
	if (r == 0) {
		image_rewrite_look(image);
		return 0;
	}
	if (r != -ENOSPC && r != -EFBIG)
		map_fail(&image->disk.map, r);
	problem_set(problem, "image", image->path, "cannot switch planes: %s", why(r));
	return r;
}
