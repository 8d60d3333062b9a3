/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "image/vhd_problem.h"
#include "sealblk/limits.h"
#include "vhd/dynamic.h"

enum {
	BLOCK = 2 << 20,
	BLOCKS = 16,
	HEADER_AT = 512,
	BAT_AT = 1536,
	DATA_AT = BAT_AT + 512,
	STRIDE = BLOCK + 512, /* with the bitmap */
};
#define DISK_BYTES ((uint64_t)BLOCK * BLOCKS - 512) /* the last block is cut by the disk's end */

static struct vhd_dynamic_header header;
static struct vhd_info info;
static struct vhd_extent extent;
static struct vhd_problem problem;
static struct vhd_dynamic dynamic;
static be32 bat[BLOCKS];
static uint64_t scratch[BLOCKS];

/* A sound one, every block allocated, in order. */
static void begin(void)
{
	header = (struct vhd_dynamic_header){
		.data_offset = be64_of(UINT64_MAX),
		.bat_offset = be64_of(BAT_AT),
		.version = be32_of(VHD_VERSION),
		.max_entries = be32_of(BLOCKS),
		.block_bytes = be32_of(BLOCK),
		.parent_modified_s = be32_of(77),
		.parent_uuid = { 1, 2, 3 },
	};
	memcpy(header.cookie, VHD_DYNAMIC_COOKIE, sizeof(header.cookie));
	info = (struct vhd_info){
		.disk_type = VHD_DYNAMIC,
		.disk_bytes = DISK_BYTES,
		.current_bytes = DISK_BYTES,
		.data_offset = HEADER_AT,
	};
	extent.data_end_bytes = DATA_AT + (uint64_t)BLOCKS * STRIDE;
	extent.file_bytes = extent.data_end_bytes + VHD_FOOTER_BYTES;
	for (uint32_t i = 0; i < BLOCKS; i++)
		bat[i] = be32_of((DATA_AT + i * STRIDE) / 512);
	memset(&dynamic, 0x5a, sizeof(dynamic));
	problem.reason = VHD_FINE;
}

static int decode(void)
{
	header.checksum = be32_of(vhd_dynamic_checksum(&header));
	return vhd_dynamic_decode((const uint8_t *)&header, &info, info.disk_bytes, &extent,
				  &dynamic, &problem);
}

static void expect_refused(enum vhd_reason reason)
{
	char text[VHD_PROBLEM_TEXT_BYTES];
	struct vhd_dynamic untouched;

	memset(&untouched, 0x5a, sizeof(untouched));
	cr_expect_eq(decode(), -EINVAL);
	vhd_problem_text(&problem, text);
	cr_expect_eq(problem.reason, reason, "%s", text);
	cr_expect_arr_eq(&dynamic, &untouched, sizeof(dynamic));
	begin();
}

TestSuite(vhd_dynamic, .init = begin);

Test(vhd_dynamic, header_is_read)
{
	static const uint8_t parent[VHD_UUID_BYTES] = { 1, 2, 3 };

	cr_assert_eq(decode(), 0);
	cr_expect_eq(dynamic.header_offset_bytes, HEADER_AT);
	cr_expect_eq(dynamic.bat_offset_bytes, BAT_AT);
	cr_expect_eq(dynamic.max_entries, BLOCKS);
	cr_expect_eq(dynamic.nr_blocks, BLOCKS);
	cr_expect_eq(dynamic.block_sectors, BLOCK / 512);
	cr_expect_eq(dynamic.bitmap_sectors, 1);
	cr_expect_eq(dynamic.parent_modified_s, 77);
	cr_expect_arr_eq(dynamic.parent_uuid, parent, sizeof(parent));
}

Test(vhd_dynamic, header_with_any_byte_changed_is_refused)
{
	header.checksum = be32_of(vhd_dynamic_checksum(&header));
	for (size_t i = 0; i < sizeof(header); i++) {
		struct vhd_dynamic_header changed = header;

		((uint8_t *)&changed)[i] ^= 0x10;
		cr_expect_eq(vhd_dynamic_decode((const uint8_t *)&changed, &info, DISK_BYTES,
						&extent, &dynamic, &problem),
			     -EINVAL, "byte %zu", i);
		cr_expect_eq(problem.reason,
			     i < 8 ? VHD_HEADER_NO_COOKIE : VHD_HEADER_BAD_CHECKSUM);
	}
}

Test(vhd_dynamic, header_of_another_version_is_refused)
{
	header.version = be32_of(0x00020000);
	expect_refused(VHD_HEADER_BAD_VERSION);
}

