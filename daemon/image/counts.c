/* SPDX-License-Identifier: MIT */
/*
 * Counts of sectors across opens (map/counts.h): taken from the superblock of a
 * closed image and written there by the next close (docs/format.md 2).
 *
 * Where there are none, the map blocks are read once, before the image is
 * served: after an unclean close, when recovery has just brought them to memory;
 * where an older program has closed it; and when the base's holes have moved, as
 * they may in a copy of it. (It is the same base: only what it stores as zeros
 * and what not at all is another thing.) With a damaged map block nobody can
 * count, and reports walk.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crypt/wrap.h"
#include "image/image.h"
#include "map/entries.h"

/* ---- the extents of the base ---- */

enum {
	BOUNDS_FIRST = 256,	   /* room to begin with */
	ASK_SECTORS_MAX = 2 << 20, /* of the base in one go, so that the time can be looked at */
};

/* Bounds while they are found. */
struct finder {
	uint64_t *bounds;
	uint32_t nr, room;
};

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int add_bound(struct finder *finder, uint64_t sector)
{
	uint32_t room = finder->room ? 2 * finder->room : BOUNDS_FIRST;
	uint64_t *bounds;

	if (finder->nr == BASE_BOUNDS_MAX)
		return -E2BIG;
	if (finder->nr == finder->room) {
		bounds = realloc(finder->bounds, room * sizeof(*bounds));
		if (!bounds)
			return -ENOMEM;
		finder->bounds = bounds;
		finder->room = room;
	}
	finder->bounds[finder->nr++] = sector;
	return 0;
}

static int find_bounds(const struct map_config *config, struct finder *finder)
{
	const uint64_t end_ms = now_ms() + BASE_BOUNDS_MS;
	uint64_t nr_sectors;
	bool hole;

	for (uint64_t at = 0; at < config->disk_sectors; at += nr_sectors) {
		int r = config->base_extent(config->base, at,
					    min_u64(config->disk_sectors - at, ASK_SECTORS_MAX),
					    &hole, &nr_sectors);

		if (r == 0 && hole == (finder->nr % 2 == 1))
			r = add_bound(finder, at);
		if (r == 0 && now_ms() > end_ms)
			r = -ETIMEDOUT;
		if (r < 0)
			return r;
	}
	return 0;
}

/* 0: it cannot be told. */
static uint64_t digest_of(const struct finder *finder)
{
	struct digest_ctx ctx = { 0 };
	uint8_t digest[32];
	le64 head;
	int r = digest_init(&ctx);

	for (uint32_t i = 0; i < finder->nr && r == 0; i++) {
		le64 bound = le64_of(finder->bounds[i]);

		r = digest_add(&ctx, &bound, sizeof(bound));
	}
	if (r == 0)
		r = digest_end(&ctx, digest);
	else
		digest_done(&ctx);
	if (r < 0)
		return 0;
	memcpy(&head, digest, sizeof(head));
	return le64_get(head);
}

static int extent_in_memory(void *base, uint64_t first_sector, uint64_t limit_sectors,
			    bool *ret_hole, uint64_t *ret_sectors)
{
	*ret_hole = extents_is_hole(base, first_sector, limit_sectors, ret_sectors);
	return 0;
}

void image_find_base_extents(struct image *image)
{
	struct map_config *config = &image->disk.map.config;
	struct finder finder = { 0 };

	if (!config->has_base || !config->base_extent)
		return;
	image->base_starts = NULL;
	if (find_bounds(config, &finder) == 0)
		image->base_starts = calloc((uint64_t)finder.nr + 2, sizeof(*image->base_starts));
	if (!image->base_starts) {
		free(finder.bounds);
		return;
	}
	image->base_bounds = finder.bounds;
	image->base_extents = (struct extents){ .bounds = finder.bounds, .nr_bounds = finder.nr };
	extents_index(&image->base_extents, image->base_starts, config->disk_sectors);
	image->base_extents_digest = digest_of(&finder);
	/* From here on everybody sees the holes that are counted by. */
	config->base_extents = &image->base_extents;
	config->base = &image->base_extents;
	config->base_extent = extent_in_memory;
}

/* ---- from and to the superblock ---- */

/* Numbers of a file are not computed with before they are known to be sound. */
static bool are_sound(const struct image *image)
{
	const struct seal_superblock *super = &image->super;
	uint64_t left = image->disk.nr_sectors;

	for (unsigned int value = 0; value < MAP_VALUES; value++) {
		uint64_t nr = le64_get(super->counts[value]);

		if (nr > left ||
		    (nr > 0 && value >= SEAL_ENTRY_PLANE_FIRST &&
		     super->planes[value - SEAL_ENTRY_PLANE_FIRST].kind == SEAL_PLANE_NONE))
			return false;
		left -= nr;
	}
	return left == 0 && le64_get(super->counts_base_data) <= le64_get(super->counts[0]);
}

bool image_has_counts(const struct image *image)
{
	const struct seal_superblock *super = &image->super;

	return super->open_state == SEAL_CLEAN &&
	       le64_get(super->counts_generation) == le64_get(super->generation) &&
	       are_sound(image);
}

void image_load_counts(struct image *image)
{
	const struct seal_superblock *super = &image->super;
	struct map_counts *counts = &image->disk.map.counts;

	if (!image_has_counts(image))
		return;
	for (unsigned int value = 0; value < MAP_VALUES; value++)
		counts->sectors[value] = le64_get(super->counts[value]);
	image->base_extents_digest = le64_get(super->counts_base_extents);
	counts->known = true;
	counts->base_known = !super->has_base || image->base_extents_digest != 0;
	counts->base_data = le64_get(super->counts_base_data);
}

void image_store_counts(struct image *image)
{
	struct seal_superblock *super = &image->super;
	struct map_counts counts = map_counts(&image->disk.map);

	memset(super->counts, 0, sizeof(super->counts));
	super->counts_generation = le64_of(0);
	super->counts_base_data = le64_of(0);
	super->counts_base_extents = le64_of(0);
	if (super->open_state != SEAL_CLEAN || !counts.known)
		return;
	for (unsigned int value = 0; value < MAP_VALUES; value++)
		super->counts[value] = le64_of(counts.sectors[value]);
	super->counts_generation = super->generation;
	if (!super->has_base || !counts.base_known)
		return;
	super->counts_base_data = le64_of(counts.base_data);
	super->counts_base_extents = le64_of(image->base_extents_digest);
}

/* ---- counting anew ---- */

void image_count(struct image *image)
{
	struct map *map = &image->disk.map;
	uint8_t body[SEAL_BLOCK_BODY_BYTES];

	counts_reset(map);
	for (uint64_t i = 0; i < map->nr_blocks; i++) {
		if (!map_is_written(map, i))
			continue;
		if (image_read_block(image, image->ring, &image->lane.mac, i, body) == 0)
			counts_add_block(map, i, body);
		else
			map->counts.known = false;
	}
}

void image_count_if_needed(struct image *image)
{
	const struct map *map = &image->disk.map;
	const bool same_base =
		!map->config.base_extents ||
		(map->counts.base_known &&
		 image->base_extents_digest == le64_get(image->super.counts_base_extents));

	if (!map->counts.known || !same_base)
		image_count(image);
}
