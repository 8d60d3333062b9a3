/* SPDX-License-Identifier: MIT */
#include "base/buddy.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

enum { LONGEST = REQ_BYTES_MAX, SHORTEST = BUDDY_BLOCK_BYTES };

static struct buddy buddy;

static uint8_t *arena_new(size_t bytes)
{
	uint8_t *arena = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	cr_assert_neq(arena, MAP_FAILED);
	return arena;
}

static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

Test(buddy, an_empty_arena_holds_two_of_the_longest_blocks)
{
	uint8_t *arena = arena_new(WORKER_BUFFER_BYTES);
	uint8_t *a, *b;

	buddy_init(&buddy, arena, WORKER_BUFFER_BYTES);
	a = buddy_take(&buddy, LONGEST);
	b = buddy_take(&buddy, LONGEST - 1);
	cr_assert(a && b && a != b);
	cr_expect_eq(buddy.free_bytes, 0);
	cr_expect_null(buddy_take(&buddy, 1));
	buddy_give(&buddy, a);
	cr_expect_null(buddy_take(&buddy, (size_t)LONGEST + 1), "longer than the longest");
	cr_expect_eq(buddy_take(&buddy, LONGEST), a);
}

Test(buddy, the_whole_arena_can_be_taken_in_the_shortest_blocks_and_joins_again)
{
	static uint8_t *blocks[BUDDY_UNITS_MAX];
	uint8_t *arena = arena_new(WORKER_BUFFER_BYTES);

	buddy_init(&buddy, arena, WORKER_BUFFER_BYTES);
	for (size_t i = 0; i < BUDDY_UNITS_MAX; i++) {
		blocks[i] = buddy_take(&buddy, 1 + i % SHORTEST);
		cr_assert(blocks[i] != NULL);
	}
	cr_expect_null(buddy_take(&buddy, 1));
	for (size_t i = 0; i < BUDDY_UNITS_MAX; i += 2)
		buddy_give(&buddy, blocks[i]);
	cr_expect_null(buddy_take(&buddy, SHORTEST + 1), "every other block is taken");
	for (size_t i = 1; i < BUDDY_UNITS_MAX; i += 2)
		buddy_give(&buddy, blocks[i]);
	cr_expect(buddy_take(&buddy, LONGEST) && buddy_take(&buddy, LONGEST));
}

Test(buddy, the_block_given_back_last_is_taken_first)
{
	uint8_t *arena = arena_new(WORKER_BUFFER_BYTES);
	uint8_t *blocks[8];

	buddy_init(&buddy, arena, WORKER_BUFFER_BYTES);
	for (int i = 0; i < 8; i++)
		blocks[i] = buddy_take(&buddy, 64 * KIB);
	/* No two of these are buddies, so they stay apart. */
	buddy_give(&buddy, blocks[0]);
	buddy_give(&buddy, blocks[6]);
	buddy_give(&buddy, blocks[3]);
	cr_expect_eq(buddy_take(&buddy, 64 * KIB), blocks[3]);
	cr_expect_eq(buddy_take(&buddy, 64 * KIB), blocks[6]);
	cr_expect_eq(buddy_take(&buddy, 64 * KIB), blocks[0]);
}

Test(buddy, tells_beforehand_what_a_block_takes)
{
	static const size_t wanted[] = { 1, SHORTEST, SHORTEST + 1, 600 * KIB, LONGEST };
	uint8_t *arena = arena_new(WORKER_BUFFER_BYTES);

	buddy_init(&buddy, arena, WORKER_BUFFER_BYTES);
	cr_expect_eq(buddy_block_bytes(0), 0);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		size_t before = buddy.free_bytes;
		uint8_t *block = buddy_take(&buddy, wanted[i]);

		cr_expect_eq(before - buddy.free_bytes, buddy_block_bytes(wanted[i]), "%zu",
			     wanted[i]);
		buddy_give(&buddy, block);
	}
}

Test(buddy, taking_and_giving_in_turn_stays_on_the_same_memory)
{
	uint8_t *arena = arena_new(WORKER_BUFFER_BYTES);
	uint8_t *first;

	buddy_init(&buddy, arena, WORKER_BUFFER_BYTES);
	first = buddy_take(&buddy, SHORTEST);
	for (int i = 0; i < 100; i++) {
		uint8_t *block;

		buddy_give(&buddy, first);
		block = buddy_take(&buddy, SHORTEST);
		cr_assert_eq(block, first);
	}
}

