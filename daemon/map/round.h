/* SPDX-License-Identifier: MIT */
/* A commit round and its steps: round.c, and bitmap.c for the bitmap's part. */
#ifndef MAP_ROUND_H
#define MAP_ROUND_H

#include "map/entries.h"

struct block_write {
	struct ring_op op;
	struct map *map;
	struct dirty_block *dirty; /* NULL: not in use */
	unsigned int slot;	   /* written: the one that does not count */
};

struct map_round {
	struct map *map;
	struct lane *lane;
	bool active;		    /* under the lock */
	bool covers_punches;	    /* its first fdatasync makes punches durable */
	bool covers_drain;	    /* likewise, punches of what is drained */
	bool refreshes;		    /* stale slots, too */
	int error;		    /* the first one */
	struct waiter_line waiters; /* flushes this round serves */

	/* Dirty blocks in this round; those with new entries come first. */
	struct dirty_block *blocks[DIRTY_BLOCKS_MAX];
	uint32_t nr_blocks;
	uint32_t nr_frozen;  /* have new entries, or a stale slot */
	uint32_t next_block; /* to be written */
	uint32_t nr_writing;
	struct block_write writes[COMMIT_WRITES_MAX];

	struct ring_op op; /* fdatasync, bitmap write */
	struct seal_block bitmap;
	uint64_t bitmap_index; /* being written */
	bool bitmap_has_new;   /* bits, in that one */
};

/* fdatasync the image; @done is told the result as ring_op.result says. */
void round_sync(struct map_round *round, void (*done)(struct ring_op *op, int result));

/* All steps are done, or round->error is set: settle, and wake who waits. */
void round_end(struct map_round *round);

/* Is there something to write to the bitmap? Then write it, make it durable and end the round. */
bool round_writes_bitmap(const struct map_round *round);
void round_write_bitmap(struct map_round *round);

#endif
