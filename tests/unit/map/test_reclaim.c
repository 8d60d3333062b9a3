/* SPDX-License-Identifier: MIT */
/* Memory of entries that are not needed any more, and what must not go with it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "map/entries.h"
#include "map_world.h"

enum {
	BLOCKS = 300,
	OPERATIONS = 3000,
	TURNS_MAX = 100000,
	MAX_SECTORS = 3 * SEAL_BLOCK_SECTORS, /* of one operation */
	MIXED_MAX = 20,
};
#define SECTORS ((uint64_t)BLOCKS * SEAL_BLOCK_SECTORS)

struct world {
	struct map_world of;
	uint8_t *entries;
	uint8_t *model; /* an entry per sector */
};

static void give_pages_back(uint8_t *memory, size_t bytes)
{
	cr_assert_eq(madvise(memory, bytes, MADV_DONTNEED), 0);
}

/* @mixed_max: struct map_config. */
static struct world *world_of(uint32_t mixed_max)
{
	struct world *world = calloc(1, sizeof(*world));

	world->of.map.config.mixed_blocks_max = mixed_max;
	world->entries = mmap(NULL, map_entries_bytes(SECTORS), PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(world->entries, MAP_FAILED);
	world->model = calloc(1, SECTORS);
	world->of.map.config.give_pages_back = give_pages_back;
	map_world_init(&world->of, SECTORS, world->entries);
	return world;
}

static struct world *world_new(void)
{
	return world_of(0);
}

static void world_free(struct world *world)
{
	map_world_done(&world->of);
	munmap(world->entries, map_entries_bytes(SECTORS));
	free(world->model);
	free(world);
}

static void write_sectors(struct world *world, uint64_t first, uint64_t nr)
{
	memset(world->model + first, map_world_write(&world->of, first, nr, 0), nr);
}

static void zero_sectors(struct world *world, uint64_t first, uint64_t nr)
{
	map_world_zero(&world->of, first, nr);
	for (uint64_t i = first; i < first + nr; i++)
		if (world->model[i] != SEAL_ENTRY_BASE)
			world->model[i] = SEAL_ENTRY_ZERO;
}

static void expect_as_modelled(struct world *world)
{
	struct map_run run;

	for (uint64_t at = 0; at < SECTORS; at += run.nr_sectors) {
		cr_assert_eq(map_world_find(&world->of, at, SECTORS - at, &run), 0);
		for (uint64_t i = at; i < at + run.nr_sectors; i++)
			if (world->model[i] != run.entry)
				cr_assert_fail("sector %lu is %u, not %u", i, run.entry,
					       world->model[i]);
	}
}

/* Flush, sweep, and let both come to an end. */
static void settle(struct world *world)
{
	map_world_flush(&world->of);
	for (uint64_t i = 1; i < TURNS_MAX && !map_is_settled(&world->of.map); i++) {
		map_tick(&world->of.map, &world->of.lane, i);
		map_world_turn(&world->of);
	}
	cr_assert(map_is_settled(&world->of.map));
}

/* What is spent goes with the next sweep: this makes one, and touches one block. */
static void sweep_once_more(struct world *world)
{
	write_sectors(world, 0, 1);
	settle(world);
}

static size_t nr_resident(const struct world *world)
{
	static unsigned char there[BLOCKS]; /* a page or less each */
	size_t nr_there = 0;

	cr_assert_eq(mincore(world->entries, map_entries_bytes(SECTORS), there), 0);
	for (size_t i = 0; i < BLOCKS; i++)
		nr_there += there[i] & 1;
	return nr_there;
}

Test(reclaim, a_disk_written_from_end_to_end_keeps_no_entries)
{
	struct world *world = world_new();

	for (uint64_t i = 1; i < BLOCKS; i++) {
		write_sectors(world, i * SEAL_BLOCK_SECTORS, 100);
		write_sectors(world, i * SEAL_BLOCK_SECTORS + 100, SEAL_BLOCK_SECTORS - 100);
	}
	cr_assert_geq(nr_resident(world), BLOCKS - 20);
	settle(world);
	sweep_once_more(world);
	cr_assert_leq(nr_resident(world), 4);
	expect_as_modelled(world);
	world_free(world);
}

Test(reclaim, mixed_blocks_keep_theirs_beside_blocks_that_do_not)
{
	struct world *world = world_new();

	for (uint64_t i = 0; i < BLOCKS; i++)
		write_sectors(world, i * SEAL_BLOCK_SECTORS, i % 3 ? SEAL_BLOCK_SECTORS : 77);
	settle(world);
	sweep_once_more(world);
	expect_as_modelled(world);
	world_free(world);
}

Test(reclaim, whoever_is_inside_an_epoch_may_go_on_reading)
{
	struct world *world = world_new();
	struct map *map = &world->of.map;
	unsigned int parity;
	size_t before;

	for (uint64_t i = 0; i < BLOCKS; i++)
		write_sectors(world, i * SEAL_BLOCK_SECTORS, SEAL_BLOCK_SECTORS);
	parity = epoch_enter(&map->epoch, &world->of.lane.epoch);
	before = nr_resident(world);
	map_world_flush(&world->of);
	for (int i = 0; i < 100; i++)
		map_world_turn(&world->of);
	cr_assert_eq(nr_resident(world), before);
	for (uint64_t i = 0; i < BLOCKS; i++)
		cr_assert_eq(entries_run(map_entries(map, i), 0, SEAL_BLOCK_SECTORS, SEALED_PLANE),
			     SEAL_BLOCK_SECTORS);
	map_leave(map, &world->of.lane, parity);
	settle(world);
	sweep_once_more(world);
	cr_assert_leq(nr_resident(world), 4);
	world_free(world);
}

static void change_something(struct world *world)
{
	uint64_t first = (uint64_t)random() % SECTORS;
	uint64_t nr = 1 + (uint64_t)random() % MAX_SECTORS;

	nr = min_u64(nr, SECTORS - first);
	switch (random() % 8) {
	case 0:
		map_switch_end(&world->of.map, random() % 2 ? SEALED_PLANE : PLAIN_PLANE);
		break;
	case 1:
		map_world_flush(&world->of);
		break;
	case 2:
		zero_sectors(world, first, nr);
		break;
	default:
		write_sectors(world, first, nr);
		break;
	}
}

static void change_at_random(struct world *world)
{
	for (int i = 0; i < OPERATIONS; i++) {
		change_something(world);
		if (i % 100 == 0)
			expect_as_modelled(world);
	}
	settle(world);
	expect_as_modelled(world);
}

Test(reclaim, random_changes_leave_what_a_model_says)
{
	struct world *world = world_new();

	change_at_random(world);
	world_free(world);
}

/* ---- more mixed blocks than are kept ---- */

static void make_all_mixed(struct world *world)
{
	for (uint64_t i = 0; i < BLOCKS; i++)
		write_sectors(world, i * SEAL_BLOCK_SECTORS + i, 1 + i);
	settle(world);
	sweep_once_more(world);
}

Test(reclaim, mixed_blocks_beyond_the_limit_leave_memory_and_are_read_again)
{
	struct world *world = world_of(MIXED_MAX);

	make_all_mixed(world);
	cr_assert_leq(nr_resident(world), MIXED_MAX + 4);
	expect_as_modelled(world);
	settle(world);
	cr_assert_leq(nr_resident(world), MIXED_MAX + 4);
	world_free(world);
}

Test(reclaim, what_is_read_again_can_be_changed)
{
	struct world *world = world_of(MIXED_MAX);

	for (int i = 0; i < 3; i++) {
		make_all_mixed(world);
		for (uint64_t b = 0; b < BLOCKS; b++)
			zero_sectors(world, b * SEAL_BLOCK_SECTORS + b / 2, b);
	}
	settle(world);
	expect_as_modelled(world);
	world_free(world);
}

Test(reclaim, random_changes_with_few_blocks_in_memory_leave_what_a_model_says)
{
	struct world *world = world_of(MIXED_MAX);

	change_at_random(world);
	world_free(world);
}

/* Its stale slot has to wait: what is not in memory says nothing. */
Test(reclaim, a_refresh_leaves_blocks_that_are_not_in_memory_alone)
{
	struct world *world = world_of(MIXED_MAX);

	make_all_mixed(world);
	map_refresh_all(&world->of.map);
	settle(world);
	expect_as_modelled(world);
	world_free(world);
}

Test(reclaim, a_block_that_rots_while_it_is_not_in_memory_is_damaged)
{
	struct world *world = world_of(MIXED_MAX);
	const uint64_t index = BLOCKS / 2;
	const off_t slot_at =
		(off_t)(map_pair_offset(&world->of.map, index) + sizeof(struct seal_block) / 2);
	uint8_t bytes[2] = { 0 };
	struct map_run run;

	make_all_mixed(world);
	for (unsigned int i = 0; i < 2; i++) {
		const off_t at = slot_at + (off_t)(i * SEAL_BLOCK_BYTES);

		cr_assert_eq(pread(world->of.map.config.fd, &bytes[i], 1, at), 1);
		bytes[i] ^= 1;
		cr_assert_eq(pwrite(world->of.map.config.fd, &bytes[i], 1, at), 1);
	}
	cr_assert_eq(map_world_find(&world->of, index * SEAL_BLOCK_SECTORS, 1, &run), -EIO);
	cr_assert_eq(map_world_find(&world->of, (index + 1) * SEAL_BLOCK_SECTORS, 1, &run), 0);
	world_free(world);
}
