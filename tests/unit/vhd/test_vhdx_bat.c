/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sealblk/limits.h"
#include "vhd/vhdx_bat.h"

enum { BLOCKS = 10, BAT_AT = 3 << 20, FIRST_MIB = 4 };

static struct vhdx_metadata metadata;
static struct vhdx_regions regions;
static struct vhdx_layout layout;
static struct vhdx_overlay overlay;
static struct vhdx_problem problem;
static le64 entries[BLOCKS + 4096];
static struct vhdx_bat bat;

/* Ten blocks of 1 MiB less a little, all in the file, behind the regions. */
static void begin(void)
{
	metadata = (struct vhdx_metadata){
		.disk_bytes = BLOCKS * MIB - 1536,
		.block_bytes = MIB,
		.logical_bytes = 512,
	};
	regions = (struct vhdx_regions){
		.bat = { BAT_AT, MIB },
		.nr_places = 3,
		.places = { { MIB, MIB }, { 2 * MIB, MIB }, { BAT_AT, MIB } },
	};
	overlay = (struct vhdx_overlay){ 0 };
	cr_assert_eq(vhdx_layout_of(&metadata, &regions.bat, &layout, &problem), 0);
	for (unsigned int i = 0; i < BLOCKS; i++)
		entries[i] = le64_of((FIRST_MIB + i) * MIB | VHDX_BLOCK_FULLY_PRESENT);
	bat = (struct vhdx_bat){
		.entries = entries,
		.layout = &layout,
		.metadata = &metadata,
		.regions = &regions,
		.overlay = &overlay,
		.file_bytes = (FIRST_MIB + BLOCKS) * MIB,
	};
}

TestSuite(vhdx_bat, .init = begin);

static void add_parent(void)
{
	metadata.has_parent = true;
	cr_assert_eq(vhdx_layout_of(&metadata, &regions.bat, &layout, &problem), 0);
}

static int check(void)
{
	problem.reason = VHDX_FINE;
	return vhdx_bat_check(&bat, &problem);
}

static void expect_refused(enum vhdx_reason reason, unsigned int entry, uint64_t value)
{
	cr_expect_eq(check(), -EINVAL);
	cr_expect_eq(problem.reason, reason, "reason %d, not %d", (int)problem.reason, (int)reason);
	cr_expect_eq(problem.at_bytes, BAT_AT + entry * sizeof(le64), "at %lu",
		     (unsigned long)problem.at_bytes);
	cr_expect_eq(problem.value, value, "value %lu", (unsigned long)problem.value);
}

static void set(unsigned int entry, unsigned int state, uint64_t offset)
{
	entries[entry] = le64_of(offset | state);
}

/* ---- the layout ---- */

static int layout_of(uint64_t disk_bytes, uint32_t block_bytes, uint32_t logical_bytes,
		     bool has_parent, uint64_t bat_bytes)
{
	const struct vhdx_metadata of = {
		.disk_bytes = disk_bytes,
		.block_bytes = block_bytes,
		.logical_bytes = logical_bytes,
		.has_parent = has_parent,
	};
	const struct vhdx_place region = { BAT_AT, bat_bytes };

	return vhdx_layout_of(&of, &region, &layout, &problem);
}

Test(vhdx_bat, has_an_entry_for_a_bitmap_behind_each_chunk)
{
	cr_assert_eq(layout_of(9 * GIB, 32 << 20, 512, false, MIB), 0);
	cr_expect_eq(layout.chunk_ratio, 128);
	cr_expect_eq(layout.nr_blocks, 288);
	cr_expect_eq(layout.nr_entries, 290);
	cr_expect_eq(vhdx_block_entry(&layout, 127), 127);
	cr_expect_eq(vhdx_block_entry(&layout, 128), 129);
	cr_expect_eq(vhdx_bitmap_entry(&layout, 0), 128);
	cr_expect_eq(vhdx_bitmap_entry(&layout, 127), 128);
	cr_expect_eq(vhdx_bitmap_entry(&layout, 128), 257);
	cr_assert_eq(layout_of(9 * GIB, 32 << 20, 512, true, MIB), 0);
	cr_expect_eq(layout.nr_entries, 3 * 129);
	cr_assert_eq(layout_of(9 * GIB, 32 << 20, 4096, false, MIB), 0);
	cr_expect_eq(layout.chunk_ratio, 1024);
	cr_assert_eq(layout_of(1, 256 << 20, 512, false, MIB), 0);
	cr_expect_eq(layout.chunk_ratio, 16);
	cr_expect_eq(layout.nr_entries, 1);
}

