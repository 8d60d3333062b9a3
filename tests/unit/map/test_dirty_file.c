/* SPDX-License-Identifier: MIT */
/* The dirty file's memory: growing, staying small, and not looking behind what there is. */
#include "map/dirty_file.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "sealblk/limits.h"

enum { AREA_BYTES = DIRTY_AREA_RECORDS * sizeof(struct dirty_record) };

static struct {
	uint8_t *memory; /* what was not given cannot be touched */
	struct mac_ctx mac;
	unsigned int nr_calls;
	unsigned int nr_granted; /* calls that succeed, the first ones */
	struct dirty_file file;
} world;

static const uint8_t name[SEAL_UUID_BYTES];
static const struct dirty_identity identity = {
	.uuid = name,
	.open_nonce = name,
	.boot_id = name,
};

static void allow(size_t offset_bytes, size_t nr_bytes)
{
	cr_assert_eq(mprotect(world.memory + offset_bytes, nr_bytes, PROT_READ | PROT_WRITE), 0);
}

static int grow(void *arg, size_t offset_bytes, size_t nr_bytes)
{
	cr_assert_eq(arg, &world);
	cr_assert_leq(offset_bytes + nr_bytes, DIRTY_FILE_BYTES);
	if (world.nr_calls++ >= world.nr_granted)
		return -ENOSPC;
	allow(offset_bytes, nr_bytes);
	return 0;
}

static void set_up(void)
{
	static const uint8_t key[MAC_KEY_BYTES] = { 1 };
	const size_t backed_bytes = DIRTY_BACKED_RECORDS * sizeof(struct dirty_record);

	world.memory = mmap(NULL, DIRTY_FILE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(world.memory, MAP_FAILED);
	allow(0, sizeof(struct dirty_header) + backed_bytes);
	allow(sizeof(struct dirty_header) + AREA_BYTES, backed_bytes);
	world.nr_granted = UINT32_MAX;
	cr_assert_eq(mac_init(&world.mac, key), 0);
	cr_assert_eq(dirty_file_format(&world.file, world.memory, &identity, &world.mac), 0);
	world.file.grow = grow;
	world.file.grow_arg = &world;
}

static void tear_down(void)
{
	mac_done(&world.mac);
	munmap(world.memory, DIRTY_FILE_BYTES);
}

TestSuite(dirty_file, .init = set_up, .fini = tear_down);

/* As long as there is room and no round is wanted, @max at most. */
static uint32_t fill(uint32_t max)
{
	uint32_t nr = 0;

	while (nr < max && dirty_file_has_room(&world.file, 1)) {
		dirty_file_add(&world.file, nr, 1, 2);
		nr++;
		if (dirty_file_is_filling(&world.file))
			break;
	}
	return nr;
}

static void count(void *arg, uint64_t first_sector, uint32_t nr_sectors, uint8_t entry)
{
	uint32_t *nr = arg;

	cr_expect_eq(first_sector, *nr);
	cr_expect_eq(nr_sectors, 1);
	cr_expect_eq(entry, 2);
	(*nr)++;
}

/* What a new daemon finds. */
static uint32_t count_found(void)
{
	struct dirty_file found;
	uint32_t nr = 0;

	cr_assert_eq(dirty_file_adopt(&found, world.memory, &identity, &world.mac), 0);
	dirty_file_replay(&found, count, &nr);
	return nr;
}

Test(dirty_file, grows_in_both_areas_until_it_is_whole)
{
	cr_expect_eq(fill(UINT32_MAX), DIRTY_AREA_RECORDS / 4 * 3);
	cr_expect_eq(world.file.nr_backed, DIRTY_AREA_RECORDS);
	cr_expect_leq(world.nr_calls, 16);
	cr_expect_eq(count_found(), DIRTY_AREA_RECORDS / 4 * 3);
	dirty_file_freeze(&world.file);
	dirty_file_clear_frozen(&world.file);
	cr_expect_eq(fill(UINT32_MAX), DIRTY_AREA_RECORDS / 4 * 3);
}

Test(dirty_file, that_cannot_grow_wants_a_round_and_then_promises_no_more)
{
	world.nr_granted = 0;
	cr_expect_eq(fill(UINT32_MAX), DIRTY_BACKED_RECORDS / 4 * 3);
	cr_expect_eq(world.nr_calls, 1);
	while (dirty_file_has_room(&world.file, 1))
		world.file.nr_reserved++;
	cr_expect_eq(world.file.nr_records + world.file.nr_reserved, DIRTY_BACKED_RECORDS);
	cr_expect_eq(world.nr_calls, 1, "asked %u times", world.nr_calls);
	/* What was promised before the freeze has its place behind it. */
	dirty_file_freeze(&world.file);
	for (; world.file.nr_reserved > 0; world.file.nr_reserved--)
		dirty_file_add(&world.file, 0, 1, 2);
}

Test(dirty_file, tries_again_to_grow_after_a_freeze)
{
	world.nr_granted = 0;
	(void)fill(UINT32_MAX);
	dirty_file_freeze(&world.file);
	dirty_file_clear_frozen(&world.file);
	world.nr_granted = UINT32_MAX;
	cr_expect_eq(fill(DIRTY_BACKED_RECORDS), DIRTY_BACKED_RECORDS);
	cr_expect_gt(world.file.nr_backed, DIRTY_BACKED_RECORDS);
}

/* The first area may grow and the second one not. */
Test(dirty_file, grows_in_both_areas_or_in_none)
{
	world.nr_granted = 1;
	cr_expect_eq(fill(UINT32_MAX), DIRTY_BACKED_RECORDS / 4 * 3);
	cr_expect_eq(world.file.nr_backed, DIRTY_BACKED_RECORDS);
	cr_expect_eq(count_found(), DIRTY_BACKED_RECORDS / 4 * 3);
}

/* Behind it, memory may be what nobody has, and looking there would kill the reader. */
Test(dirty_file, is_read_as_far_as_it_has_grown)
{
	world.nr_granted = 2;
	for (uint32_t nr = 0; nr < 2 * DIRTY_BACKED_RECORDS; nr++) {
		cr_assert(dirty_file_has_room(&world.file, 1));
		dirty_file_add(&world.file, nr, 1, 2);
	}
	cr_expect_eq(count_found(), 2 * DIRTY_BACKED_RECORDS);
	/* A file that says nothing of it was preallocated as a whole. */
	allow(0, DIRTY_FILE_BYTES);
	((struct dirty_header *)(void *)world.memory)->nr_backed = 0;
	cr_expect_eq(count_found(), 2 * DIRTY_BACKED_RECORDS);
}
