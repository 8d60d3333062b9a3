/* SPDX-License-Identifier: MIT */
/* Dynamic and differencing VHDs: see dynamic.h. */
#include "vhd/dynamic.h"

#include <stdlib.h>
#include <string.h>

#include "sealblk/limits.h"
#include "sealblk/units.h"
#include "vhd/checksum.h"

uint32_t vhd_dynamic_checksum(const struct vhd_dynamic_header *header)
{
	return vhd_checksum(header, sizeof(*header), header->checksum);
}

/* ---- the header ---- */

int vhd_dynamic_offset(const struct vhd_info *info, const struct vhd_extent *extent,
		       uint64_t *ret_offset_bytes, struct vhd_problem *ret_problem)
{
	uint64_t offset = info->data_offset;

	if (offset < VHD_FOOTER_BYTES || offset > extent->data_end_bytes ||
	    extent->data_end_bytes - offset < VHD_DYNAMIC_HEADER_BYTES)
		return vhd_refuse(ret_problem, VHD_HEADER_OUTSIDE, offset, 0);
	*ret_offset_bytes = offset;
	return 0;
}

static int check_header(const struct vhd_dynamic_header *header, struct vhd_problem *ret_problem)
{
	uint32_t computed = vhd_dynamic_checksum(header);
	uint32_t block_bytes = be32_get(header->block_bytes);

	if (memcmp(header->cookie, VHD_DYNAMIC_COOKIE, VHD_COOKIE_BYTES) != 0)
		return vhd_refuse(ret_problem, VHD_HEADER_NO_COOKIE, 0, 0);
	if (be32_get(header->checksum) != computed)
		return vhd_refuse(ret_problem, VHD_HEADER_BAD_CHECKSUM, be32_get(header->checksum),
				  computed);
	if (be32_get(header->version) != VHD_VERSION)
		return vhd_refuse(ret_problem, VHD_HEADER_BAD_VERSION, be32_get(header->version),
				  VHD_VERSION);
	if (block_bytes < SECTOR_BYTES || (block_bytes & (block_bytes - 1)) != 0)
		return vhd_refuse(ret_problem, VHD_BLOCK_SIZE_BAD, block_bytes, 0);
	return 0;
}

static int check_size(const struct vhd_info *info, struct vhd_problem *ret_problem)
{
	if (info->sized_by_geometry && info->disk_bytes > info->current_bytes)
		return vhd_refuse(ret_problem, VHD_GEOMETRY_BEYOND_SIZE, info->disk_bytes,
				  info->current_bytes);
	if (info->disk_bytes > VHD_DYNAMIC_DISK_BYTES_MAX)
		return vhd_refuse(ret_problem, VHD_SIZE_TOO_LARGE, info->disk_bytes,
				  VHD_DYNAMIC_DISK_BYTES_MAX);
	return 0;
}

/* In the file the BAT fills whole sectors. */
static uint64_t bat_bytes(const struct vhd_dynamic *dynamic)
{
	return round_up((uint64_t)dynamic->max_entries * sizeof(be32), SECTOR_BYTES);
}

static int check_bat_place(const struct vhd_dynamic *dynamic, const struct vhd_extent *extent,
			   struct vhd_problem *ret_problem)
{
	uint64_t header = dynamic->header_offset_bytes;
	uint64_t bat = dynamic->bat_offset_bytes;

	if (bat > extent->data_end_bytes || extent->data_end_bytes - bat < bat_bytes(dynamic))
		return vhd_refuse(ret_problem, VHD_BAT_OUTSIDE, bat, dynamic->max_entries);
	if (bat < VHD_FOOTER_BYTES ||
	    (bat < header + VHD_DYNAMIC_HEADER_BYTES && header < bat + bat_bytes(dynamic)))
		return vhd_refuse(ret_problem, VHD_BAT_ON_HEADER, bat, 0);
	return 0;
}

int vhd_dynamic_decode(const uint8_t bytes[VHD_DYNAMIC_HEADER_BYTES], const struct vhd_info *info,
		       uint64_t disk_bytes, const struct vhd_extent *extent,
		       struct vhd_dynamic *ret_dynamic, struct vhd_problem *ret_problem)
{
	struct vhd_dynamic_header header;
	struct vhd_dynamic dynamic;
	uint64_t nr_blocks, block_bytes;
	int r;

	memcpy(&header, bytes, sizeof(header));
	r = check_header(&header, ret_problem);
	if (r == 0)
		r = check_size(info, ret_problem);
	if (r < 0)
		return r;