Test(vhd_dynamic, header_must_lie_between_footer_copy_and_footer)
{
	static const struct {
		uint64_t offset;
		bool fine;
	} rows[] = {
		{ 512, true },	  { 0, false },		 { 511, false },
		{ 4096, true },	  { 10240, true },	 { 10241, false },
		{ 11264, false }, { UINT64_MAX, false }, { UINT64_MAX - 1023, false },
	};

	extent = (struct vhd_extent){ .file_bytes = 11264 + 512, .data_end_bytes = 11264 };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint64_t offset = 0;

		info.data_offset = rows[i].offset;
		cr_expect_eq(vhd_dynamic_offset(&info, &extent, &offset, &problem),
			     rows[i].fine ? 0 : -EINVAL, "row %zu", i);
		cr_expect_eq(offset, rows[i].fine ? rows[i].offset : 0);
	}
	cr_expect_eq(problem.reason, VHD_HEADER_OUTSIDE);
}

/* The specification: any power of two of sectors. */
Test(vhd_dynamic, block_size_is_a_power_of_two_of_sectors)
{
	static const uint32_t bad[] = { 0, 1, 256, 511, 513, 1536, 3 << 20, BLOCK + 1, UINT32_MAX };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		header.block_bytes = be32_of(bad[i]);
		expect_refused(VHD_BLOCK_SIZE_BAD);
	}
	for (unsigned int shift = 9; shift < 32; shift++) {
		uint32_t bytes = 1u << shift;

		info.disk_bytes = info.current_bytes = 10 * (uint64_t)bytes;
		header.block_bytes = be32_of(bytes);
		cr_assert_eq(decode(), 0, "block size %u", bytes);
		cr_expect_eq(dynamic.nr_blocks, 10);
		cr_expect_eq(dynamic.block_sectors, bytes / 512);
		cr_expect_eq(dynamic.bitmap_sectors, bytes <= BLOCK ? 1 : bytes / BLOCK);
	}
}

Test(vhd_dynamic, bat_must_have_an_entry_for_each_block)
{
	header.max_entries = be32_of(BLOCKS - 1);
	expect_refused(VHD_BAT_TOO_SHORT);
	header.max_entries = be32_of(0);
	expect_refused(VHD_BAT_TOO_SHORT);
	header.max_entries = be32_of(BLOCKS + 3); /* of more no harm comes */
	cr_expect_eq(decode(), 0);
	cr_expect_eq(dynamic.nr_blocks, BLOCKS);
}

Test(vhd_dynamic, bat_is_bounded_whatever_the_file_says)
{
	info.disk_bytes = info.current_bytes = VHD_DYNAMIC_DISK_BYTES_MAX;
	header.block_bytes = be32_of(256 << 10);
	header.max_entries = be32_of(UINT32_MAX);
	extent.file_bytes = extent.data_end_bytes = TIB;
	expect_refused(VHD_BAT_TOO_LONG);

	info.disk_bytes = info.current_bytes = VHD_DYNAMIC_DISK_BYTES_MAX;
	header.block_bytes = be32_of(512 << 10);
	header.max_entries = be32_of(VHD_BAT_ENTRIES_MAX);
	extent.file_bytes = extent.data_end_bytes = TIB;
	cr_expect_eq(decode(), 0, "the largest disk in the smallest blocks that Microsoft tested");
}

Test(vhd_dynamic, disk_above_2040_gib_is_refused)
{
	info.disk_bytes = info.current_bytes = VHD_DYNAMIC_DISK_BYTES_MAX + 512;
	expect_refused(VHD_SIZE_TOO_LARGE);
}

Test(vhd_dynamic, geometry_larger_than_the_disk_is_refused)
{
	info.sized_by_geometry = true;
	info.current_bytes = info.disk_bytes - 512;
	expect_refused(VHD_GEOMETRY_BEYOND_SIZE);
}

Test(vhd_dynamic, bat_must_lie_in_the_file)
{
	static const uint64_t outside[] = { UINT64_MAX, UINT64_MAX - 511, (uint64_t)1 << 63 };

	for (size_t i = 0; i < ARRAY_LEN(outside); i++) {
		header.bat_offset = be64_of(outside[i]);
		expect_refused(VHD_BAT_OUTSIDE);
	}
	header.bat_offset = be64_of(extent.data_end_bytes - 511);
	expect_refused(VHD_BAT_OUTSIDE);
	header.bat_offset = be64_of(extent.data_end_bytes - 512);
	cr_expect_eq(decode(), 0);
	begin();
	header.max_entries = be32_of(UINT32_MAX);
	expect_refused(VHD_BAT_OUTSIDE);
}

Test(vhd_dynamic, bat_may_not_overlap_the_headers)
{
	static const uint64_t bad[] = { 0, 511, 512, 1024, 1535 };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		header.bat_offset = be64_of(bad[i]);
		expect_refused(VHD_BAT_ON_HEADER);
	}
	info.data_offset = 2048;
	header.bat_offset = be64_of(1537);
	expect_refused(VHD_BAT_ON_HEADER);
	info.data_offset = 2048;
	header.bat_offset = be64_of(1536); /* before the header */
	cr_expect_eq(decode(), 0);
}

