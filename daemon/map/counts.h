/* SPDX-License-Identifier: MIT */
/*
 * How many sectors are in each state, kept as entries change, so that nobody
 * has to walk the map to know.
 *
 * They are the memory map's, not the durable one's. A clean close writes them to
 * the superblock, and the next open takes them from there; after an unclean one
 * recovery reads all map blocks anyway and counts anew (image/counts.c). So a
 * crash can lose counts, but never make them wrong.
 *
 * What is hard is entry 0: whether a sector of it is stored somewhere or reads as
 * zeros is up to the base. No entry ever becomes 0 again, so it is enough to
 * know, once, how many sectors of the base are data, and to ask for each run that
 * leaves entry 0 how many of it were. That is asked of config.base_extents, which
 * is memory: a system call for each first write, under the lock, would cost too much.
 */
#ifndef MAP_COUNTS_H
#define MAP_COUNTS_H

#include <stdbool.h>
#include <stdint.h>

#include "sealblk/seal_format.h"

enum { MAP_VALUES = 16 };

struct map_counts {
	/* False: a map block is damaged, or nobody has counted yet. */
	bool known;
	uint64_t sectors[MAP_VALUES]; /* by map value; together all of the disk */

	/* False: a sector has left entry 0 and the base's extents are not in memory. */
	bool base_known;
	uint64_t base_data; /* sectors of entry 0 that are data of the base, no hole */
};

struct map;

/* A copy, of one moment. Any thread. */
struct map_counts map_counts(struct map *map);

/* Under the lock, or while nobody else has the map: */

/* All sectors are in entry 0. */
void counts_reset(struct map *map);

/* The entry of @nr_sectors sectors changes from @old to @new. */
void counts_change(struct map *map, uint64_t first_sector, uint64_t nr_sectors, uint8_t old,
		   uint8_t new);

/* Of block @index, counted as entry 0 so far, the entries are @body. */
void counts_add_block(struct map *map, uint64_t index, const uint8_t body[SEAL_BLOCK_BODY_BYTES]);

#endif
