/* SPDX-License-Identifier: MIT */
/* What a VHDX for tests can say of itself that is not so: between vhdx_begin() and vhdx_finish(). */
#ifndef TESTS_VHDX_LIES_H
#define TESTS_VHDX_LIES_H

#include "vhdx_image.h"

static const uint8_t vhdx_unknown_id[VHDX_GUID_BYTES] = { 1, 2, 3 };

static inline void vhdx_lie_region(struct vhdx_image *image, uint32_t required)
{
	vhdx_add_region(image, vhdx_unknown_id, image->end_bytes, MIB, required);
	image->end_bytes += MIB;
}

static inline void vhdx_lie_item(struct vhdx_image *image, uint32_t flags)
{
	unsigned int number = le16_get(vhdx_table(image)->nr_entries);

	vhdx_add_item(image, vhdx_unknown_id, VHDX_TEST_ITEMS + 512, "text", 4);
	vhdx_item(image, number)->flags = le32_of(flags);
}

static inline struct vhdx_file_parameters *vhdx_parameters(struct vhdx_image *image)
{
	return (struct vhdx_file_parameters *)vhdx_item_bytes(image, 0);
}

static inline void vhdx_lie_header(struct vhdx_image *image)
{
	image->break_header[0] = image->break_header[1] = true;
}

static inline void vhdx_lie_version(struct vhdx_image *image)
{
	image->header.version = le16_of(2);
}

static inline void vhdx_lie_signature(struct vhdx_image *image)
{
	image->signature[7] = 'd';
}

static inline void vhdx_lie_regions(struct vhdx_image *image)
{
	image->break_regions[0] = image->break_regions[1] = true;
}

static inline void vhdx_lie_region_count(struct vhdx_image *image)
{
	vhdx_region_table(image)->nr_entries = le32_of(VHDX_REGIONS_MAX + 1);
}

static inline void vhdx_lie_region_outside(struct vhdx_image *image)
{
	vhdx_region(image, 0)->offset = le64_of(1 * TIB);
}

static inline void vhdx_lie_region_unaligned(struct vhdx_image *image)
{
	vhdx_region(image, 0)->offset = le64_of(VHDX_TEST_BAT + 4096);
}

static inline void vhdx_lie_region_huge(struct vhdx_image *image)
{
	vhdx_region(image, 0)->nr_bytes = le32_of(0xfff00000);
}

static inline void vhdx_lie_regions_overlap(struct vhdx_image *image)
{
	vhdx_region(image, 0)->offset = vhdx_region(image, 1)->offset;
}

static inline void vhdx_lie_region_on_log(struct vhdx_image *image)
{
	vhdx_region(image, 1)->offset = le64_of(VHDX_TEST_LOG);
}

static inline void vhdx_lie_region_unknown(struct vhdx_image *image)
{
	vhdx_lie_region(image, 1);
}

static inline void vhdx_lie_region_missing(struct vhdx_image *image)
{
	vhdx_region_table(image)->nr_entries = le32_of(1);
}

static inline void vhdx_lie_table(struct vhdx_image *image)
{
	vhdx_table(image)->signature[0] = 0;
}

static inline void vhdx_lie_item_unknown(struct vhdx_image *image)
{
	vhdx_lie_item(image, VHDX_METADATA_REQUIRED);
}

static inline void vhdx_lie_item_missing(struct vhdx_image *image)
{
	vhdx_item(image, 2)->id[0] ^= 1;
	vhdx_item(image, 2)->flags = le32_of(0);
}

static inline void vhdx_lie_item_outside(struct vhdx_image *image)
{
	vhdx_item(image, 1)->offset = le32_of(0xfffffff0);
}

static inline void vhdx_lie_items_overlap(struct vhdx_image *image)
{
	vhdx_item(image, 1)->offset = vhdx_item(image, 0)->offset;
}

static inline void vhdx_lie_item_length(struct vhdx_image *image)
{
	vhdx_item(image, 1)->nr_bytes = le32_of(4);
}

static inline void vhdx_lie_block_zero(struct vhdx_image *image)
{
	vhdx_parameters(image)->block_bytes = le32_of(0);
}

static inline void vhdx_lie_block_huge(struct vhdx_image *image)
{
	vhdx_parameters(image)->block_bytes = le32_of((uint32_t)GIB);
}

static inline void vhdx_lie_block_odd(struct vhdx_image *image)
{
	vhdx_parameters(image)->block_bytes = le32_of(3 * (uint32_t)MIB);
}

static inline void vhdx_lie_size_zero(struct vhdx_image *image)
{
	memset(vhdx_item_bytes(image, 1), 0, sizeof(le64));
}

static inline void vhdx_lie_size_huge(struct vhdx_image *image)
{
	memset(vhdx_item_bytes(image, 1), 0xff, sizeof(le64));
}

/* The BAT has no room for so many blocks. */
static inline void vhdx_lie_bat_short(struct vhdx_image *image)
{
	const le64 size = le64_of(1 * TIB);

	memcpy(vhdx_item_bytes(image, 1), &size, sizeof(size));
}

static inline void vhdx_lie_sector(struct vhdx_image *image)
{
	vhdx_item_bytes(image, 3)[1] = 4;
}

static inline void vhdx_lie_block_outside(struct vhdx_image *image)
{
	vhdx_set_entry(image, 0, VHDX_BLOCK_FULLY_PRESENT, 1 * TIB);
}

static inline void vhdx_lie_block_on_header(struct vhdx_image *image)
{
	vhdx_set_entry(image, 0, VHDX_BLOCK_FULLY_PRESENT, 0);
}

static inline void vhdx_lie_block_on_region(struct vhdx_image *image)
{
	vhdx_set_entry(image, 0, VHDX_BLOCK_FULLY_PRESENT, VHDX_TEST_BAT);
}

