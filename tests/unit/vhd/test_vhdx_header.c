/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>

#include "vhd/vhdx_header.h"
#include "vhdx_image.h"

#define FILE_BYTES (16 * MIB)

static struct vhdx_image image;
static struct vhdx_problem problem;
static struct vhdx_info info;
static struct vhdx_regions regions;
static struct vhdx_header headers[VHDX_HEADERS];

static void begin(void)
{
	const struct vhdx_recipe recipe = {
		.disk_bytes = 8 * MIB,
		.block_bytes = MIB,
		.logical_bytes = 512,
		.id = 5,
	};

	vhdx_begin(&image, -1, &recipe);
	headers[0] = headers[1] = image.header;
	headers[1].sequence = le64_of(8);
}

TestSuite(vhdx_headers, .init = begin);
TestSuite(vhdx_regions, .init = begin);

static int decode(void)
{
	vhdx_mend(&headers[0], sizeof(headers[0]));
	vhdx_mend(&headers[1], sizeof(headers[1]));
	problem.reason = VHDX_FINE;
	return vhdx_headers_decode((const uint8_t *)headers, FILE_BYTES, &info, &problem);
}

static int decode_torn(unsigned int number)
{
	vhdx_mend(&headers[0], sizeof(headers[0]));
	vhdx_mend(&headers[1], sizeof(headers[1]));
	headers[number].reserved[77] ^= 1;
	return vhdx_headers_decode((const uint8_t *)headers, FILE_BYTES, &info, &problem);
}

static void expect_refused(int r, enum vhdx_reason reason, uint64_t at_bytes, uint64_t value)
{
	cr_expect_eq(r, -EINVAL);
	cr_expect_eq(problem.reason, reason, "reason %d, not %d", (int)problem.reason, (int)reason);
	cr_expect_eq(problem.at_bytes, at_bytes, "at %lu", (unsigned long)problem.at_bytes);
	cr_expect_eq(problem.value, value, "value %lu", (unsigned long)problem.value);
}

Test(vhdx_headers, of_two_the_later_one_counts)
{
	cr_assert_eq(decode(), 0);
	cr_expect_eq(info.sequence, 8);
	cr_expect_eq(info.at_bytes, 131072);
	cr_expect_eq(info.nr_sound, 2);
	cr_expect_eq(info.data_write_id[0], 5);
	cr_expect_not(info.needs_replay);
	headers[0].sequence = le64_of(UINT64_MAX);
	cr_assert_eq(decode(), 0);
	cr_expect_eq(info.at_bytes, 65536);
}

Test(vhdx_headers, of_two_the_sound_one_counts)
{
	cr_assert_eq(decode_torn(1), 0);
	cr_expect_eq(info.at_bytes, 65536);
	cr_expect_eq(info.nr_sound, 1);
	headers[1].reserved[77] = 0;
	cr_assert_eq(decode_torn(0), 0);
	cr_expect_eq(info.at_bytes, 131072);
}

Test(vhdx_headers, that_are_both_torn_are_refused)
{
	headers[0].signature[0] = 'H';
	expect_refused(decode_torn(1), VHDX_NO_HEADER, 65536, 0);
}

Test(vhdx_headers, of_one_number_must_be_the_same)
{
	headers[1].sequence = headers[0].sequence;
	cr_expect_eq(decode(), 0);
	headers[1].data_write_id[0] ^= 1;
	expect_refused(decode(), VHDX_HEADERS_DIFFER, 65536, 7);
}

Test(vhdx_headers, of_another_version_are_refused)
{
	headers[1].version = le16_of(2);
	expect_refused(decode(), VHDX_BAD_VERSION, 131072 + 66, 2);
}

Test(vhdx_headers, judge_a_log_only_when_it_is_needed)
{
	headers[1].log_version = le16_of(1);
	headers[1].log_offset = le64_of(UINT64_MAX);
	cr_expect_eq(decode(), 0);
	headers[1].log_id[0] = 1;
	expect_refused(decode(), VHDX_BAD_LOG_VERSION, 131072 + 64, 1);
}

Test(vhdx_headers, with_a_log_in_no_place_are_refused)
{
	static const struct {
		uint64_t offset;
		uint32_t nr_bytes;
	} places[] = {
		{ 0, MIB },
		{ MIB + 4096, MIB },
		{ MIB, 0 },
		{ MIB, MIB + 4096 },
		{ FILE_BYTES, MIB },
		{ MIB, FILE_BYTES },
		{ UINT64_MAX - MIB, MIB },
		{ 1ull << 63, MIB },
	};

	headers[1].log_id[0] = 1;
	cr_expect_eq(decode(), 0);
	cr_expect(info.needs_replay);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		headers[1].log_offset = le64_of(places[i].offset);
		headers[1].log_bytes = le32_of(places[i].nr_bytes);
		expect_refused(decode(), VHDX_LOG_PLACE, 131072 + 72, places[i].offset);
	}
}

