/* SPDX-License-Identifier: MIT */
/* The metadata of a VHDX: where its items are, and what they say. Pure. */
#ifndef VHD_VHDX_METADATA_H
#define VHD_VHDX_METADATA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "sealblk/vhdx_format.h"
#include "vhd/vhdx_header.h"
#include "vhd/vhdx_reason.h"

/* The items that are known. All but the last are short, and in every VHDX. */
enum vhdx_item {
	VHDX_FILE_PARAMETERS,
	VHDX_DISK_SIZE,
	VHDX_DISK_ID,
	VHDX_LOGICAL_SECTOR,
	VHDX_PHYSICAL_SECTOR,
	VHDX_PARENT_LOCATOR,
	VHDX_ITEMS,
};

enum { VHDX_SHORT_ITEM_BYTES = 16 };

/* Where they are in the file. */
struct vhdx_items {
	struct {
		uint64_t offset_bytes;
		uint32_t nr_bytes; /* 0: there is none */
	} of[VHDX_ITEMS];
};

/* The short items, read. */
struct vhdx_short_items {
	uint8_t bytes[VHDX_PARENT_LOCATOR][VHDX_SHORT_ITEM_BYTES];
};

/* What they say, checked. */
struct vhdx_metadata {
	uint64_t disk_bytes;	/* a multiple of the logical sector size, not 0 */
	uint32_t block_bytes;	/* a power of two */
	uint32_t logical_bytes; /* of a sector: 512 or 4096 */
	uint32_t physical_bytes;
	bool is_fixed; /* blocks stay allocated */
	bool has_parent;
	uint8_t disk_id[VHDX_GUID_BYTES];
};

/*
 * Find the items in the metadata table, which is the beginning of @region.
 * Returns 0; -EINVAL with *ret_problem: the table is not sound, an item that is
 * needed is missing or has the wrong length, or one is not known but required.
 */
int MUST_CHECK vhdx_metadata_find(const uint8_t bytes[VHDX_METADATA_TABLE_BYTES],
				  const struct vhdx_place *region, struct vhdx_items *ret_items,
				  struct vhdx_problem *ret_problem);

/*
 * @items: where vhdx_metadata_find() found them. Returns 0; -EINVAL with
 * *ret_problem: a size that cannot be.
 */
int MUST_CHECK vhdx_metadata_decode(const struct vhdx_items *items,
				    const struct vhdx_short_items *bytes,
				    struct vhdx_metadata *ret_metadata,
				    struct vhdx_problem *ret_problem);

#endif