static inline void vhdx_lie_blocks_overlap(struct vhdx_image *image)
{
	image->bat[1] = image->bat[0];
}

static inline void vhdx_lie_state(struct vhdx_image *image)
{
	vhdx_set_entry(image, 0, 5, 0);
}

static inline void vhdx_lie_reserved(struct vhdx_image *image)
{
	vhdx_set_entry(image, 0, VHDX_BLOCK_FULLY_PRESENT, vhdx_entry_place(image, 0) | 8);
}

/* Without a parent this is one lie, with one another: there is no bitmap. */
static inline void vhdx_lie_partial(struct vhdx_image *image)
{
	vhdx_set_entry(image, 0, VHDX_BLOCK_PARTIALLY_PRESENT, vhdx_entry_place(image, 0));
	image->bat[vhdx_bitmap_entry_of(image, 0)] = le64_of(0);
}

static inline void vhdx_lie_locator_type(struct vhdx_image *image)
{
	vhdx_item_bytes(image, 5)[0] ^= 1;
}

static inline void vhdx_lie_linkage(struct vhdx_image *image)
{
	struct vhdx_locator_entry *entry =
		(struct vhdx_locator_entry *)(vhdx_item_bytes(image, 5) +
					      sizeof(struct vhdx_locator));

	vhdx_item_bytes(image, 5)[le32_get(entry->value_offset) + 2] = '7';
}

static inline void vhdx_lie_locator(struct vhdx_image *image)
{
	struct vhdx_locator_entry *entry =
		(struct vhdx_locator_entry *)(vhdx_item_bytes(image, 5) +
					      sizeof(struct vhdx_locator));

	entry->value_offset = le32_of(UINT32_MAX);
}

static const struct {
	const char *name;
	void (*tell)(struct vhdx_image *image);
	const char *why; /* it is refused, when it is a differencing one */
} vhdx_lies[] = {
	{ "header", vhdx_lie_header, "neither VHDX header is sound" },
	{ "version", vhdx_lie_version, "VHDX header has an unknown version" },
	{ "signature", vhdx_lie_signature, "there is no VHDX signature" },
	{ "regions", vhdx_lie_regions, "neither VHDX region table is sound" },
	{ "region-count", vhdx_lie_region_count, "VHDX region table has too many entries" },
	{ "region-outside", vhdx_lie_region_outside,
	  "VHDX region reaches past the end of the file" },
	{ "region-unaligned", vhdx_lie_region_unaligned,
	  "VHDX region's place is not in whole MiB behind the first" },
	{ "region-huge", vhdx_lie_region_huge, "VHDX region reaches past the end of the file" },
	{ "regions-overlap", vhdx_lie_regions_overlap, "VHDX region overlaps another, or the log" },
	{ "region-on-log", vhdx_lie_region_on_log, "VHDX region overlaps another, or the log" },
	{ "region-unknown", vhdx_lie_region_unknown,
	  "VHDX has an unknown region that is required" },
	{ "region-missing", vhdx_lie_region_missing, "VHDX region table has no metadata" },
	{ "table", vhdx_lie_table, "there is no VHDX metadata table" },
	{ "item-unknown", vhdx_lie_item_unknown,
	  "VHDX metadata has an unknown item that is required" },
	{ "item-missing", vhdx_lie_item_missing, "VHDX metadata lacks the disk's id" },
	{ "item-outside", vhdx_lie_item_outside, "VHDX metadata item is not inside its region" },
	{ "items-overlap", vhdx_lie_items_overlap, "VHDX metadata items overlap" },
	{ "item-length", vhdx_lie_item_length, "VHDX metadata item has the wrong length" },
	{ "block-zero", vhdx_lie_block_zero, "VHDX block size is no power of two" },
	{ "block-huge", vhdx_lie_block_huge, "VHDX block size is no power of two" },
	{ "block-odd", vhdx_lie_block_odd, "VHDX block size is no power of two" },
	{ "size-zero", vhdx_lie_size_zero, "VHDX disk size is 0" },
	{ "size-huge", vhdx_lie_size_huge, "VHDX disk size is 0, above 64 TiB" },
	{ "bat-short", vhdx_lie_bat_short,
	  "VHDX block allocation table is too short for the disk" },
	{ "sector", vhdx_lie_sector, "VHDX logical sector size is neither 512 nor 4096" },
	{ "block-outside", vhdx_lie_block_outside, "VHDX block is not inside the file" },
	{ "block-on-header", vhdx_lie_block_on_header, "VHDX block is not inside the file" },
	{ "block-on-region", vhdx_lie_block_on_region, "VHDX block overlaps a region or the log" },
	{ "blocks-overlap", vhdx_lie_blocks_overlap, "VHDX block overlaps another" },
	{ "state", vhdx_lie_state, "VHDX block is in an unknown state" },
	{ "reserved", vhdx_lie_reserved, "VHDX block has reserved bits set" },
	{ "partial", vhdx_lie_partial, "VHDX block is present in part, but has no sector bitmap" },
	/* With --parent only. */
	{ "locator-type", vhdx_lie_locator_type, "VHDX has a parent of a kind that is not known" },
	{ "linkage", vhdx_lie_linkage, "is not the parent of" },
	{ "locator", vhdx_lie_locator, "VHDX parent locator is not sound" },
};

/* Returns false: there is no lie of that name. */
static inline bool vhdx_lie(struct vhdx_image *image, const char *what)
{
	for (size_t i = 0; i < sizeof(vhdx_lies) / sizeof(vhdx_lies[0]); i++) {
		if (strcmp(vhdx_lies[i].name, what) == 0) {
			vhdx_lies[i].tell(image);
			return true;
		}
	}
	return false;
}

#endif