Test(vhdx_headers, with_a_log_that_is_too_long_are_refused)
{
	struct vhdx_problem told;

	headers[1].log_id[0] = 1;
	headers[1].log_bytes = le32_of(17 << 20);
	vhdx_mend(&headers[1], sizeof(headers[1]));
	cr_expect_eq(vhdx_headers_decode((const uint8_t *)headers, GIB, &info, &told), -EINVAL);
	cr_expect_eq(told.reason, VHDX_LOG_TOO_LONG);
	cr_expect_eq(told.value, 17 << 20);
}

Test(vhdx_headers, tell_a_vhdx_by_its_first_bytes)
{
	cr_expect(vhdx_has_signature("vhdxfile...", 11));
	cr_expect_not(vhdx_has_signature("vhdxfile", 7));
	cr_expect_not(vhdx_has_signature("vhdxfilf", 8));
}

/* ---- region tables ---- */

static int decode_regions(void)
{
	cr_assert_eq(decode(), 0);
	return vhdx_regions_decode(image.regions, VHDX_REGION_TABLE_OFFSET, &info, FILE_BYTES,
				   &regions, &problem);
}

enum { FIRST_ENTRY = VHDX_REGION_TABLE_OFFSET + 16, SECOND_ENTRY = FIRST_ENTRY + 32 };

Test(vhdx_regions, are_found)
{
	cr_assert_eq(decode_regions(), 0);
	cr_expect_eq(regions.bat.offset_bytes, VHDX_TEST_BAT);
	cr_expect_eq(regions.metadata.offset_bytes, VHDX_TEST_METADATA);
	cr_expect_eq(regions.metadata.nr_bytes, MIB);
	cr_expect_eq(regions.nr_places, 3, "the log is one of them");
}

Test(vhdx_regions, are_sound_by_their_checksum)
{
	vhdx_mend(image.regions, sizeof(image.regions));
	cr_expect(vhdx_region_table_is_sound(image.regions));
	image.regions[sizeof(image.regions) - 1] ^= 1;
	cr_expect_not(vhdx_region_table_is_sound(image.regions));
}

Test(vhdx_regions, that_are_not_known_may_be_there_if_they_are_not_required)
{
	static const uint8_t id[VHDX_GUID_BYTES] = { 9 };

	vhdx_add_region(&image, id, 10 * MIB, MIB, 0);
	cr_assert_eq(decode_regions(), 0);
	cr_expect_eq(regions.nr_places, 4, "but no block may lie there");
	vhdx_region(&image, 2)->required = le32_of(1);
	expect_refused(decode_regions(), VHDX_REGION_UNKNOWN, SECOND_ENTRY + 32, 0);
}

Test(vhdx_regions, that_are_missing_or_twice_are_refused)
{
	struct vhdx_region_table *table = vhdx_region_table(&image);

	table->nr_entries = le32_of(0);
	expect_refused(decode_regions(), VHDX_NO_BAT, VHDX_REGION_TABLE_OFFSET, 0);
	table->nr_entries = le32_of(1);
	expect_refused(decode_regions(), VHDX_NO_METADATA, VHDX_REGION_TABLE_OFFSET, 0);
	table->nr_entries = le32_of(2);
	*vhdx_region(&image, 1) = *vhdx_region(&image, 0);
	expect_refused(decode_regions(), VHDX_REGION_TWICE, SECOND_ENTRY, 0);
	table->nr_entries = le32_of(2048);
	expect_refused(decode_regions(), VHDX_TOO_MANY_REGIONS, VHDX_REGION_TABLE_OFFSET + 8, 2048);
}

Test(vhdx_regions, in_no_place_are_refused)
{
	struct vhdx_region_entry *bat = vhdx_region(&image, 0);

	bat->offset = le64_of(0);
	expect_refused(decode_regions(), VHDX_REGION_PLACE, FIRST_ENTRY, 0);
	bat->offset = le64_of(MIB + 512);
	expect_refused(decode_regions(), VHDX_REGION_PLACE, FIRST_ENTRY, MIB + 512);
	bat->offset = le64_of(UINT64_MAX - MIB + 1);
	expect_refused(decode_regions(), VHDX_REGION_PLACE, FIRST_ENTRY, UINT64_MAX - MIB + 1);
	bat->offset = le64_of(FILE_BYTES);
	expect_refused(decode_regions(), VHDX_REGION_OUTSIDE, FIRST_ENTRY, FILE_BYTES);
	bat->offset = le64_of(8 * MIB);
	bat->nr_bytes = le32_of(9 << 20);
	expect_refused(decode_regions(), VHDX_REGION_OUTSIDE, FIRST_ENTRY, 8 * MIB);
	bat->nr_bytes = le32_of(0);
	expect_refused(decode_regions(), VHDX_REGION_PLACE, FIRST_ENTRY, 8 * MIB);
}

Test(vhdx_regions, that_overlap_are_refused)
{
	vhdx_region(&image, 0)->offset = le64_of(VHDX_TEST_METADATA);
	expect_refused(decode_regions(), VHDX_REGIONS_OVERLAP, VHDX_REGION_TABLE_OFFSET,
		       VHDX_TEST_METADATA);
	vhdx_region(&image, 0)->offset = le64_of(VHDX_TEST_LOG);
	expect_refused(decode_regions(), VHDX_REGIONS_OVERLAP, VHDX_REGION_TABLE_OFFSET,
		       VHDX_TEST_LOG);
}
