/* SPDX-License-Identifier: MIT */
/*
 * Writes dynamic and differencing VHDs for tests, from the specification alone:
 * begin, put sectors, finish. In between a test may make header and BAT lie;
 * what is written is summed.
 *
 * Layout: footer copy, header, BAT, two locators of 8 sectors each, blocks in the
 * order of their first sector put, footer.
 */
#ifndef TESTS_VHD_LAYER_H
#define TESTS_VHD_LAYER_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sealblk/units.h"
#include "vhd/dynamic.h"
#include "vhd/footer.h"
#include "vhd/geometry.h"

enum {
	LAYER_HEADER_OFFSET = VHD_FOOTER_BYTES,
	LAYER_BAT_OFFSET = LAYER_HEADER_OFFSET + VHD_DYNAMIC_HEADER_BYTES,
	LAYER_LOCATOR_BYTES = 8 * SECTOR_BYTES,
};

struct vhd_layer_recipe {
	uint64_t disk_bytes;
	uint32_t block_bytes;
	uint32_t created_s;
	uint8_t uuid[VHD_UUID_BYTES];

	/* Differencing, if either path is given; all in ASCII, with backslashes. */
	const char *relative;
	const char *absolute;
	const char *parent_name; /* not ours to read: for other readers */
	uint8_t parent_uuid[VHD_UUID_BYTES];
	uint32_t parent_modified_s;
};

struct vhd_layer {
	int fd;
	struct vhd_footer footer;
	struct vhd_dynamic_header header;
	be32 *bat;
	uint32_t nr_blocks;
	uint32_t block_sectors;
	uint64_t end_sector; /* where the next block or the footer goes */
	bool break_last_footer;
};

static inline void layer_write(const struct vhd_layer *layer, uint64_t offset, const void *bytes,
			       size_t nr_bytes)
{
	ssize_t n = pwrite(layer->fd, bytes, nr_bytes, (off_t)offset);

	assert(n == (ssize_t)nr_bytes);
	(void)n;
}

static inline void layer_put_locator(struct vhd_layer *layer, unsigned int slot, uint32_t platform,
				     const char *path, uint64_t offset)
{
	uint8_t bytes[LAYER_LOCATOR_BYTES] = { 0 };
	size_t length = strlen(path);

	assert(2 * length <= sizeof(bytes));
	for (size_t i = 0; i < length; i++)
		bytes[2 * i] = (uint8_t)path[i];
	layer_write(layer, offset, bytes, sizeof(bytes));
	layer->header.locators[slot] = (struct vhd_locator){
		.platform = be32_of(platform),
		.data_space = be32_of(LAYER_LOCATOR_BYTES / SECTOR_BYTES),
		.data_bytes = be32_of((uint32_t)(2 * length)),
		.data_offset = be64_of(offset),
	};
}

static inline void layer_put_locators(struct vhd_layer *layer,
				      const struct vhd_layer_recipe *recipe, uint64_t offset)
{
	unsigned int slot = 0;

	/* The absolute one first, so that taking the first would be noticed. */
	if (recipe->absolute)
		layer_put_locator(layer, slot++, VHD_PLATFORM_ABSOLUTE, recipe->absolute, offset);
	if (recipe->relative)
		layer_put_locator(layer, slot, VHD_PLATFORM_RELATIVE, recipe->relative,
				  offset + LAYER_LOCATOR_BYTES);
	for (size_t i = 0; recipe->parent_name && recipe->parent_name[i]; i++)
		layer->header.parent_name[2 * i + 1] = (uint8_t)recipe->parent_name[i];
}

