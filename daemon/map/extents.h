/* SPDX-License-Identifier: MIT */
/*
 * Which sectors of a base are data, and which are a hole: the places where the
 * one becomes the other. Frozen once made (image/counts.c); any thread.
 *
 * A lookup is a short search in memory, so it may be done under the map's lock.
 * Bounds take 12 bytes each.
 */
#ifndef MAP_EXTENTS_H
#define MAP_EXTENTS_H

#include <stdbool.h>
#include <stdint.h>

struct extents {
	/* Ascending. Before the first one is a hole, behind it data, and so on. */
	const uint64_t *bounds;
	uint32_t nr_bounds;
	/*
	 * Where to search: of the sectors whose number begins alike (>> @shift), the
	 * first bound that is not below them. One more at the end: @nr_bounds.
	 */
	const uint32_t *starts;
	unsigned int shift;
};

/*
 * Make @starts for a disk that ends at @end_sector: of extents that have their
 * bounds. @starts: nr_bounds + 2, the caller's.
 */
void extents_index(struct extents *extents, uint32_t *starts, uint64_t end_sector);

/*
 * What are the sectors from @first_sector on, which the disk has, and for how many
 * of @limit_sectors (at least 1)? Sectors behind the last bound are what that one says.
 */
bool extents_is_hole(const struct extents *extents, uint64_t first_sector, uint64_t limit_sectors,
		     uint64_t *ret_sectors);

/* How many of the sectors are data. */
uint64_t extents_count_data(const struct extents *extents, uint64_t first_sector,
			    uint64_t nr_sectors);

#endif