Test(vhdx_bat, that_is_too_short_or_too_long_is_refused)
{
	cr_expect_eq(layout_of(GIB, MIB, 512, false, 1024 * 8), 0);
	cr_expect_eq(layout_of(GIB, MIB, 512, false, 1023 * 8), -EINVAL);
	cr_expect_eq(problem.reason, VHDX_BAT_TOO_SHORT);
	cr_expect_eq(problem.value, 1024);
	cr_expect_eq(layout_of(64 * TIB, 16 << 20, 512, true, 64 * MIB), 0);
	cr_expect_eq(layout_of(64 * TIB, 8 << 20, 512, false, GIB), -EINVAL);
	cr_expect_eq(problem.reason, VHDX_TOO_MANY_BLOCKS);
}

/* ---- blocks ---- */

Test(vhdx_bat, with_all_blocks_in_the_file_is_sound)
{
	cr_expect_eq(check(), 0);
}

Test(vhdx_bat, blocks_without_a_place_may_say_any)
{
	for (unsigned int state = VHDX_BLOCK_NOT_PRESENT; state <= VHDX_BLOCK_UNMAPPED; state++) {
		set(3, state, 0);
		set(4, state, 4 * MIB);
		set(5, state, TIB);
		cr_expect_eq(check(), 0, "state %u", state);
	}
}

Test(vhdx_bat, unknown_states_and_reserved_bits_are_refused)
{
	set(3, 4, 0);
	expect_refused(VHDX_BAD_STATE, 3, 4);
	set(3, 5, 0);
	expect_refused(VHDX_BAD_STATE, 3, 5);
	for (unsigned int bit = 3; bit < 20; bit++) {
		entries[3] = le64_of(7 * MIB | 1u << bit | VHDX_BLOCK_FULLY_PRESENT);
		expect_refused(VHDX_BAD_ENTRY, 3, le64_get(entries[3]));
	}
}

Test(vhdx_bat, blocks_outside_the_file_are_refused)
{
	static const uint64_t places[] = { 0, 14 * MIB, TIB, UINT64_MAX - MIB + 1 };

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		set(2, VHDX_BLOCK_FULLY_PRESENT, places[i]);
		expect_refused(VHDX_BLOCK_OUTSIDE, 2, places[i]);
	}
}

Test(vhdx_bat, last_block_may_end_where_the_disk_does)
{
	bat.file_bytes -= 1536;
	cr_expect_eq(check(), 0);
	bat.file_bytes--;
	expect_refused(VHDX_BLOCK_OUTSIDE, 9, 13 * MIB);
}

Test(vhdx_bat, blocks_that_overlap_are_refused)
{
	set(2, VHDX_BLOCK_FULLY_PRESENT, 9 * MIB);
	cr_expect_eq(check(), -EINVAL);
	cr_expect_eq(problem.reason, VHDX_BLOCKS_OVERLAP);
	cr_expect_eq(problem.value, 9 * MIB);
}

Test(vhdx_bat, blocks_on_a_region_are_refused)
{
	for (uint64_t mib = 1; mib < FIRST_MIB; mib++) {
		set(2, VHDX_BLOCK_FULLY_PRESENT, mib * MIB);
		expect_refused(VHDX_BLOCK_ON_REGION, 2, mib * MIB);
	}
	/* It begins before the region, and reaches into it. */
	begin();
	metadata.block_bytes = 2 * MIB;
	metadata.disk_bytes = 2 * MIB;
	regions.places[0].offset_bytes = 6 * MIB;
	cr_assert_eq(vhdx_layout_of(&metadata, &regions.bat, &layout, &problem), 0);
	set(0, VHDX_BLOCK_FULLY_PRESENT, 5 * MIB);
	expect_refused(VHDX_BLOCK_ON_REGION, 0, 5 * MIB);
	set(0, VHDX_BLOCK_FULLY_PRESENT, 4 * MIB);
	cr_expect_eq(check(), 0);
}

