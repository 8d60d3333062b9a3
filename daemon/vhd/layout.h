/* SPDX-License-Identifier: MIT */
/*
 * A new dynamic VHD: where its parts go, and their bytes. Pure.
 *
 * Copy of the footer, header, BAT, blocks in the order they were first written,
 * footer. The bitmap of a block ends where a page of 4 KiB begins, so that its data
 * lies in whole pages, as it does on the disk.
 */
#ifndef VHD_LAYOUT_H
#define VHD_LAYOUT_H

#include <stdint.h>

#include "sealblk/limits.h"
#include "sealblk/vhd_format.h"

enum {
	VHD_LAYOUT_HEADER_AT = VHD_FOOTER_BYTES,
	VHD_LAYOUT_BAT_AT = VHD_FOOTER_BYTES + VHD_DYNAMIC_HEADER_BYTES,
	VHD_LAYOUT_BITMAP_BYTES = VHD_BLOCK_BYTES_DEFAULT / SECTOR_BYTES / 8,
	VHD_LAYOUT_PAGE_BYTES = 4096,
};
_Static_assert(VHD_LAYOUT_BITMAP_BYTES % SECTOR_BYTES == 0, "whole sectors");

/* Blocks of a disk of @disk_bytes, which is at most VHD_DYNAMIC_DISK_BYTES_MAX. */
uint32_t vhd_layout_blocks(uint64_t disk_bytes);

/* The BAT with its padding; that is all ones, too. */
uint64_t vhd_layout_bat_bytes(uint32_t nr_blocks);

/*
 * Where the bitmap of the @number-th block that is stored (0 for the first) begins, in
 * bytes; its data follows it. At most @nr_blocks.
 */
uint64_t vhd_layout_block_at(uint32_t nr_blocks, uint32_t number);

/*
 * Where the footer goes: directly behind the last of @nr_stored blocks, or the BAT.
 * QEMU puts the next block's bitmap there, over the footer, and takes what is behind
 * it for zeros.
 */
uint64_t vhd_layout_footer_at(uint32_t nr_blocks, uint32_t nr_stored);

/* Of a file whose footer vhd_footer_make_dynamic() has made. */
void vhd_layout_header(uint32_t nr_blocks, struct vhd_dynamic_header *ret_header);

#endif