	block_bytes = be32_get(header.block_bytes);
	nr_blocks = (disk_bytes + block_bytes - 1) / block_bytes;
	dynamic = (struct vhd_dynamic){
		.header_offset_bytes = info->data_offset,
		.bat_offset_bytes = be64_get(header.bat_offset),
		.max_entries = be32_get(header.max_entries),
		.nr_blocks = (uint32_t)nr_blocks,
		.block_sectors = (uint32_t)(block_bytes / SECTOR_BYTES),
		.parent_modified_s = be32_get(header.parent_modified_s),
	};
	dynamic.bitmap_sectors =
		(uint32_t)(round_up(vhd_bitmap_bytes(&dynamic), SECTOR_BYTES) / SECTOR_BYTES);
	memcpy(dynamic.parent_uuid, header.parent_uuid, sizeof(dynamic.parent_uuid));
	memcpy(dynamic.locators, header.locators, sizeof(dynamic.locators));

	if (nr_blocks > VHD_BAT_ENTRIES_MAX)
		return vhd_refuse(ret_problem, VHD_BAT_TOO_LONG, nr_blocks, VHD_BAT_ENTRIES_MAX);
	if (nr_blocks > dynamic.max_entries)
		return vhd_refuse(ret_problem, VHD_BAT_TOO_SHORT, dynamic.max_entries, nr_blocks);
	r = check_bat_place(&dynamic, extent, ret_problem);
	if (r < 0)
		return r;
	*ret_dynamic = dynamic;
	return 0;
}

/* ---- the BAT ---- */

/* A part of the file, in bytes: [first, end). */
struct place {
	uint64_t first, end;
};

static bool overlap(struct place a, struct place b)
{
	return a.first < b.end && b.first < a.end;
}

static int check_block(uint64_t block, uint64_t sector, const struct vhd_dynamic *dynamic,
		       const struct vhd_extent *extent, struct vhd_problem *ret_problem)
{
	const struct place footer_copy = { 0, VHD_FOOTER_BYTES };
	const struct place header = { dynamic->header_offset_bytes,
				      dynamic->header_offset_bytes + VHD_DYNAMIC_HEADER_BYTES };
	const struct place bat = { dynamic->bat_offset_bytes,
				   dynamic->bat_offset_bytes + bat_bytes(dynamic) };
	const uint64_t end_sector = sector + dynamic->bitmap_sectors + dynamic->block_sectors;
	const struct place here = { sectors_to_bytes(sector), sectors_to_bytes(end_sector) };

	if (overlap(here, footer_copy) || overlap(here, header))
		return vhd_refuse(ret_problem, VHD_BLOCK_ON_HEADER, block, sector);
	if (overlap(here, bat))
		return vhd_refuse(ret_problem, VHD_BLOCK_ON_BAT, block, sector);
	if (here.end > extent->file_bytes)
		return vhd_refuse(ret_problem, VHD_BLOCK_BEYOND_FILE, block, sector);
	if (here.end > extent->data_end_bytes)
		return vhd_refuse(ret_problem, VHD_BLOCK_ON_FOOTER, block, sector);
	return 0;
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

int vhd_bat_check(const be32 *bat, const struct vhd_dynamic *dynamic,
		  const struct vhd_extent *extent, uint64_t *scratch,
		  struct vhd_problem *ret_problem)
{
	const uint64_t stride = (uint64_t)dynamic->bitmap_sectors + dynamic->block_sectors;
	size_t nr = 0;

	for (uint32_t block = 0; block < dynamic->nr_blocks; block++) {
		uint32_t sector = be32_get(bat[block]);
		int r;

		if (sector == VHD_BLOCK_UNUSED)
			continue;
		r = check_block(block, sector, dynamic, extent, ret_problem);
		if (r < 0)
			return r;
		scratch[nr++] = (uint64_t)sector << 32 | block;
	}
	if (nr > 1)
		qsort(scratch, nr, sizeof(*scratch), by_value);
	for (size_t i = 1; i < nr; i++) {
		if ((scratch[i] >> 32) - (scratch[i - 1] >> 32) < stride)
			return vhd_refuse(ret_problem, VHD_BLOCKS_OVERLAP,
					  scratch[i - 1] & UINT32_MAX, scratch[i] & UINT32_MAX);
	}
	return 0;
}

/* ---- bitmaps ---- */

static bool is_set(const uint8_t *bitmap, uint32_t sector)
{
	return bitmap[sector / 8] >> (7 - sector % 8) & 1;
}

uint32_t vhd_bitmap_run(const uint8_t *bitmap, uint32_t first, uint32_t end, bool *ret_set)
{
	bool set = is_set(bitmap, first);
	uint8_t alike = set ? 0xff : 0;
	uint32_t at = first + 1;

	while (at < end) {
		if (at % 8 == 0 && bitmap[at / 8] == alike) {
			at += 8;
			continue;
		}
		if (is_set(bitmap, at) != set)
			break;
		at++;
	}
	*ret_set = set;
	return (at < end ? at : end) - first;
}
