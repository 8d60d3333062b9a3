/* SPDX-License-Identifier: MIT */
/*
 * Background rewrites: see rewrite.h. The end of one, when no slot names what it
 * was to move:
 *
 * old places punched -> durable -> superblock without the planes or the base
 * -> durable -> keyring without their keys -> durable
 */
#include "image/rewrite.h"

#include <errno.h>
#include <string.h>

#include "image/image.h"
#include "map/entries.h"

static uint32_t planes_of_kind(const struct image *image, enum seal_plane_kind kind)
{
	uint32_t planes = 0;

	for (unsigned int i = 0; i < PLANES_MAX; i++)
		if (image->super.planes[i].kind == kind)
			planes |= 1u << (i + SEAL_ENTRY_PLANE_FIRST);
	return planes;
}

/* In a session. Rewrites go to the current plane: never while that is plain (invariant 6). */
static uint32_t jobs_of(const struct image *image)
{
	const struct seal_superblock *super = &image->super;

	if (!image->started || !super->encryption_enabled || super->revoked)
		return 0;
	return super->rewrites & ~(uint32_t)super->rewrites_paused;
}

static uint32_t entries_of(const struct image *image, uint32_t jobs)
{
	uint32_t entries = 0;

	if (jobs & SEAL_REWRITE_ENCRYPT)
		entries |= planes_of_kind(image, SEAL_PLANE_PLAIN) |
			   (image->super.has_base ? 1u << SEAL_ENTRY_BASE : 0);
	if (jobs & SEAL_REWRITE_REKEY)
		entries |= planes_of_kind(image, SEAL_PLANE_SEALED);
	return entries & ~(1u << image->super.current_plane);
}

void image_rewrite_look(struct image *image)
{
	const uint32_t jobs = jobs_of(image);

	atomic_store(&image->rewrite.started, image->super.rewrites);
	atomic_store(&image->rewrite.paused, image->super.rewrites_paused);
	atomic_store(&image->rewrite.entries, entries_of(image, jobs));
	atomic_store(&image->rewrite.jobs, jobs);
	atomic_fetch_add(&image->rewrite.nr_starts, 1);
}

/* ---- starting and pausing ---- */

static int store_rewrites(struct image *image, unsigned int rewrites, unsigned int paused,
			  struct problem *problem)
{
	struct seal_superblock *super = &image->super;
	int r;

	/* Told again what it does already, it goes on where it is. */
	if (super->rewrites == rewrites && super->rewrites_paused == paused)
		return 0;
	super->rewrites = (uint8_t)rewrites;
	super->rewrites_paused = (uint8_t)paused;
	r = image_write_super(image);
	if (r < 0) {
		map_fail(&image->disk.map, r);
		problem_set(problem, "image", image->path, "its superblock cannot be written: %s",
			    strerror(-r));
		return -EIO;
	}
	image_rewrite_look(image);
	return 0;
}

static int refuse_failed(const struct image *image, struct problem *problem)
{
	if (!atomic_load(&image->disk.map.failed))
		return 0;
	problem_set(problem, "image", image->path, "a write or flush has failed");
	return -EIO;
}

static int refuse_off(const struct image *image, struct problem *problem)
{
	if (image->super.encryption_enabled)
		return 0;
	problem_set(problem, "image", image->path,
		    "its encryption is off: switch it on first (sealblk encryption on)");
	return -EPERM;
}

int image_rewrite_start(struct image *image, enum seal_rewrite which, struct problem *problem)
{
	const struct seal_superblock *super = &image->super;
	int r = refuse_failed(image, problem);

	if (r == 0)
		r = refuse_off(image, problem);
	if (r < 0)
		return r;
	return store_rewrites(image, super->rewrites | which,
			      super->rewrites_paused & ~(unsigned int)which, problem);
}

int image_rewrite_pause(struct image *image, enum seal_rewrite which, bool paused,
			struct problem *problem)
{
	const struct seal_superblock *super = &image->super;
	unsigned int all = super->rewrites_paused & ~(unsigned int)which;
	int r = refuse_failed(image, problem);

	if (r < 0 || !(super->rewrites & which))
		return r;
	return store_rewrites(image, super->rewrites, paused ? all | which : all, problem);
}

int image_rekey_check(const struct image *image, const struct rewrite_order *order,
		      struct problem *problem)
{
	const unsigned int nr_slots = keyring_count_slots(&image->keyring);
	unsigned int slot;
	int r = refuse_failed(image, problem);

	if (r == 0)
		r = refuse_off(image, problem);
	if (r < 0)
		return r;
	r = keyring_find_slot(&image->keyring, order->secret, &slot);
	if (r == -EKEYREJECTED) {
		problem_set(problem, "image", image->path, "none of the keys given opens it");
	} else if (r < 0) {
		problem_set(problem, "image", image->path, "cannot be unlocked: %s", strerror(-r));
	} else if (nr_slots > 1 && !order->drop_other_slots &&
		   !(image->super.rewrites & SEAL_REWRITE_REKEY)) {
		problem_set(problem, "image", image->path,
			    "after a rekey only the key given opens it, and %u key slots are in "
			    "use: give --drop-other-slots, and add the others again afterwards",
			    nr_slots);
		r = -EBUSY;
	}
	return r;
}

