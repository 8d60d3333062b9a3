/* SPDX-License-Identifier: MIT */
/*
 * A worker's payload memory: a buddy allocator over an arena that the caller
 * lends. A block is a power of two of bytes, 4 KiB to 32 MiB, and as aligned
 * within the arena as it is long. All bookkeeping is in struct buddy, so memory
 * that nobody has asked for stays untouched; of equal blocks the one freed last
 * goes first, because its pages are warm. One thread; never blocks or allocates.
 */
#ifndef BASE_BUDDY_H
#define BASE_BUDDY_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "sealblk/limits.h"

enum {
	BUDDY_BLOCK_BYTES = 4096, /* the shortest block, the unit below */
	BUDDY_ORDERS = 14,	  /* order k: BUDDY_BLOCK_BYTES << k bytes */
	BUDDY_UNITS_MAX = WORKER_BUFFER_BYTES / BUDDY_BLOCK_BYTES,
};

_Static_assert(BUDDY_BLOCK_BYTES << (BUDDY_ORDERS - 1) == REQ_BYTES_MAX,
	       "the longest block is the longest request");
_Static_assert(BUDDY_UNITS_MAX < UINT16_MAX, "a unit number fits 16 bits");

/* The first unit of a block; the others of it stay zero. */
struct buddy_unit {
	uint16_t next; /* while free: neighbours in the list of its order */
	uint16_t prev;
	uint8_t state; /* zero, or order and whether taken */
};

/* About 96 KiB: embed it in something that lives as long as the worker. */
struct buddy {
	uint8_t *arena;	   /* the caller's */
	size_t free_bytes; /* in all free blocks together */
	uint32_t nr_units;
	uint16_t lists[BUDDY_ORDERS]; /* free blocks of each order, freed last first */
	struct buddy_unit units[BUDDY_UNITS_MAX];
};

/*
 * @arena: aligned to BUDDY_BLOCK_BYTES, must outlive @buddy; never touched here.
 * @arena_bytes: a multiple of BUDDY_BLOCK_BYTES, at most WORKER_BUFFER_BYTES.
 */
void buddy_init(struct buddy *buddy, uint8_t *arena, size_t arena_bytes);

/*
 * At least @bytes (more than 0) of the arena, the caller's until buddy_give(),
 * or NULL when no block of that length is free. The contents are arbitrary.
 */
uint8_t *buddy_take(struct buddy *buddy, size_t bytes) MUST_CHECK;

/* How much of the arena buddy_take(@bytes) takes; 0 of it for 0 bytes. */
size_t buddy_block_bytes(size_t bytes);

/* @block: from buddy_take(), given back once; anything else asserts. */
void buddy_give(struct buddy *buddy, uint8_t *block);

#endif