/* ---- the BAT ---- */

static int check(void)
{
	cr_assert_eq(decode(), 0);
	return vhd_bat_check(bat, &dynamic, &extent, scratch, &problem);
}

static void expect_lie(uint32_t block, uint64_t sector, enum vhd_reason reason)
{
	char text[VHD_PROBLEM_TEXT_BYTES];

	bat[block] = be32_of((uint32_t)sector);
	cr_expect_eq(check(), -EINVAL);
	vhd_problem_text(&problem, text);
	cr_expect_eq(problem.reason, reason, "%s", text);
	begin();
}

Test(vhd_dynamic, bat_of_a_full_disk_in_any_order_is_sound)
{
	cr_expect_eq(check(), 0);
	for (uint32_t i = 0; i < BLOCKS; i++)
		bat[i] = be32_of((DATA_AT + (BLOCKS - 1 - i) * STRIDE) / 512);
	cr_expect_eq(check(), 0);
	memset(bat, 0xff, sizeof(bat));
	cr_expect_eq(check(), 0, "nothing allocated");
	bat[BLOCKS - 1] = be32_of(DATA_AT / 512);
	cr_expect_eq(check(), 0, "only the last block");
}

Test(vhd_dynamic, block_on_the_headers_is_refused)
{
	for (uint64_t sector = 0; sector < 3; sector++)
		expect_lie(5, sector, VHD_BLOCK_ON_HEADER);
}

Test(vhd_dynamic, block_on_the_bat_is_refused)
{
	expect_lie(5, BAT_AT / 512, VHD_BLOCK_ON_BAT);
}

Test(vhd_dynamic, block_on_the_footer_is_refused)
{
	expect_lie(BLOCKS - 1, (extent.data_end_bytes - STRIDE) / 512 + 1, VHD_BLOCK_ON_FOOTER);
}

Test(vhd_dynamic, block_past_the_end_of_the_file_is_refused)
{
	expect_lie(0, (extent.data_end_bytes - STRIDE) / 512 + 2, VHD_BLOCK_BEYOND_FILE);
	expect_lie(0, extent.file_bytes / 512, VHD_BLOCK_BEYOND_FILE);
	expect_lie(0, UINT32_MAX - 1, VHD_BLOCK_BEYOND_FILE);
	extent.file_bytes -= 512 + 512;
	extent.data_end_bytes = extent.file_bytes;
	cr_expect_eq(check(), -EINVAL, "the file was cut");
	cr_expect_eq(problem.reason, VHD_BLOCK_BEYOND_FILE);
	cr_expect_eq(problem.stored, BLOCKS - 1);
}

Test(vhd_dynamic, blocks_that_overlap_are_refused_by_number)
{
	static const int32_t shifts[] = { -4096, -1, 0, 1, 4096 };

	for (size_t i = 0; i < ARRAY_LEN(shifts); i++) {
		bat[2] = be32_of((uint32_t)((int32_t)be32_get(bat[7]) + shifts[i]));
		cr_expect_eq(check(), -EINVAL, "shift %d", shifts[i]);
		cr_expect_eq(problem.reason, VHD_BLOCKS_OVERLAP);
		cr_expect(problem.stored == 2 || problem.computed == 2);
		begin();
	}
}

/* ---- bitmaps ---- */

Test(vhd_dynamic, bitmap_has_the_most_significant_bit_first)
{
	static const uint8_t bitmap[] = { 0x80, 0x01 };
	bool set;

	cr_expect_eq(vhd_bitmap_run(bitmap, 0, 16, &set), 1);
	cr_expect(set);
	cr_expect_eq(vhd_bitmap_run(bitmap, 1, 16, &set), 14);
	cr_expect_not(set);
	cr_expect_eq(vhd_bitmap_run(bitmap, 15, 16, &set), 1);
	cr_expect(set);
}

Test(vhd_dynamic, bitmap_runs_are_as_counted_bit_by_bit)
{
	uint8_t bitmap[512];
	uint32_t state = 12345;

	for (size_t i = 0; i < sizeof(bitmap); i++) {
		state = state * 1664525 + 1013904223;
		bitmap[i] = state >> 30 == 0 ? 0 : state >> 30 == 1 ? 0xff : (uint8_t)(state >> 16);
	}
	for (uint32_t first = 0; first < 4096; first++) {
		uint32_t end = first + 1 + first % 97 * 3, counted = 0;
		bool bit = bitmap[first / 8] & 0x80 >> first % 8;
		bool set = !bit;

		end = end > 4096 ? 4096 : end;
		while (first + counted < end &&
		       !(bitmap[(first + counted) / 8] & 0x80 >> (first + counted) % 8) == !bit)
			counted++;
		cr_assert_eq(vhd_bitmap_run(bitmap, first, end, &set), counted, "at %u", first);
		cr_assert_eq(set, bit);
	}
}