Test(vhdx_bat, blocks_in_part_need_a_parent_and_a_bitmap)
{
	const unsigned int bitmap = vhdx_bitmap_entry(&layout, 3);

	set(3, VHDX_BLOCK_PARTIALLY_PRESENT, 7 * MIB);
	expect_refused(VHDX_PARTIAL_WITHOUT_PARENT, 3, 3);
	add_parent();
	expect_refused(VHDX_NO_BITMAP, bitmap, 3);
	set(bitmap, VHDX_BLOCK_FULLY_PRESENT, 14 * MIB);
	expect_refused(VHDX_BLOCK_OUTSIDE, bitmap, 14 * MIB);
	bat.file_bytes += MIB;
	cr_expect_eq(check(), 0);
	set(bitmap, VHDX_BLOCK_FULLY_PRESENT, 13 * MIB);
	cr_expect_eq(check(), -EINVAL);
	cr_expect_eq(problem.reason, VHDX_BLOCKS_OVERLAP);
}

Test(vhdx_bat, bitmaps_without_a_parent_say_nothing)
{
	set(vhdx_bitmap_entry(&layout, 0), VHDX_BLOCK_FULLY_PRESENT, TIB);
	cr_expect_eq(check(), 0);
}

/* ---- the log ---- */

static void expect_overlay(uint64_t offset, uint64_t nr_bytes, bool is_fine)
{
	struct vhdx_update update = { offset, nr_bytes, NULL };

	overlay = (struct vhdx_overlay){ .updates = &update, .nr_updates = 1 };
	cr_expect_eq(check(), is_fine ? 0 : -EINVAL, "at %lu", (unsigned long)offset);
	cr_expect_eq(problem.reason, is_fine ? VHDX_FINE : VHDX_LOG_ON_PAYLOAD);
	if (!is_fine)
		cr_expect_eq(problem.at_bytes, offset);
}

Test(vhdx_bat, log_may_change_anything_but_payload)
{
	set(5, VHDX_BLOCK_ZERO, 0);
	expect_overlay(BAT_AT, MIB, true);
	expect_overlay(BAT_AT, MIB + 4096, false);
	expect_overlay(9 * MIB, MIB, true);
	expect_overlay(9 * MIB - 4096, 4096, false);
	expect_overlay(9 * MIB - 4096, MIB, false);
	expect_overlay(10 * MIB, 4096, false);
	expect_overlay(MIB, 64 * MIB, false);
	expect_overlay(14 * MIB, 64 * MIB, true);
}

Test(vhdx_bat, log_may_change_a_bitmap)
{
	add_parent();
	set(vhdx_bitmap_entry(&layout, 0), VHDX_BLOCK_FULLY_PRESENT, 14 * MIB);
	bat.file_bytes += MIB;
	expect_overlay(14 * MIB, MIB, true);
}

/* ---- bitmaps ---- */

Test(vhdx_bat, bitmaps_are_turned_to_the_order_of_a_vhd)
{
	static const uint8_t bytes[] = { 0x01, 0x80, 0xf0, 0x05 };
	static const uint8_t of_512[] = { 0x80, 0x01, 0x0f, 0xa0 };
	static const uint8_t of_4096[] = { 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff };
	uint8_t bitmap[16];

	memcpy(bitmap, bytes, sizeof(bytes));
	vhdx_bitmap_convert(bitmap, 512, 4);
	cr_expect_arr_eq(bitmap, of_512, 4);
	memcpy(bitmap, bytes, sizeof(bytes));
	vhdx_bitmap_convert(bitmap, 4096, 16);
	cr_expect_arr_eq(bitmap, of_4096, 16);
	cr_expect_eq(vhdx_bitmap_bytes(512, 256), 256);
	cr_expect_eq(vhdx_bitmap_bytes(4096, 256), 32);
}
