/* SPDX-License-Identifier: MIT */
/*
 * Halving and joining blocks. The other half of the block of order k at unit n
 * begins at unit n ^ (1 << k): each half finds its buddy without a search.
 */
#include "base/buddy.h"

#include <assert.h>
#include <stdbool.h>

enum {
	UNIT_NONE = UINT16_MAX, /* the end of a list */
	/* Unit states: the order, and one of these. */
	STATE_FREE = 0x40,
	STATE_TAKEN = 0x80,
};

static size_t order_bytes(unsigned int order)
{
	return (size_t)BUDDY_BLOCK_BYTES << order;
}

/* ---- lists of free blocks ---- */

static void list_push(struct buddy *buddy, uint32_t unit, unsigned int order)
{
	uint16_t next = buddy->lists[order];

	buddy->units[unit] = (struct buddy_unit){
		.next = next,
		.prev = UNIT_NONE,
		.state = (uint8_t)(STATE_FREE | order),
	};
	if (next != UNIT_NONE)
		buddy->units[next].prev = (uint16_t)unit;
	buddy->lists[order] = (uint16_t)unit;
}

static void list_remove(struct buddy *buddy, uint32_t unit, unsigned int order)
{
	struct buddy_unit *first = &buddy->units[unit];

	assert(first->state == (STATE_FREE | order));
	if (first->prev != UNIT_NONE)
		buddy->units[first->prev].next = first->next;
	else
		buddy->lists[order] = first->next;
	if (first->next != UNIT_NONE)
		buddy->units[first->next].prev = first->prev;
	first->state = 0;
}

/* ---- blocks ---- */

static unsigned int order_of(size_t bytes)
{
	unsigned int order = 0;

	while (order_bytes(order) < bytes)
		order++;
	return order;
}

/* Whether the other half of the block at @unit is free and whole. */
static bool buddy_is_free(const struct buddy *buddy, uint32_t unit, unsigned int order)
{
	uint32_t other = unit ^ 1U << order;

	return order + 1 < BUDDY_ORDERS && other < buddy->nr_units &&
	       buddy->units[other].state == (STATE_FREE | order);
}

void buddy_init(struct buddy *buddy, uint8_t *arena, size_t arena_bytes)
{
	assert((uintptr_t)arena % BUDDY_BLOCK_BYTES == 0);
	assert(arena_bytes % BUDDY_BLOCK_BYTES == 0 && arena_bytes <= WORKER_BUFFER_BYTES);

	*buddy = (struct buddy){
		.arena = arena,
		.nr_units = (uint32_t)(arena_bytes / BUDDY_BLOCK_BYTES),
		.free_bytes = arena_bytes,
	};
	for (unsigned int order = 0; order < BUDDY_ORDERS; order++)
		buddy->lists[order] = UNIT_NONE;

	/* The longest blocks that begin where they may and end in the arena. */
	for (uint32_t unit = 0; unit < buddy->nr_units;) {
		unsigned int order = BUDDY_ORDERS - 1;

		while (unit % (1U << order) != 0 || unit + (1U << order) > buddy->nr_units)
			order--;
		list_push(buddy, unit, order);
		unit += 1U << order;
	}
}

uint8_t *buddy_take(struct buddy *buddy, size_t bytes)
{
	unsigned int order, have;
	uint32_t unit;

	assert(bytes > 0);
	if (bytes > order_bytes(BUDDY_ORDERS - 1))
		return NULL;

	order = order_of(bytes);
	for (have = order; buddy->lists[have] == UNIT_NONE; have++)
		if (have + 1 == BUDDY_ORDERS)
			return NULL;

	unit = buddy->lists[have];
	list_remove(buddy, unit, have);
	while (have > order) {
		have--;
		list_push(buddy, unit + (1U << have), have);
	}
	buddy->units[unit].state = (uint8_t)(STATE_TAKEN | order);
	buddy->free_bytes -= order_bytes(order);
	return buddy->arena + (size_t)unit * BUDDY_BLOCK_BYTES;
}

size_t buddy_block_bytes(size_t bytes)
{
	return bytes > 0 ? order_bytes(order_of(bytes)) : 0;
}

void buddy_give(struct buddy *buddy, uint8_t *block)
{
	size_t at_bytes = (size_t)(block - buddy->arena);
	uint32_t unit = (uint32_t)(at_bytes / BUDDY_BLOCK_BYTES);
	unsigned int order;

	assert(block >= buddy->arena && at_bytes % BUDDY_BLOCK_BYTES == 0);
	assert(at_bytes / BUDDY_BLOCK_BYTES < buddy->nr_units);
	assert(buddy->units[unit].state & STATE_TAKEN);

	order = buddy->units[unit].state & ~STATE_TAKEN;
	buddy->units[unit].state = 0;
	buddy->free_bytes += order_bytes(order);
	while (buddy_is_free(buddy, unit, order)) {
		list_remove(buddy, unit ^ 1U << order, order);
		unit &= ~(1U << order);
		order++;
	}
	list_push(buddy, unit, order);
}
