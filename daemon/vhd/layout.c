/* SPDX-License-Identifier: MIT */
/* A new dynamic VHD: see layout.h. */
#include "vhd/layout.h"

#include <string.h>

#include "vhd/dynamic.h"

enum { STRIDE_BYTES = VHD_BLOCK_BYTES_DEFAULT + VHD_LAYOUT_PAGE_BYTES };

/* A BAT entry is a sector's number in 32 bits: the last block of the largest disk has one. */
_Static_assert((VHD_DYNAMIC_DISK_BYTES_MAX / VHD_BLOCK_BYTES_DEFAULT * STRIDE_BYTES + 16 * MIB) >>
		       SECTOR_SHIFT < VHD_BLOCK_UNUSED,
	       "the largest disk fits");

uint32_t vhd_layout_blocks(uint64_t disk_bytes)
{
	return (uint32_t)(round_up(disk_bytes, VHD_BLOCK_BYTES_DEFAULT) / VHD_BLOCK_BYTES_DEFAULT);
}

uint64_t vhd_layout_bat_bytes(uint32_t nr_blocks)
{
	return round_up((uint64_t)nr_blocks * sizeof(be32), SECTOR_BYTES);
}

uint64_t vhd_layout_block_at(uint32_t nr_blocks, uint32_t number)
{
	uint64_t first_data = round_up(VHD_LAYOUT_BAT_AT + vhd_layout_bat_bytes(nr_blocks) +
					       VHD_LAYOUT_BITMAP_BYTES,
				       VHD_LAYOUT_PAGE_BYTES);

	return first_data + (uint64_t)number * STRIDE_BYTES - VHD_LAYOUT_BITMAP_BYTES;
}

uint64_t vhd_layout_footer_at(uint32_t nr_blocks, uint32_t nr_stored)
{
	if (nr_stored == 0)
		return VHD_LAYOUT_BAT_AT + vhd_layout_bat_bytes(nr_blocks);
	return vhd_layout_block_at(nr_blocks, nr_stored - 1) + VHD_LAYOUT_BITMAP_BYTES +
	       VHD_BLOCK_BYTES_DEFAULT;
}

void vhd_layout_header(uint32_t nr_blocks, struct vhd_dynamic_header *ret_header)
{
	struct vhd_dynamic_header header = {
		.data_offset = be64_of(UINT64_MAX),
		.bat_offset = be64_of(VHD_LAYOUT_BAT_AT),
		.version = be32_of(VHD_VERSION),
		.max_entries = be32_of(nr_blocks),
		.block_bytes = be32_of(VHD_BLOCK_BYTES_DEFAULT),
	};

	memcpy(header.cookie, VHD_DYNAMIC_COOKIE, sizeof(header.cookie));
	header.checksum = be32_of(vhd_dynamic_checksum(&header));
	*ret_header = header;
}