static inline void layer_begin(struct vhd_layer *layer, int fd,
			       const struct vhd_layer_recipe *recipe)
{
	const bool has_parent = recipe->relative || recipe->absolute;
	uint64_t bat_end;

	*layer = (struct vhd_layer){ .fd = fd };
	layer->nr_blocks =
		(uint32_t)((recipe->disk_bytes + recipe->block_bytes - 1) / recipe->block_bytes);
	layer->block_sectors = recipe->block_bytes / SECTOR_BYTES;
	layer->bat = malloc(layer->nr_blocks * sizeof(be32));
	assert(layer->bat);
	memset(layer->bat, 0xff, layer->nr_blocks * sizeof(be32));
	bat_end = round_up(LAYER_BAT_OFFSET + layer->nr_blocks * sizeof(be32), SECTOR_BYTES);
	layer->end_sector = bytes_to_sectors(bat_end + 2 * (uint64_t)LAYER_LOCATOR_BYTES);

	layer->footer = (struct vhd_footer){
		.features = be32_of(VHD_FEATURE_RESERVED),
		.version = be32_of(VHD_VERSION),
		.data_offset = be64_of(LAYER_HEADER_OFFSET),
		.created_s = be32_of(recipe->created_s),
		.creator_app = { 'w', 'i', 'n', ' ' },
		.creator_version = be32_of(0x000a0000),
		.creator_os = { 'W', 'i', '2', 'k' },
		.original_bytes = be64_of(recipe->disk_bytes),
		.current_bytes = be64_of(recipe->disk_bytes),
		.geometry = vhd_geometry_of(bytes_to_sectors(recipe->disk_bytes)),
		.disk_type = be32_of(has_parent ? VHD_DIFFERENCING : VHD_DYNAMIC),
	};
	memcpy(layer->footer.cookie, VHD_COOKIE, VHD_COOKIE_BYTES);
	memcpy(layer->footer.uuid, recipe->uuid, VHD_UUID_BYTES);
	layer->header = (struct vhd_dynamic_header){
		.data_offset = be64_of(UINT64_MAX),
		.bat_offset = be64_of(LAYER_BAT_OFFSET),
		.version = be32_of(VHD_VERSION),
		.max_entries = be32_of(layer->nr_blocks),
		.block_bytes = be32_of(recipe->block_bytes),
		.parent_modified_s = be32_of(recipe->parent_modified_s),
	};
	memcpy(layer->header.cookie, VHD_DYNAMIC_COOKIE, VHD_COOKIE_BYTES);
	memcpy(layer->header.parent_uuid, recipe->parent_uuid, VHD_UUID_BYTES);
	layer_put_locators(layer, recipe, bat_end);
}

static inline uint64_t layer_bitmap_sectors(const struct vhd_layer *layer)
{
	return (layer->block_sectors / 8 + SECTOR_BYTES - 1) / SECTOR_BYTES +
	       (layer->block_sectors < 8);
}

/* The block gets its place, all of it holes, when its first sector is put. */
static inline void layer_put(struct vhd_layer *layer, uint64_t sector,
			     const uint8_t bytes[SECTOR_BYTES])
{
	uint64_t block = sector / layer->block_sectors;
	uint64_t within = sector % layer->block_sectors;
	uint64_t bitmap_sectors = layer_bitmap_sectors(layer);
	uint64_t at;
	uint8_t bits = 0;
	ssize_t n;

	if (be32_get(layer->bat[block]) == VHD_BLOCK_UNUSED) {
		layer->bat[block] = be32_of((uint32_t)layer->end_sector);
		layer->end_sector += bitmap_sectors + layer->block_sectors;
	}
	at = be32_get(layer->bat[block]);
	n = pread(layer->fd, &bits, 1, (off_t)(sectors_to_bytes(at) + within / 8));
	assert(n >= 0);
	(void)n;
	bits |= (uint8_t)(0x80 >> within % 8);
	layer_write(layer, sectors_to_bytes(at) + within / 8, &bits, 1);
	layer_write(layer, sectors_to_bytes(at + bitmap_sectors + within), bytes, SECTOR_BYTES);
}

static inline void layer_finish(struct vhd_layer *layer)
{
	struct vhd_footer last;

	layer->footer.checksum = be32_of(vhd_footer_checksum(&layer->footer));
	layer->header.checksum = be32_of(vhd_dynamic_checksum(&layer->header));
	last = layer->footer;
	if (layer->break_last_footer)
		last.reserved[100] ^= 1;
	layer_write(layer, 0, &layer->footer, sizeof(layer->footer));
	layer_write(layer, LAYER_HEADER_OFFSET, &layer->header, sizeof(layer->header));
	layer_write(layer, LAYER_BAT_OFFSET, layer->bat, layer->nr_blocks * sizeof(be32));
	layer_write(layer, sectors_to_bytes(layer->end_sector), &last, sizeof(last));
	free(layer->bat);
	layer->bat = NULL;
}

#endif