Test(buddy, an_arena_of_any_length_is_used_to_the_end)
{
	uint8_t *arena = arena_new(WORKER_BUFFER_BYTES);

	for (size_t units = 0; units < 40; units++) {
		size_t nr = 0;
		uint8_t *block;

		buddy_init(&buddy, arena, units * SHORTEST);
		cr_expect_eq(buddy.free_bytes, units * SHORTEST);
		while ((block = buddy_take(&buddy, SHORTEST))) {
			cr_assert_lt(block, arena + units * SHORTEST);
			nr++;
		}
		cr_expect_eq(nr, units);
		for (size_t i = 0; i < units; i++)
			buddy_give(&buddy, arena + i * SHORTEST);
		cr_expect_eq(buddy.free_bytes, units * SHORTEST);
	}
}

/* What the allocator must agree with: who holds each unit of the arena. */
struct model {
	uint8_t *arena;
	uint16_t holder[BUDDY_UNITS_MAX]; /* 0: free, else a block's number + 1 */
	struct {
		uint8_t *at;
		size_t bytes;
	} blocks[64];
	size_t taken_bytes;
};

static struct model model;

static size_t block_bytes(size_t bytes)
{
	size_t block = SHORTEST;

	while (block < bytes)
		block *= 2;
	return block;
}

/* Whether an aligned run of @bytes free bytes exists: then taking may not fail. */
static bool model_has(size_t bytes)
{
	size_t units = bytes / SHORTEST;

	for (size_t unit = 0; unit < BUDDY_UNITS_MAX; unit += units) {
		size_t i = 0;

		while (i < units && model.holder[unit + i] == 0)
			i++;
		if (i == units)
			return true;
	}
	return false;
}

static void model_set(size_t number, uint16_t from, uint16_t to)
{
	size_t at_bytes = (size_t)(model.blocks[number].at - model.arena);

	cr_assert_eq(at_bytes % model.blocks[number].bytes, 0);
	cr_assert_leq(at_bytes + model.blocks[number].bytes, WORKER_BUFFER_BYTES);
	for (size_t i = 0; i < model.blocks[number].bytes / SHORTEST; i++) {
		uint16_t *holder = &model.holder[at_bytes / SHORTEST + i];

		if (*holder != from)
			cr_assert_fail("unit %zu is held by %u", at_bytes / SHORTEST + i, *holder);
		*holder = to;
	}
}

static void model_take(size_t number, size_t bytes)
{
	size_t block = block_bytes(bytes);
	uint8_t *at = buddy_take(&buddy, bytes);

	if (!at) {
		cr_assert_not(model_has(block), "%zu bytes were free", block);
		return;
	}
	model.blocks[number].at = at;
	model.blocks[number].bytes = block;
	model_set(number, 0, (uint16_t)(number + 1));
	model.taken_bytes += block;
}

static void model_give(size_t number)
{
	model_set(number, (uint16_t)(number + 1), 0);
	model.taken_bytes -= model.blocks[number].bytes;
	buddy_give(&buddy, model.blocks[number].at);
	model.blocks[number].at = NULL;
}

Test(buddy, agrees_with_a_model_over_random_steps)
{
	uint32_t random = 20240607;

	model.arena = arena_new(WORKER_BUFFER_BYTES);
	buddy_init(&buddy, model.arena, WORKER_BUFFER_BYTES);
	for (int step = 0; step < 20000; step++) {
		size_t number = next_random(&random) % ARRAY_LEN(model.blocks);
		size_t scale = next_random(&random) % BUDDY_ORDERS;
		size_t bytes = 1 + next_random(&random) % ((size_t)SHORTEST << scale);

		if (model.blocks[number].at)
			model_give(number);
		else
			model_take(number, bytes);
		cr_assert_eq(buddy.free_bytes, WORKER_BUFFER_BYTES - model.taken_bytes, "step %d",
			     step);
	}
	for (size_t i = 0; i < ARRAY_LEN(model.blocks); i++)
		if (model.blocks[i].at)
			model_give(i);
	cr_expect(buddy_take(&buddy, LONGEST) && buddy_take(&buddy, LONGEST));
}

Test(buddy, giving_a_block_twice_is_caught, .signal = SIGABRT)
{
	uint8_t *block;

	buddy_init(&buddy, arena_new(WORKER_BUFFER_BYTES), WORKER_BUFFER_BYTES);
	block = buddy_take(&buddy, SHORTEST);
	buddy_give(&buddy, block);
	buddy_give(&buddy, block);
}

Test(buddy, giving_the_middle_of_a_block_is_caught, .signal = SIGABRT)
{
	uint8_t *block;

	buddy_init(&buddy, arena_new(WORKER_BUFFER_BYTES), WORKER_BUFFER_BYTES);
	block = buddy_take(&buddy, 4 * SHORTEST);
	cr_assert(block != NULL);
	buddy_give(&buddy, block + SHORTEST);
}
