/* SPDX-License-Identifier: MIT */
/* The counts of a map against a naive model, whatever changes its entries. */
#include "map/counts.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "map_world.h"

enum {
	SECTORS = 2 * SEAL_BLOCK_SECTORS + 1000,
	OPERATIONS = 2000,
	MAX_SECTORS = 9000, /* of one operation: more than a block */
};

/* The base: in turn 700 sectors of data and 300 of a hole, up to sector 10,000. */
enum { PERIOD = 1000, DATA = 700, PERIODS = 10 };

static bool is_data(uint64_t sector)
{
	return sector < PERIODS * PERIOD && sector % PERIOD < DATA;
}

struct world {
	struct map_world of;
	struct extents base;
	uint64_t bounds[2 * PERIODS];
	uint32_t starts[2 * PERIODS + 2];
	uint8_t model[SECTORS];
};

static int extent_of(void *base, uint64_t first_sector, uint64_t limit_sectors, bool *ret_hole,
		     uint64_t *ret_sectors)
{
	struct world *world = base;

	*ret_hole = extents_is_hole(&world->base, first_sector, limit_sectors, ret_sectors);
	return 0;
}

static struct world *world_new(bool has_base)
{
	struct world *world = calloc(1, sizeof(*world));
	struct map_config *config = &world->of.map.config;

	for (uint32_t i = 0; i < PERIODS; i++) {
		world->bounds[2 * i] = i * PERIOD;
		world->bounds[2 * i + 1] = i * PERIOD + DATA;
	}
	world->base = (struct extents){ .bounds = world->bounds, .nr_bounds = 2 * PERIODS };
	extents_index(&world->base, world->starts, SECTORS);
	config->has_base = has_base;
	config->base = world;
	config->base_extent = extent_of;
	config->base_extents = has_base ? &world->base : NULL;
	map_world_init(&world->of, SECTORS, calloc(1, map_entries_bytes(SECTORS)));
	counts_reset(&world->of.map);
	return world;
}

static void world_free(struct world *world)
{
	void *entries = world->of.map.config.entries_memory;

	map_world_done(&world->of);
	free(entries);
	free(world);
}

static void write_sectors(struct world *world, uint64_t first, uint64_t nr, int result)
{
	const uint8_t entry = map_world_write(&world->of, first, nr, result);

	if (result >= 0)
		memset(world->model + first, entry, nr);
}

static void zero_sectors(struct world *world, uint64_t first, uint64_t nr)
{
	map_world_zero(&world->of, first, nr);
	for (uint64_t i = first; i < first + nr; i++)
		if (world->model[i] >= SEAL_ENTRY_PLANE_FIRST ||
		    (world->model[i] == SEAL_ENTRY_BASE && world->of.map.config.has_base &&
		     is_data(i)))
			world->model[i] = SEAL_ENTRY_ZERO;
}

static void expect_counts(struct world *world)
{
	struct map_counts counts = map_counts(&world->of.map);
	uint64_t wanted[MAP_VALUES] = { 0 };
	uint64_t base_data = 0;

	for (uint64_t i = 0; i < SECTORS; i++) {
		wanted[world->model[i]]++;
		base_data += world->model[i] == SEAL_ENTRY_BASE && is_data(i);
	}
	cr_assert(counts.known);
	cr_assert_arr_eq(counts.sectors, wanted, sizeof(wanted));
	if (!world->of.map.config.has_base || !world->of.map.config.base_extents)
		return;
	cr_assert(counts.base_known);
	cr_assert_eq(counts.base_data, base_data);
}

static uint64_t random_below(uint64_t end)
{
	return (uint64_t)random() % end;
}

static void change_something(struct world *world)
{
	uint64_t first = random_below(SECTORS);
	uint64_t nr = 1 + random_below(random_below(2) ? 16 : MAX_SECTORS);

	nr = min_u64(nr, SECTORS - first);
	switch (random_below(8)) {
	case 0:
		map_switch_end(&world->of.map, random_below(2) ? SEALED_PLANE : PLAIN_PLANE);
		break;
	case 1:
		map_world_flush(&world->of);
		break;
	case 2:
		write_sectors(world, first, nr, -EIO);
		break;
	case 3:
	case 4:
		zero_sectors(world, first, nr);
		break;
	default:
		write_sectors(world, first, nr, 0);
		break;
	}
}

/* ---- tests ---- */

Test(counts, follow_writes_trims_failed_writes_and_switches)
{
	struct world *world = world_new(true);

	expect_counts(world);
	for (int i = 0; i < OPERATIONS; i++) {
		change_something(world);
		expect_counts(world);
	}
	world_free(world);
}

Test(counts, follow_the_same_without_a_base)
{
	struct world *world = world_new(false);

	for (int i = 0; i < OPERATIONS; i++) {
		change_something(world);
		expect_counts(world);
	}
	world_free(world);
}

Test(counts, made_anew_from_the_blocks_are_the_same)
{
	struct world *world = world_new(true);
	uint8_t body[SEAL_BLOCK_BODY_BYTES];

	for (int i = 0; i < OPERATIONS; i++)
		change_something(world);
	counts_reset(&world->of.map);
	for (uint64_t i = 0; i < world->of.map.nr_blocks; i++) {
		cr_assert_eq(map_copy_block(&world->of.map, i, body), 0);
		counts_add_block(&world->of.map, i, body);
	}
	expect_counts(world);
	world_free(world);
}

Test(counts, without_extents_the_base_is_known_until_a_sector_leaves_it)
{
	struct world *world = world_new(true);

	world->of.map.config.base_extents = NULL;
	zero_sectors(world, 700, 300);
	cr_expect(map_counts(&world->of.map).base_known, "a hole: nothing changed");
	write_sectors(world, 0, 1, -EIO);
	cr_expect(map_counts(&world->of.map).base_known, "a write that failed");
	write_sectors(world, 0, 1, 0);
	cr_expect_not(map_counts(&world->of.map).base_known);
	expect_counts(world);
	world_free(world);
}
