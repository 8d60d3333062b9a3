/* SPDX-License-Identifier: MIT */
/*
 * A moment that is held, step by step: a disk that is its base, a scratch file, and a ring
 * that does nothing until it is told to.
 */
#include "request/moment.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "request/cipher.h"

enum {
	CHUNKS = 2 * MOMENT_SLOTS_MAX,
	SECTORS = CHUNKS * MOMENT_CHUNK_SECTORS - 3, /* the last one is short */
	ZERO_CHUNK = 5,
	OPS_MAX = 2 * MOMENT_SLOTS_MAX,
};

struct world {
	struct disk disk;
	struct lane lane, *lanes;
	struct inbox inbox;
	struct ring ring;
	struct ring_op *ops[OPS_MAX]; /* submitted, not done */
	unsigned int nr_ops;
	struct moment *moment;
	_Atomic uint8_t states[CHUNKS];
	int scratch_fd;
	struct waiter waiter;
	unsigned int nr_wakes;
};

/* ---- a ring that waits ---- */

static void submit(struct ring *ring, struct ring_op *op)
{
	struct world *world = CONTAINER_OF(ring, struct world, ring);

	cr_assert(world->nr_ops < OPS_MAX);
	world->ops[world->nr_ops++] = op;
}

static const struct ring_ops ring_ops = { .submit = submit };

/* The one submitted last is done. @result: 0: as it turns out. */
static void complete(struct world *world, int result)
{
	struct ring_op *op = world->ops[--world->nr_ops];

	world->ring.nr_in_flight--;
	if (result == 0) {
		result = ring_op_call(op);
		cr_assert_eq(result, (int)op->bytes);
	}
	op->done(op, result);
}

static void no_notify(struct lane *lane)
{
	(void)lane;
}

static void woken(struct waiter *waiter)
{
	CONTAINER_OF(waiter, struct world, waiter)->nr_wakes++;
}

/* How often the waiter was woken since the last time. */
static unsigned int wakes(struct world *world)
{
	struct inbox_item *item = inbox_take_all(&world->inbox);
	unsigned int nr;

	while (item) {
		struct inbox_item *next = item->next;

		item->deliver(item);
		item = next;
	}
	nr = world->nr_wakes;
	world->nr_wakes = 0;
	return nr;
}

/* ---- the disk ---- */

/* Of sector @sector. */
static uint8_t content(uint64_t sector)
{
	if (sector / MOMENT_CHUNK_SECTORS == ZERO_CHUNK)
		return 0;
	return (uint8_t)(1 + sector % 251);
}

static int make_base(void)
{
	int fd = memfd_create("base", 0);

	for (uint64_t sector = 0; sector < SECTORS; sector++) {
		uint8_t data[SECTOR_BYTES];

		memset(data, content(sector), sizeof(data));
		cr_assert_eq(write(fd, data, sizeof(data)), (ssize_t)sizeof(data));
	}
	return fd;
}

static void make_disk(struct world *world)
{
	static const struct xts_key *const no_keys[MAP_VALUES];
	struct disk *disk = &world->disk;

	disk->map.config = (struct map_config){
		.disk_sectors = SECTORS,
		.entries_memory = calloc(1, map_entries_bytes(SECTORS)),
		.has_base = true,
		.planes = { [2] = { .kind = SEAL_PLANE_PLAIN } },
	};
	cr_assert_eq(map_init(&disk->map, 2), 0);
	disk->nr_sectors = SECTORS;
	disk->nr_tib = 1;
	disk->base_fd = make_base();
	disk->base_data_bytes = sectors_to_bytes(SECTORS);
	inbox_init(&world->inbox);
	world->ring.ops = &ring_ops;
	world->lane = (struct lane){
		.disk = disk,
		.ring = &world->ring,
		.inbox = &world->inbox,
		.notify = no_notify,
	};
	world->lanes = &world->lane;
	map_set_lanes(&disk->map, &world->lanes, 1);
	cr_assert_eq(cipher_init(&world->lane, &xts_openssl_ops, no_keys), 0);
}

static struct world *make_world(void)
{
	struct world *world = calloc(1, sizeof(*world));

