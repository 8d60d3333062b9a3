/* SPDX-License-Identifier: MIT */
/* Walking over the states of a disk, and the object of `sealblk info`. */
#include "fixture.h"

#include <errno.h>

enum { PLAIN_PLANE = 3, SEALED_PLANE = SEAL_ENTRY_PLANE_FIRST };

struct extent {
	uint64_t first_sector;
	uint64_t nr_sectors;
	enum report_state state;
};

struct told_extents {
	unsigned int nr;
	struct extent list[32];
};

static int collect(void *arg, uint64_t first_sector, uint64_t nr_sectors, enum report_state state)
{
	struct told_extents *extents = arg;

	cr_assert_lt(extents->nr, ARRAY_LEN(extents->list));
	extents->list[extents->nr++] = (struct extent){ first_sector, nr_sectors, state };
	return 0;
}

static void expect_extents(struct fixture *fixture, const struct extent *wanted, unsigned int nr)
{
	struct report report = { .image = fixture->image, .ring = fixture->ring };
	struct told_extents found = { 0 };

	cr_assert_eq(report_walk(&report, collect, &found), 0);
	cr_assert_eq(found.nr, nr, "%u extents, not %u", found.nr, nr);
	for (unsigned int i = 0; i < nr; i++) {
		cr_expect_eq(found.list[i].first_sector, wanted[i].first_sector, "extent %u", i);
		cr_expect_eq(found.list[i].nr_sectors, wanted[i].nr_sectors, "extent %u", i);
		cr_expect_eq(found.list[i].state, wanted[i].state, "extent %u", i);
	}
}

static void add_plain_plane(struct fixture *fixture)
{
	fixture->image->disk.map.config.planes[PLAIN_PLANE].kind = SEAL_PLANE_PLAIN;
}

Test(report, a_fresh_disk_without_a_base_is_one_extent_of_zeros)
{
	const struct extent wanted[] = { { 0, FIXTURE_SECTORS, REPORT_ZERO } };
	struct fixture fixture;

	fixture_set_up(&fixture);
	expect_extents(&fixture, wanted, ARRAY_LEN(wanted));
	fixture_done(&fixture);
}

Test(report, neighbours_of_one_state_are_joined_across_blocks)
{
	const uint32_t size = SEAL_BLOCK_SECTORS;
	const struct extent wanted[] = {
		{ 0, size - 5, REPORT_ZERO },
		{ size - 5, size + 5, REPORT_SEALED },
		{ 2 * size, 17, REPORT_PLAIN },
		{ 2 * size + 17, FIXTURE_SECTORS - 2 * size - 17, REPORT_ZERO },
	};
	struct fixture fixture;

	fixture_set_up(&fixture);
	add_plain_plane(&fixture);
	fixture_set_block(&fixture, 0, size - 5, size, SEALED_PLANE);
	fixture_set_block(&fixture, 1, 0, size, SEALED_PLANE);
	fixture_set_block(&fixture, 2, 0, 17, PLAIN_PLANE);
	expect_extents(&fixture, wanted, ARRAY_LEN(wanted));
	fixture_done(&fixture);
}

Test(report, runs_end_at_the_right_sector_wherever_they_lie_in_a_word)
{
	struct fixture fixture;

	fixture_set_up(&fixture);
	for (uint32_t first = 30; first < 50; first++) {
		for (uint32_t end = first + 1; end < 85; end++) {
			const struct extent wanted[] = {
				{ 0, first, REPORT_ZERO },
				{ first, end - first, REPORT_SEALED },
				{ end, FIXTURE_SECTORS - end, REPORT_ZERO },
			};

			fixture_set_block(&fixture, 0, first, end, SEALED_PLANE);
			expect_extents(&fixture, wanted, ARRAY_LEN(wanted));
		}
	}
	fixture_done(&fixture);
}

Test(report, a_block_cut_by_the_end_of_the_disk_ends_there)
{
	const uint64_t last = (uint64_t)(FIXTURE_BLOCKS - 1) * SEAL_BLOCK_SECTORS;
	const struct extent wanted[] = {
		{ 0, last + 999, REPORT_ZERO },
		{ last + 999, 1, REPORT_SEALED },
	};
	struct fixture fixture;

	fixture_set_up(&fixture);
	fixture_set_block(&fixture, FIXTURE_BLOCKS - 1, 999, SEAL_BLOCK_SECTORS, SEALED_PLANE);
	expect_extents(&fixture, wanted, ARRAY_LEN(wanted));
	fixture_done(&fixture);
}

Test(report, a_damaged_block_is_shown_and_the_rest_too)
{
	const struct extent wanted[] = {
		{ 0, SEAL_BLOCK_SECTORS, REPORT_ZERO },
		{ SEAL_BLOCK_SECTORS, SEAL_BLOCK_SECTORS, REPORT_DAMAGED },
		{ 2 * SEAL_BLOCK_SECTORS, FIXTURE_SECTORS - 2 * SEAL_BLOCK_SECTORS, REPORT_ZERO },
	};
	struct fixture fixture;

	fixture_set_up(&fixture);
	fixture_damage_block(&fixture, 1);
	expect_extents(&fixture, wanted, ARRAY_LEN(wanted));
	fixture_done(&fixture);
}

