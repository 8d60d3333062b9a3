/* SPDX-License-Identifier: MIT */
/* A map of its own, with one lane, over a file without a name. */
#ifndef TESTS_UNIT_MAP_WORLD_H
#define TESTS_UNIT_MAP_WORLD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "map/map.h"

enum { SEALED_PLANE = 2, PLAIN_PLANE = 3 };

struct map_world {
	struct map map;
	struct lane lane, *lanes;
	struct inbox inbox;
	FILE *file;
	void *dirty_memory;
	struct waiter waiter;
	bool woken;
};

/*
 * @world: zeroed; what its map's config says of a base is kept. @entries: zeroed, and the
 * caller's. The sealed plane is the current one.
 */
void map_world_init(struct map_world *world, uint64_t nr_sectors, void *entries);

/* All that is under way ends first. */
void map_world_done(struct map_world *world);

/* Whatever the lane has to do now. */
void map_world_turn(struct map_world *world);

/* A first write with that result. Returns the entry of what was written. */
uint8_t map_world_write(struct map_world *world, uint64_t first, uint64_t nr, int result);

/* TRIM or WRITE_ZEROES. */
void map_world_zero(struct map_world *world, uint64_t first, uint64_t nr);

void map_world_flush(struct map_world *world);

/* map_find(), once the block is in memory. */
int map_world_find(struct map_world *world, uint64_t first, uint64_t limit,
		   struct map_run *ret_run);

#endif