	make_disk(world);
	world->scratch_fd = memfd_create("scratch", 0);
	world->moment = aligned_alloc(4096, round_up(sizeof(*world->moment), 4096));
	memset(world->moment, 0, sizeof(*world->moment));
	cr_assert_eq(moment_init(world->moment, &world->disk, &xts_openssl_ops, world->scratch_fd,
				 world->states),
		     0);
	atomic_store(&world->disk.moment, world->moment);
	world->waiter.wake = woken;
	return world;
}

static void free_world(struct world *world)
{
	cr_assert_eq(world->nr_ops, 0);
	cr_assert(moment_is_idle(world->moment));
	moment_done(world->moment);
	free(world->moment);
	cipher_done(&world->lane);
	free(world->disk.map.config.entries_memory);
	map_done(&world->disk.map);
	close(world->disk.base_fd);
	close(world->scratch_fd);
	free(world);
}

static int keep(struct world *world, uint64_t first_sector, uint64_t nr_sectors)
{
	return moment_keep(world->moment, &world->lane, first_sector, nr_sectors, &world->waiter);
}

static enum moment_state give(struct world *world, uint64_t chunk)
{
	enum moment_state state;

	cr_assert_eq(moment_give(world->moment, chunk, &state), 0);
	return state;
}

static void expect_kept(struct world *world, uint64_t chunk)
{
	const uint32_t nr_sectors = moment_chunk_sectors(world->moment, chunk);
	uint8_t data[MOMENT_CHUNK_BYTES], clear[16];
	const ssize_t nr_bytes = (ssize_t)sectors_to_bytes(nr_sectors);

	cr_assert_eq(give(world, chunk), MOMENT_IN_SCRATCH);
	cr_assert_eq(pread(world->scratch_fd, data, sizeof(data),
			   (off_t)(chunk * MOMENT_CHUNK_BYTES)),
		     nr_bytes);
	memset(clear, content(chunk * MOMENT_CHUNK_SECTORS), sizeof(clear));
	cr_assert_arr_neq(data, clear, sizeof(clear), "it lies there in the clear");
	cr_assert_eq(moment_unseal(world->moment, chunk, data), 0);
	for (uint32_t i = 0; i < nr_sectors; i++)
		cr_assert_eq(data[i * SECTOR_BYTES], content(chunk * MOMENT_CHUNK_SECTORS + i),
			     "sector %u", i);
}

/* ---- tests ---- */

Test(moment, a_chunk_may_be_changed_once_it_has_been_read)
{
	struct world *world = make_world();
	const uint64_t last = CHUNKS - 1;

	cr_assert_eq(keep(world, 3, 1), 1);
	cr_assert_eq(world->nr_ops, 1);
	cr_assert_eq(give(world, 0), MOMENT_BUSY);
	cr_assert_eq(wakes(world), 0);
	complete(world, 0);
	cr_assert_eq(wakes(world), 1);
	cr_assert_eq(keep(world, 3, 1), 0);
	cr_assert_eq(give(world, 0), MOMENT_IN_BUFFER);
	cr_assert(!moment_is_idle(world->moment));
	complete(world, 0);
	expect_kept(world, 0);
	/* The short one at the end. */
	cr_assert_eq(keep(world, SECTORS - 1, 1), 1);
	complete(world, 0);
	complete(world, 0);
	expect_kept(world, last);
	cr_assert_eq(give(world, 1), MOMENT_ON_DISK);
	wakes(world);
	free_world(world);
}

Test(moment, zeros_take_no_place)
{
	struct world *world = make_world();

	cr_assert_eq(keep(world, ZERO_CHUNK * MOMENT_CHUNK_SECTORS, 8), 1);
	complete(world, 0);
	cr_assert_eq(wakes(world), 1);
	cr_assert_eq(give(world, ZERO_CHUNK), MOMENT_ZERO);
	cr_assert_eq(lseek(world->scratch_fd, 0, SEEK_END), 0);
	free_world(world);
}

Test(moment, what_was_given_out_is_not_kept)
{
	struct world *world = make_world();

	cr_assert_eq(give(world, 7), MOMENT_ON_DISK);
	cr_assert_eq(give(world, 7), MOMENT_GIVEN);
	cr_assert_eq(keep(world, 7 * MOMENT_CHUNK_SECTORS, MOMENT_CHUNK_SECTORS), 0);
	free_world(world);
}

