/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "sealblk/units.h"
#include "vectors/vhd_dynamic_header.h"
#include "vhd/dynamic.h"
#include "vhd/layout.h"

static const uint64_t disks[] = {
	512, 2 * MIB, 2 * MIB + 512, 20 * MIB, 127 * GIB, 1 * TIB, VHD_DYNAMIC_DISK_BYTES_MAX
};

static struct vhd_footer footer_of(uint64_t disk_bytes)
{
	struct vhd_fixed fixed = { .disk_bytes = disk_bytes,
				   .creator_app = { 'w', 'i', 'n', ' ' } };
	struct vhd_footer footer;

	vhd_footer_build(&fixed, &footer);
	vhd_footer_make_dynamic(&footer);
	return footer;
}

/* Decode what was built, with every block stored, as reading a file would. */
static void read_back(uint64_t disk_bytes)
{
	uint32_t nr_blocks = vhd_layout_blocks(disk_bytes);
	uint64_t end = vhd_layout_footer_at(nr_blocks, nr_blocks);
	struct vhd_extent extent = { end + VHD_FOOTER_BYTES, end };
	struct vhd_footer footer = footer_of(disk_bytes);
	struct vhd_dynamic_header header;
	struct vhd_problem problem = { 0 };
	struct vhd_dynamic dynamic;
	struct vhd_info info;
	be32 *bat = calloc(nr_blocks, sizeof(*bat));
	uint64_t *scratch = calloc(nr_blocks, sizeof(*scratch));
	uint64_t offset;

	cr_assert(bat && scratch);
	vhd_layout_header(nr_blocks, &header);
	for (uint32_t i = 0; i < nr_blocks; i++)
		bat[i] = be32_of((uint32_t)bytes_to_sectors(vhd_layout_block_at(nr_blocks, i)));
	cr_assert_eq(vhd_footer_parse((const uint8_t *)&footer, &info, &problem), 0);
	cr_expect_eq(info.disk_type, VHD_DYNAMIC);
	cr_expect_eq(info.disk_bytes, disk_bytes);
	cr_assert_eq(vhd_dynamic_offset(&info, &extent, &offset, &problem), 0);
	cr_expect_eq(offset, VHD_LAYOUT_HEADER_AT);
	cr_assert_eq(vhd_dynamic_decode((const uint8_t *)&header, &info, disk_bytes, &extent,
					&dynamic, &problem),
		     0, "disk of %lu bytes: reason %d", (unsigned long)disk_bytes, problem.reason);
	cr_expect_eq(dynamic.nr_blocks, nr_blocks);
	cr_expect_eq(sectors_to_bytes(dynamic.bitmap_sectors), VHD_LAYOUT_BITMAP_BYTES);
	cr_expect_eq(vhd_bat_check(bat, &dynamic, &extent, scratch, &problem), 0,
		     "disk of %lu bytes: reason %d", (unsigned long)disk_bytes, problem.reason);
	free(scratch);
	free(bat);
}

Test(vhd_layout, is_read_as_it_is_built)
{
	for (size_t i = 0; i < sizeof(disks) / sizeof(disks[0]); i++)
		read_back(disks[i]);
}

Test(vhd_layout, puts_the_footer_where_a_writer_puts_the_next_bitmap)
{
	uint64_t first = vhd_layout_block_at(5, 0);

	cr_expect_eq(vhd_layout_footer_at(5, 0), VHD_LAYOUT_BAT_AT + SECTOR_BYTES);
	cr_expect_eq(vhd_layout_footer_at(5, 1), first + SECTOR_BYTES + 2 * MIB);
	cr_expect_leq(vhd_layout_footer_at(5, 1), vhd_layout_block_at(5, 1));
}

Test(vhd_layout, puts_data_into_whole_pages)
{
	for (uint32_t nr_blocks = 1; nr_blocks < 5000; nr_blocks += 7)
		for (uint32_t number = 0; number < 3; number++)
			cr_expect_eq(
				(vhd_layout_block_at(nr_blocks, number) + VHD_LAYOUT_BITMAP_BYTES) %
					4096,
				0);
}

Test(vhd_layout, has_the_header_that_qemu_writes)
{
	struct vhd_dynamic_header header;

	vhd_layout_header(5, &header);
	cr_expect_arr_eq(&header, vhd_dynamic_header_qemu, sizeof(header));
}
