/* SPDX-License-Identifier: MIT */
/* The counts of a map against a naive model, whatever changes its entries. */
#include "map/counts.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "map/entries.h"
#include "ring/ring.h"

enum {
	SECTORS = 2 * SEAL_BLOCK_SECTORS + 1000,
	SEALED_PLANE = 2,
	PLAIN_PLANE = 3,
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
	struct map map;
	struct lane lane, *lanes;
	struct inbox inbox;
	struct extents base;
	uint64_t bounds[2 * PERIODS];
	uint32_t starts[2 * PERIODS + 2];
	FILE *file;
	void *dirty_memory;
	struct waiter waiter;
	bool woken;
	uint8_t model[SECTORS];
};

static void no_notify(struct lane *lane)
{
	(void)lane;
}

static int extent_of(void *base, uint64_t first_sector, uint64_t limit_sectors, bool *ret_hole,
		     uint64_t *ret_sectors)
{
	struct world *world = base;

	*ret_hole = extents_is_hole(&world->base, first_sector, limit_sectors, ret_sectors);
	return 0;
}

static void make_lane(struct world *world)
{
	static const uint8_t key[MAC_KEY_BYTES] = { 1 };

	inbox_init(&world->inbox);
	cr_assert_eq(ring_sync_new(&world->lane.ring), 0);
	cr_assert_eq(mac_init(&world->lane.mac, key), 0);
	world->lane.inbox = &world->inbox;
	world->lane.notify = no_notify;
	world->lanes = &world->lane;
	map_set_lanes(&world->map, &world->lanes, 1);
}

static void make_dirty_file(struct world *world)
{
	static const uint8_t name[SEAL_UUID_BYTES];
	const struct dirty_identity id = { .uuid = name, .open_nonce = name, .boot_id = name };

	world->dirty_memory = calloc(1, DIRTY_FILE_BYTES);
	cr_assert_eq(dirty_file_format(&world->map.dirty_file, world->dirty_memory, &id,
				       &world->lane.mac),
		     0);
}

static struct world *world_new(bool has_base)
{
	struct world *world = calloc(1, sizeof(*world));
	struct map_config *config = &world->map.config;

	for (uint32_t i = 0; i < PERIODS; i++) {
		world->bounds[2 * i] = i * PERIOD;
		world->bounds[2 * i + 1] = i * PERIOD + DATA;
	}
	world->base = (struct extents){ .bounds = world->bounds, .nr_bounds = 2 * PERIODS };
	extents_index(&world->base, world->starts, SECTORS);
	world->file = tmpfile();
	config->fd = fileno(world->file);
	config->disk_sectors = SECTORS;
	config->entries_memory = calloc(1, map_entries_bytes(SECTORS));
	config->bitmap_offset = SEAL_BITMAP_START;
	config->map_offset = 2 * SEAL_BITMAP_START;
	config->open_seq = 1;
	config->has_base = has_base;
	config->base = world;
	config->base_extent = extent_of;
	config->base_extents = has_base ? &world->base : NULL;
	config->planes[SEALED_PLANE] = (struct map_plane){ SEAL_PLANE_SEALED, 64 << 20 };
	config->planes[PLAIN_PLANE] = (struct map_plane){ SEAL_PLANE_PLAIN, 128 << 20 };
	cr_assert_eq(map_init(&world->map, SEALED_PLANE), 0);
	make_lane(world);
	make_dirty_file(world);
	counts_reset(&world->map);
	return world;
}

static void turn(struct world *world)
{
	struct inbox_item *item = inbox_take_all(&world->inbox);

	while (item) {
		struct inbox_item *next = item->next;

		item->deliver(item);
		item = next;
	}
	cr_assert_eq(ring_wait(world->lane.ring, 0), 0);
}

static void world_free(struct world *world)
{
	while (world->lane.ring->nr_in_flight > 0 || world->inbox.newest)
		turn(world);
	mac_done(&world->lane.mac);
	ring_free(world->lane.ring);
	fclose(world->file);
	free(world->dirty_memory);
	free(world->map.config.entries_memory);
	map_done(&world->map);
	free(world);
}

static void wake(struct waiter *waiter)
{
	CONTAINER_OF(waiter, struct world, waiter)->woken = true;
}

static struct waiter *begin_wait(struct world *world)
{
	world->waiter = (struct waiter){ .wake = wake };
	world->woken = false;
	return &world->waiter;
}

static void end_wait(struct world *world)
{
	while (!world->woken)
		turn(world);
}

static void write_sectors(struct world *world, uint64_t first, uint64_t nr, int result)
{
	unsigned int parity;
	uint8_t entry;

	while (map_write_begin(&world->map, &world->lane, first, nr, begin_wait(world), &entry,
			       &parity) == 1)
		end_wait(world);
	map_write_end(&world->map, &world->lane, first, nr, entry, parity, result);
	if (result >= 0)
		memset(world->model + first, entry, nr);
}

static void zero_sectors(struct world *world, uint64_t first, uint64_t nr)
{
	for (uint64_t at = first, done; at < first + nr; at += done) {
		int r = map_zero(&world->map, &world->lane, at, first + nr - at, begin_wait(world),
				 &done);

		cr_assert_geq(r, 0);
		if (r == 1)
			end_wait(world);
	}
	for (uint64_t i = first; i < first + nr; i++)
		if (world->model[i] >= SEAL_ENTRY_PLANE_FIRST ||
		    (world->model[i] == SEAL_ENTRY_BASE && world->map.config.has_base &&
		     is_data(i)))
			world->model[i] = SEAL_ENTRY_ZERO;
}

static void flush(struct world *world)
{
	cr_assert_eq(map_flush(&world->map, &world->lane, begin_wait(world)), 1);
	end_wait(world);
	cr_assert_eq(world->waiter.result, 0);
}

static void expect_counts(struct world *world)
{
	struct map_counts counts = map_counts(&world->map);
	uint64_t wanted[MAP_VALUES] = { 0 };
	uint64_t base_data = 0;

	for (uint64_t i = 0; i < SECTORS; i++) {
		wanted[world->model[i]]++;
		base_data += world->model[i] == SEAL_ENTRY_BASE && is_data(i);
	}
	cr_assert(counts.known);
	cr_assert_arr_eq(counts.sectors, wanted, sizeof(wanted));
	if (!world->map.config.has_base || !world->map.config.base_extents)
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
		map_switch_end(&world->map, random_below(2) ? SEALED_PLANE : PLAIN_PLANE);
		break;
	case 1:
		flush(world);
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
	counts_reset(&world->map);
	for (uint64_t i = 0; i < world->map.nr_blocks; i++) {
		cr_assert_eq(map_copy_block(&world->map, i, body), 0);
		counts_add_block(&world->map, i, body);
	}
	expect_counts(world);
	world_free(world);
}

Test(counts, without_extents_the_base_is_known_until_a_sector_leaves_it)
{
	struct world *world = world_new(true);

	world->map.config.base_extents = NULL;
	zero_sectors(world, 700, 300);
	cr_expect(map_counts(&world->map).base_known, "a hole: nothing changed");
	write_sectors(world, 0, 1, -EIO);
	cr_expect(map_counts(&world->map).base_known, "a write that failed");
	write_sectors(world, 0, 1, 0);
	cr_expect_not(map_counts(&world->map).base_known);
	expect_counts(world);
	world_free(world);
}