static int give_up(void *arg, uint64_t first_sector, uint64_t nr_sectors, enum report_state state)
{
	(void)first_sector, (void)nr_sectors, (void)state;
	++*(int *)arg;
	return -ENOBUFS;
}

Test(report, a_walk_ends_when_the_caller_says_so)
{
	struct fixture fixture;
	_Atomic bool stop = true;
	struct report report;
	int calls = 0;

	fixture_set_up(&fixture);
	fixture_set_block(&fixture, 0, 0, 5, SEALED_PLANE);
	report = (struct report){ .image = fixture.image, .ring = fixture.ring };
	cr_expect_eq(report_walk(&report, give_up, &calls), -ENOBUFS);
	cr_expect_eq(calls, 1);

	report.stop = &stop;
	cr_expect_eq(report_walk(&report, give_up, &calls), -ECANCELED);
	cr_expect_eq(calls, 1);
	fixture_done(&fixture);
}

/* ---- with a base ---- */

enum { BASE_SECTORS = 20000, BASE_DATA_FIRST = 8192, BASE_DATA_SECTORS = 2048 };

/* A raw base with data in its middle, and an image over it. */
static void set_up_with_base(struct fixture *fixture)
{
	static uint8_t data[BASE_DATA_SECTORS * SECTOR_BYTES];
	struct base_identity *identity = calloc(1, sizeof(*identity));
	struct problem problem;
	struct base base;
	int fd;

	fixture_enter(fixture);
	fd = open("base", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	memset(data, 'x', sizeof(data));
	cr_assert_eq(pwrite(fd, data, sizeof(data), BASE_DATA_FIRST * SECTOR_BYTES),
		     (ssize_t)sizeof(data));
	cr_assert_eq(ftruncate(fd, BASE_SECTORS * SECTOR_BYTES), 0);
	cr_assert_eq(base_open(&base, fd, "base", BASE_RAW, &base_opener_direct, &problem), 0, "%s",
		     problem.text);
	cr_assert_eq(base_identity_take(&base, "base", "image", true, identity, &problem), 0, "%s",
		     problem.text);
	fixture_create(fixture, identity);
	fixture_load(fixture);
	free(identity);
	fixture->image->base = base;
}

Test(report, holes_of_the_base_and_what_lies_past_its_end_are_zeros)
{
	const uint64_t data_end = BASE_DATA_FIRST + BASE_DATA_SECTORS;
	const struct extent wanted[] = {
		{ 0, BASE_DATA_FIRST, REPORT_ZERO },
		{ BASE_DATA_FIRST, BASE_DATA_SECTORS, REPORT_BASE },
		{ data_end, FIXTURE_SECTORS - data_end, REPORT_ZERO },
	};
	struct fixture fixture;

	set_up_with_base(&fixture);
	expect_extents(&fixture, wanted, ARRAY_LEN(wanted));
	fixture_done(&fixture);
}

Test(report, a_base_that_is_not_open_counts_as_base_up_to_its_end)
{
	const struct extent wanted[] = {
		{ 0, BASE_SECTORS, REPORT_BASE },
		{ BASE_SECTORS, FIXTURE_SECTORS - BASE_SECTORS, REPORT_ZERO },
	};
	struct fixture fixture;

	set_up_with_base(&fixture);
	base_close(&fixture.image->base);
	expect_extents(&fixture, wanted, ARRAY_LEN(wanted));
	fixture_done(&fixture);
}

/* ---- the object ---- */

static json_t *info_of(struct fixture *fixture, const char *base_problem)
{
	struct report report = { .image = fixture->image, .ring = fixture->ring };
	json_t *info;

	cr_assert_eq(report_info_json(&report, base_problem, &info), 0);
	return info;
}

static bool is_server_encrypted(struct fixture *fixture)
{
	json_t *info = info_of(fixture, NULL);
	bool is = json_is_true(json_object_get(info, "server_encrypted"));

	json_decref(info);
	return is;
}

static json_int_t number_at(const json_t *info, const char *object, const char *name)
{
	return json_integer_value(json_object_get(json_object_get(info, object), name));
}

Test(report, info_counts_sectors_by_state)
{
	struct fixture fixture;
	json_t *info;

	set_up_with_base(&fixture);
	fixture_set_block(&fixture, 0, 10, 30, SEALED_PLANE);
	info = info_of(&fixture, NULL);
	cr_expect_eq(number_at(info, "sectors", "sealed"), 20);
	cr_expect_eq(number_at(info, "sectors", "base"), BASE_DATA_SECTORS);
	cr_expect_eq(number_at(info, "sectors", "plain"), 0);
	cr_expect_eq(number_at(info, "sectors", "zero"), FIXTURE_SECTORS - 20 - BASE_DATA_SECTORS);
	json_decref(info);
	fixture_done(&fixture);
}

static void expect_sectors(struct fixture *fixture, uint64_t base, uint64_t zero, uint64_t sealed)
{
	json_t *info = info_of(fixture, NULL);

	cr_expect_eq(number_at(info, "sectors", "base"), base);
	cr_expect_eq(number_at(info, "sectors", "zero"), zero);
	cr_expect_eq(number_at(info, "sectors", "plain"), 0);
	cr_expect_eq(number_at(info, "sectors", "sealed"), sealed);
	cr_expect_eq(number_at(info, "sectors", "damaged"), 0);
	json_decref(info);
}

Test(report, info_takes_the_maps_counts_where_it_has_any)
{
	struct fixture fixture;
	struct map_counts *counts;

	set_up_with_base(&fixture);
	counts = &fixture.image->disk.map.counts;
	*counts = (struct map_counts){ .known = true, .base_known = true, .base_data = 3 };
	counts->sectors[SEAL_ENTRY_BASE] = 10;
	counts->sectors[SEAL_ENTRY_ZERO] = 100;
	counts->sectors[SEALED_PLANE] = 1000;
	expect_sectors(&fixture, 3, 107, 1000);
	counts->base_known = false;
	expect_sectors(&fixture, BASE_DATA_SECTORS, FIXTURE_SECTORS - BASE_DATA_SECTORS, 0);
	counts->base_known = true;
	counts->known = false;
	expect_sectors(&fixture, BASE_DATA_SECTORS, FIXTURE_SECTORS - BASE_DATA_SECTORS, 0);
	counts->known = true;
	atomic_store(&fixture.image->disk.map.damaged, true);
	expect_sectors(&fixture, BASE_DATA_SECTORS, FIXTURE_SECTORS - BASE_DATA_SECTORS, 0);
	fixture_done(&fixture);
}

Test(report, info_tells_times_in_utc_and_null_for_never)
{
	struct fixture fixture;
	json_t *info, *encryption;

	fixture_set_up(&fixture);
	info = info_of(&fixture, NULL);
	encryption = json_object_get(info, "encryption");
	cr_expect_str_eq(json_string_value(json_object_get(encryption, "last_enabled_time")),
			 "2023-11-14T22:13:20Z");
	json_decref(info);

	fixture.image->super.last_enabled_s = le64_of(0);
	info = info_of(&fixture, NULL);
	encryption = json_object_get(info, "encryption");
	cr_expect(json_is_null(json_object_get(encryption, "last_enabled_time")));
	json_decref(info);
	fixture_done(&fixture);
}

Test(report, info_of_a_base_whose_path_is_not_utf_8_is_still_json)
{
	struct fixture fixture;
	json_t *info, *base;

	set_up_with_base(&fixture);
	strcpy(fixture.image->base_identity.path, "ba\xffse");
	info = info_of(&fixture, "gone");
	base = json_object_get(info, "base");
	cr_expect_str_eq(json_string_value(json_object_get(base, "path")), "ba?se");
	cr_expect(json_is_false(json_object_get(base, "found")));
	cr_expect_str_eq(json_string_value(json_object_get(base, "problem")), "gone");
	json_decref(info);
	fixture_done(&fixture);
}

Test(report, server_encrypted_wants_every_stored_sector_sealed_and_a_clean_close)
{
	struct fixture fixture;

	fixture_set_up(&fixture);
	add_plain_plane(&fixture);
	fixture_set_block(&fixture, 0, 10, 30, SEALED_PLANE);
	cr_expect(is_server_encrypted(&fixture));
	fixture_set_block(&fixture, 1, 7, 8, PLAIN_PLANE);
	cr_expect_not(is_server_encrypted(&fixture), "one plain sector");
	fixture_set_block(&fixture, 1, 7, 8, SEALED_PLANE);
	cr_expect(is_server_encrypted(&fixture));

	fixture.image->super.open_state = SEAL_UNCLEAN;
	cr_expect_not(is_server_encrypted(&fixture), "not closed");
	fixture.image->super.open_state = SEAL_CLEAN;
	fixture_damage_block(&fixture, 2);
	cr_expect_not(is_server_encrypted(&fixture), "a damaged block");
	fixture_done(&fixture);
}

Test(report, server_encrypted_is_false_while_the_base_supplies_a_sector)
{
	struct fixture fixture;

	set_up_with_base(&fixture);
	cr_expect_not(is_server_encrypted(&fixture));
	for (uint64_t i = 0; i < FIXTURE_BLOCKS; i++)
		fixture_set_block(&fixture, i, 0, SEAL_BLOCK_SECTORS, SEALED_PLANE);
	cr_expect(is_server_encrypted(&fixture));
	fixture_done(&fixture);
}