/* More chunks than there are slots: it goes on as they come free. */
Test(moment, a_long_request_goes_on_in_rounds)
{
	struct world *world = make_world();

	while (keep(world, 0, SECTORS) == 1) {
		while (world->nr_ops > 0)
			complete(world, 0);
		cr_assert_eq(wakes(world), 1);
	}
	for (uint64_t chunk = 0; chunk < CHUNKS; chunk++)
		if (chunk != ZERO_CHUNK)
			expect_kept(world, chunk);
	free_world(world);
}

Test(moment, without_space_nobody_waits)
{
	struct world *world = make_world();
	enum moment_state state;

	cr_assert_eq(keep(world, 0, 1), 1);
	complete(world, 0);
	cr_assert_eq(wakes(world), 1);
	cr_assert_eq(keep(world, 2 * MOMENT_CHUNK_SECTORS, 1), 1);
	/* The older one's place: it is full. */
	world->ops[world->nr_ops++] = world->ops[0];
	memmove(world->ops, world->ops + 1, --world->nr_ops * sizeof(struct ring_op *));
	complete(world, -ENOSPC);
	cr_assert_eq(wakes(world), 1);
	cr_assert_eq(keep(world, 2 * MOMENT_CHUNK_SECTORS, 1), 0);
	cr_assert_eq(moment_give(world->moment, 0, &state), -ENOSPC);
	cr_assert_null(world->moment->xts, "its keys are there still");
	/* What was under way comes too late, and harms nobody. */
	complete(world, 0);
	cr_assert_eq(world->nr_ops, 0);
	free_world(world);
}

Test(moment, a_disk_that_cannot_be_read_is_the_clients_own)
{
	struct world *world = make_world();
	enum moment_state state;

	cr_assert_eq(keep(world, 0, 1), 1);
	complete(world, -EIO);
	cr_assert_eq(wakes(world), 1);
	cr_assert_eq(keep(world, 0, 1), 0);
	cr_assert_eq(moment_give(world->moment, 0, &state), -EIO);
	free_world(world);
}

/* The scratch file hangs; that matters when somebody waits for it. */
Test(moment, it_is_given_up_when_clients_wait_for_the_scratch_file)
{
	struct world *world = make_world();

	for (uint64_t chunk = 8; chunk < 8 + MOMENT_SLOTS_MAX; chunk++) {
		cr_assert_eq(keep(world, chunk * MOMENT_CHUNK_SECTORS, 1), 1);
		complete(world, 0);
		cr_assert_eq(wakes(world), 1);
	}
	moment_tick(&world->disk, 1000);
	moment_tick(&world->disk, 1000 + 2 * MOMENT_STALL_MS);
	cr_assert_eq(world->moment->error, 0, "nobody waited");
	cr_assert_eq(keep(world, 0, 1), 1);
	cr_assert_eq(world->nr_ops, MOMENT_SLOTS_MAX, "there was a slot");
	moment_tick(&world->disk, 1000 + 3 * MOMENT_STALL_MS - 1);
	cr_assert_eq(world->moment->error, 0, "too early");
	moment_tick(&world->disk, 1000 + 3 * MOMENT_STALL_MS);
	cr_assert_eq(world->moment->error, -ETIME);
	cr_assert_eq(wakes(world), 1);
	cr_assert_eq(keep(world, 0, 1), 0);
	while (world->nr_ops > 0)
		complete(world, 0);
	free_world(world);
}

/* Those in line look again when some slots are free, not at each. */
Test(moment, who_waits_for_a_slot_gets_one)
{
	struct world *world = make_world();

	for (uint64_t chunk = 8; chunk < 8 + MOMENT_SLOTS_MAX; chunk++) {
		cr_assert_eq(keep(world, chunk * MOMENT_CHUNK_SECTORS, 1), 1);
		complete(world, 0);
		cr_assert_eq(wakes(world), 1);
	}
	cr_assert_eq(keep(world, 0, 1), 1);
	for (unsigned int i = 1; i < MOMENT_ROOM_MIN; i++)
		complete(world, 0);
	cr_assert_eq(wakes(world), 0);
	complete(world, 0);
	cr_assert_eq(wakes(world), 1);
	cr_assert_eq(keep(world, 0, 1), 1);
	while (world->nr_ops > 0)
		complete(world, 0);
	cr_assert_eq(wakes(world), 1);
	expect_kept(world, 0);
	free_world(world);
}
