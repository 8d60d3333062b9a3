/* SPDX-License-Identifier: MIT */
/* The block allocation table of a VHDX, judged, and its sector bitmaps. Pure. */
#ifndef VHD_VHDX_BAT_H
#define VHD_VHDX_BAT_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "sealblk/units.h"
#include "sealblk/vhdx_format.h"
#include "vhd/vhdx_header.h"
#include "vhd/vhdx_metadata.h"
#include "vhd/vhdx_overlay.h"
#include "vhd/vhdx_reason.h"

/* How the BAT describes the disk. */
struct vhdx_layout {
	uint32_t nr_blocks;   /* of payload, VHDX_BLOCKS_MAX at most */
	uint32_t chunk_ratio; /* blocks of a chunk, a power of two; then comes a bitmap's entry */
	uint32_t nr_entries;  /* that are needed */
};

/*
 * @bat: the region. Returns 0; -EINVAL with *ret_problem: more blocks than
 * VHDX_BLOCKS_MAX, or the BAT is too short for them.
 */
int MUST_CHECK vhdx_layout_of(const struct vhdx_metadata *metadata, const struct vhdx_place *bat,
			      struct vhdx_layout *ret_layout, struct vhdx_problem *ret_problem);

/* The entry of payload block @block. */
static inline uint32_t vhdx_block_entry(const struct vhdx_layout *layout, uint32_t block)
{
	return block + block / layout->chunk_ratio;
}

/* The entry of the sector bitmap that payload block @block is described in. */
static inline uint32_t vhdx_bitmap_entry(const struct vhdx_layout *layout, uint32_t block)
{
	return (block / layout->chunk_ratio + 1) * (layout->chunk_ratio + 1) - 1;
}

static inline enum vhdx_block_state vhdx_entry_state(le64 entry)
{
	return (enum vhdx_block_state)(le64_get(entry) & VHDX_BAT_STATE_MASK);
}

/* Where in the file the block is, if it has a place. */
static inline uint64_t vhdx_entry_offset(le64 entry)
{
	return le64_get(entry) >> VHDX_BAT_MIB_SHIFT << VHDX_BAT_MIB_SHIFT;
}

/* A VHDX as far as its BAT is judged by it. */
struct vhdx_bat {
	const le64 *entries; /* layout->nr_entries */
	const struct vhdx_layout *layout;
	const struct vhdx_metadata *metadata;
	const struct vhdx_regions *regions;
	const struct vhdx_overlay *overlay;
	uint64_t file_bytes; /* with what the log appends */
};

/*
 * Is each block in a state that is known, and where blocks may lie: in the file,
 * apart from each other, the regions and the log, and untouched by the log's
 * replay, as payload is read from the file? Of the last block only what is the
 * disk's counts: some writers cut the file behind it.
 * Returns 0; -EINVAL with *ret_problem; -ENOMEM. Allocates, for as long as it
 * runs, 12 bytes per block that is in the file.
 */
int MUST_CHECK vhdx_bat_check(const struct vhdx_bat *bat, struct vhdx_problem *ret_problem);

/*
 * Turn a sector bitmap into what vhd_bitmap_run() reads, in place: a bit per 512
 * bytes, the most significant one first.
 * @bitmap: room for @nr_bytes, of which vhdx_bitmap_bytes() have been read: a bit
 * per logical sector.
 */
void vhdx_bitmap_convert(uint8_t *bitmap, uint32_t logical_bytes, size_t nr_bytes);

/* How many bytes of the file become @nr_bytes: a multiple of 8, of blocks of whole MiB. */
static inline size_t vhdx_bitmap_bytes(uint32_t logical_bytes, size_t nr_bytes)
{
	return nr_bytes * SECTOR_BYTES / logical_bytes;
}

#endif
