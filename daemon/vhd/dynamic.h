/* SPDX-License-Identifier: MIT */
/*
 * Dynamic and differencing VHDs: their header, BAT and sector bitmaps, judged
 * and read. Pure: bytes in, numbers out.
 */
#ifndef VHD_DYNAMIC_H
#define VHD_DYNAMIC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "sealblk/vhd_format.h"
#include "vhd/footer.h"
#include "vhd/reason.h"

/* What a dynamic header says, checked. */
struct vhd_dynamic {
	uint64_t header_offset_bytes;
	uint64_t bat_offset_bytes;
	uint32_t max_entries; /* of the BAT; unused ones at its end are not ours to judge */
	uint32_t nr_blocks;   /* of the disk, <= @max_entries and VHD_BAT_ENTRIES_MAX */
	uint32_t block_sectors;
	uint32_t bitmap_sectors;    /* before the data of a block */
	uint32_t parent_modified_s; /* since VHD_EPOCH_S */
	uint8_t parent_uuid[VHD_UUID_BYTES];
	struct vhd_locator locators[VHD_LOCATORS];
};

/* A dynamic or differencing VHD's file, as far as judging it needs. */
struct vhd_extent {
	uint64_t file_bytes;
	uint64_t data_end_bytes; /* where its footer begins; @file_bytes if that is lost */
};

/*
 * Where the dynamic header is, by a footer that vhd_footer_parse() has read.
 * Returns 0; -EINVAL with *ret_problem: outside the file or on the footer.
 */
int MUST_CHECK vhd_dynamic_offset(const struct vhd_info *info, const struct vhd_extent *extent,
				  uint64_t *ret_offset_bytes, struct vhd_problem *ret_problem);

/*
 * Read the dynamic header.
 * @info: its footer. @disk_bytes: as much as will be read of the disk: the
 * footer's for a VHD of its own, the child's for a parent.
 *
 * Any block size that the specification can mean is taken: a power of two of
 * sectors, 512 bytes to 2 GiB. More entries than blocks are accepted, as some
 * writers round up. Returns 0; -EINVAL with *ret_problem.
 */
int MUST_CHECK vhd_dynamic_decode(const uint8_t bytes[VHD_DYNAMIC_HEADER_BYTES],
				  const struct vhd_info *info, uint64_t disk_bytes,
				  const struct vhd_extent *extent, struct vhd_dynamic *ret_dynamic,
				  struct vhd_problem *ret_problem);

/*
 * Do the blocks lie where blocks may: apart from each other, from the headers,
 * the BAT and the footer, inside the file?
 * @bat: @dynamic->nr_blocks entries. @scratch: as many words, for sorting.
 * Returns 0; -EINVAL with *ret_problem.
 */
int MUST_CHECK vhd_bat_check(const be32 *bat, const struct vhd_dynamic *dynamic,
			     const struct vhd_extent *extent, uint64_t *scratch,
			     struct vhd_problem *ret_problem);

/* Bytes of a block's bitmap that have a meaning. */
static inline uint32_t vhd_bitmap_bytes(const struct vhd_dynamic *dynamic)
{
	return (dynamic->block_sectors + 7) / 8;
}

/*
 * How many sectors of a block from @first on, before @end (> @first), have the
 * same bit as @first; *ret_set is that bit. Bit 7 of byte 0 is sector 0.
 */
uint32_t vhd_bitmap_run(const uint8_t *bitmap, uint32_t first, uint32_t end, bool *ret_set);

/* As stored in .checksum. */
uint32_t vhd_dynamic_checksum(const struct vhd_dynamic_header *header);

#endif