int image_renew_key(struct image *image, const struct key_secret *secret, struct problem *problem)
{
	unsigned int slot;
	int r = keyring_find_slot(&image->keyring, secret, &slot);

	if (r == 0)
		r = keyring_renew_image_key(&image->keyring, image->keys, secret, slot);
	if (r < 0) {
		problem_set(problem, "image", image->path, "its image key cannot be renewed: %s",
			    strerror(-r));
		return r;
	}
	image->key_slot = slot;
	r = image_write_keyring(image);
	if (r < 0) {
		map_fail(&image->disk.map, r);
		problem_set(problem, "image", image->path, "its keyring cannot be written: %s",
			    strerror(-r));
		return -EIO;
	}
	return 0;
}

/* ---- is anything left? ---- */

/* Data of the base under @nr entries of 0 from @first_sector on? As image_names_entries(). */
static int names_base_data(struct image *image, uint64_t first_sector, uint64_t nr)
{
	const struct map_config *config = &image->disk.map.config;

	while (nr > 0) {
		uint64_t extent;
		bool hole;
		int r = config->base_extent(config->base, first_sector, nr, &hole, &extent);

		if (r < 0 || !hole)
			return r < 0 ? r : 1;
		first_sector += extent;
		nr -= extent;
	}
	return 0;
}

static int body_names(struct image *image, uint64_t index, const uint8_t *body, uint32_t entries)
{
	const uint32_t end = map_block_sectors(&image->disk.map, index);
	uint32_t first, at = 0;
	int r = 0;

	while (at < end && r == 0) {
		const uint8_t entry = block_entry(body, at);

		for (first = at; at < end && block_entry(body, at) == entry; at++)
			;
		if (!(entries >> entry & 1))
			continue;
		r = entry == SEAL_ENTRY_BASE
			    ? names_base_data(image, map_block_first(index) + first, at - first)
			    : 1;
	}
	return r;
}

static int block_names(struct image *image, struct ring *ring, uint64_t index, uint32_t entries)
{
	struct seal_block pair[2];
	struct ring_op op = {
		.kind = RING_READ,
		.fd = image->store.fd,
		.offset_bytes = map_pair_offset(&image->disk.map, index),
		.data = (uint8_t *)pair,
		.bytes = sizeof(pair),
	};
	int r = ring_run(ring, &op);

	/* One that is being written is not whole, and will name nothing of this. */
	for (unsigned int i = 0; i < 2 && r >= 0; i++) {
		r = block_is_whole(&pair[i]) ? body_names(image, index, pair[i].body, entries) : 0;
		if (r == 1)
			return 1;
	}
	return r < 0 ? r : 0;
}

int image_names_entries(struct image *image, struct ring *ring, uint32_t entries, uint64_t *block)
{
	const struct map *map = &image->disk.map;
	int r = map_has_stale_bitmap(&image->disk.map);

	for (unsigned int nr = 0; *block < map->nr_blocks && nr < REWRITE_LOOK_MAX && r == 0;
	     ++*block) {
		if (!map_is_written(map, *block))
			continue;
		r = block_names(image, ring, *block, entries);
		nr++;
	}
	return r;
}

/* ---- the end ---- */

static int punch_plane(struct image *image, unsigned int value)
{
	const struct map_config *config = &image->disk.map.config;
	struct ring_op op = {
		.kind = RING_PUNCH,
		.fd = image->store.fd,
		.offset_bytes = config->planes[value].file_offset_bytes,
		.range_bytes = sectors_to_bytes(config->disk_sectors),
	};
	int r = ring_run(image->ring, &op);

	/* What is left there nobody can decrypt any more. */
	return r == -EOPNOTSUPP || r == -ENOSPC ? 0 : r;
}

static int punch_planes(struct image *image, uint32_t planes)
{
	int r = 0;

	for (unsigned int value = SEAL_ENTRY_PLANE_FIRST; value < MAP_VALUES && r == 0; value++)
		if (planes >> value & 1)
			r = punch_plane(image, value);
	return r == 0 && planes ? image_sync(image) : r;
}

static int drop_planes(struct image *image, uint32_t jobs, uint32_t planes)
{
	struct seal_superblock *super = &image->super;
	int r;

	for (unsigned int value = SEAL_ENTRY_PLANE_FIRST; value < MAP_VALUES; value++) {
		if (!(planes >> value & 1))
			continue;
		super->planes[value - SEAL_ENTRY_PLANE_FIRST] = (struct seal_plane){ 0 };
		map_drop_plane(&image->disk.map, (uint8_t)value);
	}
	if (jobs & SEAL_REWRITE_ENCRYPT)
		super->has_base = 0;
	super->rewrites &= (uint8_t)~jobs;
	r = image_write_super(image);
	if (r == 0 && planes)
		r = image_drop_unnamed_keys(image);
	return r;
}

int image_rewrite_finish(struct image *image, uint32_t jobs, uint32_t entries, uint32_t *ret_gone,
			 struct problem *problem)
{
	uint32_t gone = jobs & SEAL_REWRITE_REKEY ? planes_of_kind(image, SEAL_PLANE_SEALED) : 0;
	int r;

	gone &= ~(1u << image->super.current_plane);
	if (jobs_of(image) != jobs || entries_of(image, jobs) != entries)
		return -EAGAIN;
	r = punch_planes(image, gone);
	if (r == 0)
		r = drop_planes(image, jobs, gone);
	if (r < 0) {
		map_fail(&image->disk.map, r);
		problem_set(problem, "image", image->path, "a rewrite cannot be ended: %s",
			    strerror(-r));
		return -EIO;
	}
	*ret_gone = gone;
	image_rewrite_look(image);
	return 0;
}
