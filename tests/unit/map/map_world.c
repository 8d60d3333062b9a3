/* SPDX-License-Identifier: MIT */
#include "map_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "ring/ring.h"

static void no_notify(struct lane *lane)
{
	(void)lane;
}

static void make_lane(struct map_world *world)
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

static void make_dirty_file(struct map_world *world)
{
	static const uint8_t name[SEAL_UUID_BYTES];
	const struct dirty_identity id = { .uuid = name, .open_nonce = name, .boot_id = name };

	world->dirty_memory = calloc(1, DIRTY_FILE_BYTES);
	cr_assert_eq(dirty_file_format(&world->map.dirty_file, world->dirty_memory, &id,
				       &world->lane.mac),
		     0);
}

void map_world_init(struct map_world *world, uint64_t nr_sectors, void *entries)
{
	struct map_config *config = &world->map.config;

	world->file = tmpfile();
	config->fd = fileno(world->file);
	/* As an image: no place is behind its end. */
	cr_assert_eq(ftruncate(config->fd, (64 << 20) + 2 * (off_t)sectors_to_bytes(nr_sectors)),
		     0);
	config->disk_sectors = nr_sectors;
	config->entries_memory = entries;
	config->bitmap_offset = SEAL_BITMAP_START;
	config->map_offset = 2 * SEAL_BITMAP_START;
	config->open_seq = 1;
	config->planes[SEALED_PLANE] = (struct map_plane){ SEAL_PLANE_SEALED, 64 << 20 };
	config->planes[PLAIN_PLANE] =
		(struct map_plane){ SEAL_PLANE_PLAIN, (64 << 20) + sectors_to_bytes(nr_sectors) };
	cr_assert_eq(map_init(&world->map, SEALED_PLANE), 0);
	make_lane(world);
	make_dirty_file(world);
}

void map_world_turn(struct map_world *world)
{
	struct inbox_item *item = inbox_take_all(&world->inbox);

	while (item) {
		struct inbox_item *next = item->next;

		item->deliver(item);
		item = next;
	}
	cr_assert_eq(ring_wait(world->lane.ring, 0), 0);
}

void map_world_done(struct map_world *world)
{
	while (world->lane.ring->nr_in_flight > 0 || inbox_has_items(&world->inbox))
		map_world_turn(world);
	mac_done(&world->lane.mac);
	ring_free(world->lane.ring);
	fclose(world->file);
	free(world->dirty_memory);
	map_done(&world->map);
}

static void wake(struct waiter *waiter)
{
	CONTAINER_OF(waiter, struct map_world, waiter)->woken = true;
}

static struct waiter *begin_wait(struct map_world *world)
{
	world->waiter = (struct waiter){ .wake = wake };
	world->woken = false;
	return &world->waiter;
}

static void end_wait(struct map_world *world)
{
	while (!world->woken)
		map_world_turn(world);
}

uint8_t map_world_write(struct map_world *world, uint64_t first, uint64_t nr, int result)
{
	unsigned int parity;
	uint8_t entry;

	while (map_write_begin(&world->map, &world->lane, first, nr, begin_wait(world), &entry,
			       &parity) == 1)
		end_wait(world);
	map_write_end(&world->map, &world->lane, first, nr, entry, parity, result);
	return entry;
}

void map_world_zero(struct map_world *world, uint64_t first, uint64_t nr)
{
	for (uint64_t at = first, done; at < first + nr; at += done) {
		int r = map_zero(&world->map, &world->lane, at, first + nr - at, begin_wait(world),
				 &done);

		cr_assert_geq(r, 0);
		if (r == 1)
			end_wait(world);
	}
}

void map_world_flush(struct map_world *world)
{
	cr_assert_eq(map_flush(&world->map, &world->lane, begin_wait(world)), 1);
	end_wait(world);
	cr_assert_eq(world->waiter.result, 0);
}

int map_world_find(struct map_world *world, uint64_t first, uint64_t limit, struct map_run *ret_run)
{
	int r;

	while ((r = map_find(&world->map, first, limit, ret_run)) == -EAGAIN)
		if (map_load_wait(&world->map, &world->lane, first, begin_wait(world)) == 1) {
			end_wait(world);
			if (world->waiter.result < 0)
				return world->waiter.result;
		}
	return r;
}
