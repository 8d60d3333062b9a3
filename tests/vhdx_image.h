/* SPDX-License-Identifier: MIT */
/*
 * Writes a VHDX for tests. What is to lie about itself is changed in the struct
 * between vhdx_begin() and vhdx_finish(); checksums are made right after that.
 */
#ifndef TESTS_VHDX_IMAGE_H
#define TESTS_VHDX_IMAGE_H

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "sealblk/units.h"
#include "sealblk/vhdx_format.h"
#include "vhd/vhdx_guid.h"

/* Where things are: the log, the metadata and the BAT behind each other, then blocks. */
enum {
	VHDX_TEST_LOG = 1 << 20,
	VHDX_TEST_LOG_BYTES = 1 << 20,
	VHDX_TEST_LOG_SECTORS = VHDX_TEST_LOG_BYTES / VHDX_LOG_SECTOR_BYTES,
	VHDX_TEST_METADATA = 2 << 20,
	VHDX_TEST_METADATA_BYTES = 1 << 20,
	VHDX_TEST_ITEMS = 64 << 10, /* in the region */
	VHDX_TEST_LOCATOR = VHDX_TEST_ITEMS + 4096,
	VHDX_TEST_METADATA_USED = VHDX_TEST_LOCATOR + 4 * 4096,
	VHDX_TEST_BAT = 3 << 20,
	VHDX_TEST_HEAD = 1 << 20,
};

struct vhdx_recipe {
	uint64_t disk_bytes;
	uint32_t block_bytes;
	uint32_t logical_bytes;
	uint8_t id; /* in its GUIDs */
	bool is_fixed;
	const char *relative; /* paths of the parent, with backslashes; none: it has no parent */
	const char *absolute;
	uint8_t parent_id; /* the @id of its recipe */
};

struct vhdx_image {
	int fd;
	bool has_parent;
	uint32_t logical_bytes;
	uint32_t block_bytes;
	uint32_t nr_blocks;
	uint32_t ratio;
	uint32_t nr_entries; /* of the BAT */
	uint64_t bat_bytes;
	uint64_t end_bytes; /* where the next block goes */
	uint8_t signature[VHDX_SIGNATURE_BYTES];
	struct vhdx_header header; /* of both; the second one has the higher number */
	uint8_t regions[VHDX_REGION_TABLE_BYTES];
	uint8_t metadata[VHDX_TEST_METADATA_USED];
	le64 *bat;
	bool break_header[VHDX_HEADERS]; /* their checksums */
	bool break_regions[VHDX_REGION_TABLES];
};

static inline void vhdx_write(int fd, uint64_t offset, const void *bytes, size_t nr_bytes)
{
	ssize_t n = pwrite(fd, bytes, nr_bytes, (off_t)offset);

	assert(n == (ssize_t)nr_bytes);
	(void)n;
}

/* Make the checksum right that follows a signature of four bytes. */
static inline void vhdx_mend(void *bytes, size_t nr_bytes)
{
	le32 *checksum = (le32 *)((uint8_t *)bytes + 4);

	*checksum = le32_of(0);
	*checksum = le32_of(crc32c(0, bytes, nr_bytes));
}

/* ---- the parts ---- */

static inline struct vhdx_region_table *vhdx_region_table(struct vhdx_image *image)
{
	return (struct vhdx_region_table *)image->regions;
}

static inline struct vhdx_region_entry *vhdx_region(struct vhdx_image *image, unsigned int number)
{
	return (struct vhdx_region_entry *)(image->regions + sizeof(struct vhdx_region_table)) +
	       number;
}

static inline struct vhdx_metadata_table *vhdx_table(struct vhdx_image *image)
{
	return (struct vhdx_metadata_table *)image->metadata;
}

static inline struct vhdx_metadata_entry *vhdx_item(struct vhdx_image *image, unsigned int number)
{
	return (struct vhdx_metadata_entry *)(image->metadata +
					      sizeof(struct vhdx_metadata_table)) +
	       number;
}

static inline uint8_t *vhdx_item_bytes(struct vhdx_image *image, unsigned int number)
{
	return image->metadata + le32_get(vhdx_item(image, number)->offset);
}

static inline void vhdx_add_region(struct vhdx_image *image, const uint8_t id[VHDX_GUID_BYTES],
				   uint64_t offset, uint64_t nr_bytes, uint32_t required)
{
	struct vhdx_region_table *table = vhdx_region_table(image);
	struct vhdx_region_entry *entry = vhdx_region(image, le32_get(table->nr_entries));

	memcpy(entry->id, id, sizeof(entry->id));
	entry->offset = le64_of(offset);
	entry->nr_bytes = le32_of((uint32_t)nr_bytes);
	entry->required = le32_of(required);
	table->nr_entries = le32_of(le32_get(table->nr_entries) + 1);
}

static inline void vhdx_add_item(struct vhdx_image *image, const uint8_t id[VHDX_GUID_BYTES],
				 uint32_t offset, const void *bytes, uint32_t nr_bytes)
{
	struct vhdx_metadata_table *table = vhdx_table(image);
	struct vhdx_metadata_entry *entry = vhdx_item(image, le16_get(table->nr_entries));

	assert(offset + nr_bytes <= sizeof(image->metadata));
	memcpy(entry->id, id, sizeof(entry->id));
	entry->offset = le32_of(offset);
	entry->nr_bytes = le32_of(nr_bytes);
	entry->flags = le32_of(VHDX_METADATA_REQUIRED);
	table->nr_entries = le16_of((uint16_t)(le16_get(table->nr_entries) + 1));
	memcpy(image->metadata + offset, bytes, nr_bytes);
}

/* Returns how many bytes. */
static inline size_t vhdx_utf16(const char *ascii, uint8_t *ret_bytes)
{
	size_t nr = 0;

	for (; *ascii; ascii++) {
		ret_bytes[nr++] = (uint8_t)*ascii;
		ret_bytes[nr++] = 0;
	}
	return nr;
}

/* ---- the parent locator ---- */

struct vhdx_locator_maker {
	uint8_t bytes[3 * 4096];
	size_t used;
	unsigned int nr;
};

static inline void vhdx_add_pair(struct vhdx_locator_maker *maker, const char *key,
				 const char *value)
{
	struct vhdx_locator_entry *entry =
		(struct vhdx_locator_entry *)(maker->bytes + sizeof(struct vhdx_locator)) +
		maker->nr++;
	size_t key_bytes = vhdx_utf16(key, maker->bytes + maker->used);
	size_t value_bytes = vhdx_utf16(value, maker->bytes + maker->used + key_bytes);

	entry->key_offset = le32_of((uint32_t)maker->used);
	entry->value_offset = le32_of((uint32_t)(maker->used + key_bytes));
	entry->key_bytes = le16_of((uint16_t)key_bytes);
	entry->value_bytes = le16_of((uint16_t)value_bytes);
	maker->used += key_bytes + value_bytes;
	((struct vhdx_locator *)maker->bytes)->nr_entries = le16_of((uint16_t)maker->nr);
}

static inline void vhdx_data_write_id(uint8_t id, uint8_t ret_id[VHDX_GUID_BYTES])
{
	memset(ret_id, 0, VHDX_GUID_BYTES);
	ret_id[0] = id;
	ret_id[15] = 'w';
}

static inline void vhdx_make_locator(struct vhdx_locator_maker *maker,
				     const struct vhdx_recipe *recipe)
{
	static const uint8_t type[] = VHDX_LOCATOR_TYPE_VHDX;
	uint8_t id[VHDX_GUID_BYTES];
	char text[UUID_TEXT_BYTES], braced[UUID_TEXT_BYTES + 2];

	*maker = (struct vhdx_locator_maker){ .used = 256 };
	memcpy(maker->bytes, type, sizeof(type));
	vhdx_data_write_id(recipe->parent_id, id);
	vhdx_guid_text(id, text);
	braced[0] = '{';
	memcpy(braced + 1, text, UUID_TEXT_BYTES - 1);
	memcpy(braced + UUID_TEXT_BYTES, "}", 2);
	vhdx_add_pair(maker, "parent_linkage", braced);
	if (recipe->relative)
		vhdx_add_pair(maker, "relative_path", recipe->relative);
	if (recipe->absolute)
		vhdx_add_pair(maker, "absolute_win32_path", recipe->absolute);
}

/* ---- making one ---- */

static inline void vhdx_make_metadata(struct vhdx_image *image, const struct vhdx_recipe *recipe)
{
	static const uint8_t ids[][VHDX_GUID_BYTES] = {
		VHDX_ITEM_FILE_PARAMETERS, VHDX_ITEM_DISK_SIZE,	      VHDX_ITEM_DISK_ID,
		VHDX_ITEM_LOGICAL_SECTOR,  VHDX_ITEM_PHYSICAL_SECTOR, VHDX_ITEM_PARENT_LOCATOR,
	};
	const struct vhdx_file_parameters parameters = {
		le32_of(recipe->block_bytes),
		le32_of((recipe->is_fixed ? VHDX_LEAVE_ALLOCATED : 0u) |
			(image->has_parent ? VHDX_HAS_PARENT : 0u)),
	};
	const le64 disk_bytes = le64_of(recipe->disk_bytes);
	const le32 logical = le32_of(recipe->logical_bytes), physical = le32_of(4096);
	const uint8_t disk_id[VHDX_GUID_BYTES] = { [0] = recipe->id, [15] = 'd' };
	static struct vhdx_locator_maker locator;

	memcpy(vhdx_table(image)->signature, VHDX_METADATA_SIGNATURE, VHDX_SIGNATURE_BYTES);
	vhdx_add_item(image, ids[0], VHDX_TEST_ITEMS, &parameters, sizeof(parameters));
	vhdx_add_item(image, ids[1], VHDX_TEST_ITEMS + 8, &disk_bytes, sizeof(disk_bytes));
	vhdx_add_item(image, ids[2], VHDX_TEST_ITEMS + 16, disk_id, sizeof(disk_id));
	vhdx_add_item(image, ids[3], VHDX_TEST_ITEMS + 32, &logical, sizeof(logical));
	vhdx_add_item(image, ids[4], VHDX_TEST_ITEMS + 36, &physical, sizeof(physical));
	if (!image->has_parent)
		return;
	vhdx_make_locator(&locator, recipe);
	vhdx_add_item(image, ids[5], VHDX_TEST_LOCATOR, locator.bytes, (uint32_t)locator.used);
}

/* @image: zeroed, or used before. */
static inline void vhdx_begin(struct vhdx_image *image, int fd, const struct vhdx_recipe *recipe)
{
	static const uint8_t bat_id[] = VHDX_REGION_BAT, metadata_id[] = VHDX_REGION_METADATA;
	const uint64_t blocks =
		(recipe->disk_bytes + recipe->block_bytes - 1) / recipe->block_bytes;

	free(image->bat);
	memset(image, 0, sizeof(*image));
	image->fd = fd;
	image->has_parent = recipe->relative || recipe->absolute;
	image->logical_bytes = recipe->logical_bytes;
	image->block_bytes = recipe->block_bytes;
	image->nr_blocks = (uint32_t)blocks;
	image->ratio = (uint32_t)((uint64_t)VHDX_CHUNK_SECTORS * recipe->logical_bytes /
				  recipe->block_bytes);
	image->nr_entries =
		(image->nr_blocks + image->ratio - 1) / image->ratio * (image->ratio + 1);
	image->bat_bytes = round_up(image->nr_entries * sizeof(le64), VHDX_ALIGN_BYTES);
	image->bat = calloc(1, image->bat_bytes);
	assert(image->bat);
	image->end_bytes = VHDX_TEST_BAT + image->bat_bytes;

	memcpy(image->signature, VHDX_SIGNATURE, VHDX_SIGNATURE_BYTES);
	memcpy(image->header.signature, VHDX_HEADER_SIGNATURE, VHDX_PART_SIGNATURE_BYTES);
	image->header.sequence = le64_of(7);
	vhdx_data_write_id(recipe->id, image->header.data_write_id);
	image->header.version = le16_of(VHDX_VERSION);
	image->header.log_bytes = le32_of(VHDX_TEST_LOG_BYTES);
	image->header.log_offset = le64_of(VHDX_TEST_LOG);
	memcpy(image->regions, VHDX_REGION_SIGNATURE, VHDX_PART_SIGNATURE_BYTES);
	vhdx_add_region(image, bat_id, VHDX_TEST_BAT, image->bat_bytes, 1);
	vhdx_add_region(image, metadata_id, VHDX_TEST_METADATA, VHDX_TEST_METADATA_BYTES, 1);
	vhdx_make_metadata(image, recipe);
}

static inline uint32_t vhdx_entry_of(const struct vhdx_image *image, uint32_t block)
{
	return block + block / image->ratio;
}

static inline uint32_t vhdx_bitmap_entry_of(const struct vhdx_image *image, uint32_t block)
{
	return block / image->ratio * (image->ratio + 1) + image->ratio;
}

static inline void vhdx_set_entry(struct vhdx_image *image, uint32_t entry, unsigned int state,
				  uint64_t offset)
{
	image->bat[entry] = le64_of(state | offset);
}

static inline uint64_t vhdx_entry_place(const struct vhdx_image *image, uint32_t entry)
{
	return le64_get(image->bat[entry]) & ~(uint64_t)(VHDX_ALIGN_BYTES - 1);
}

/* A place at the end of the file, which is made longer. */
static inline uint64_t vhdx_append(struct vhdx_image *image, uint64_t nr_bytes)
{
	uint64_t at = image->end_bytes;
	int r;

	image->end_bytes += nr_bytes;
	r = ftruncate(image->fd, (off_t)image->end_bytes);
	assert(r == 0);
	(void)r;
	return at;
}

/* Give the block a state; it gets a place if that needs one. */
static inline void vhdx_set_block(struct vhdx_image *image, uint32_t block,
				  enum vhdx_block_state state)
{
	const uint32_t bitmap = vhdx_bitmap_entry_of(image, block);
	uint64_t at = 0;

	if (state >= VHDX_BLOCK_FULLY_PRESENT)
		at = vhdx_append(image, image->block_bytes);
	if (state == VHDX_BLOCK_PARTIALLY_PRESENT && le64_get(image->bat[bitmap]) == 0)
		vhdx_set_entry(image, bitmap, VHDX_BLOCK_FULLY_PRESENT,
			       vhdx_append(image, VHDX_BITMAP_BLOCK_BYTES));
	vhdx_set_entry(image, vhdx_entry_of(image, block), state, at);
}

/* Put bytes of the disk into a block that has a place. @offset: of the disk. */
static inline void vhdx_put(struct vhdx_image *image, uint64_t offset, const void *bytes,
			    size_t nr_bytes)
{
	const uint32_t block = (uint32_t)(offset / image->block_bytes);

	assert(offset % image->block_bytes + nr_bytes <= image->block_bytes);
	vhdx_write(image->fd,
		   vhdx_entry_place(image, vhdx_entry_of(image, block)) +
			   offset % image->block_bytes,
		   bytes, nr_bytes);
}

/* Mark logical sector @sector as here: its block is present in part. */
static inline void vhdx_mark(struct vhdx_image *image, uint64_t sector)
{
	const uint32_t block = (uint32_t)(sector * image->logical_bytes / image->block_bytes);
	const uint64_t bit = sector % VHDX_CHUNK_SECTORS;
	const uint64_t at = vhdx_entry_place(image, vhdx_bitmap_entry_of(image, block)) + bit / 8;
	uint8_t bits = 0;
	ssize_t n = pread(image->fd, &bits, 1, (off_t)at);

	assert(n == 1);
	(void)n;
	bits |= (uint8_t)(1 << bit % 8);
	vhdx_write(image->fd, at, &bits, 1);
}

static inline void vhdx_write_headers(struct vhdx_image *image)
{
	struct vhdx_header header = image->header;

	for (unsigned int i = 0; i < VHDX_HEADERS; i++) {
		header.sequence = le64_of(le64_get(image->header.sequence) + i);
		vhdx_mend(&header, sizeof(header));
		if (image->break_header[i])
			header.reserved[0] ^= 1;
		vhdx_write(image->fd, (uint64_t)(i + 1) * VHDX_HEADER_OFFSET, &header,
			   sizeof(header));
		header.reserved[0] = 0;
	}
}

/* All but the metadata and the BAT. */
static inline void vhdx_write_head(struct vhdx_image *image)
{
	vhdx_write(image->fd, 0, image->signature, sizeof(image->signature));
	vhdx_write_headers(image);
	vhdx_mend(image->regions, sizeof(image->regions));
	for (unsigned int i = 0; i < VHDX_REGION_TABLES; i++) {
		image->regions[sizeof(image->regions) - 1] ^= image->break_regions[i];
		vhdx_write(image->fd,
			   VHDX_REGION_TABLE_OFFSET + (uint64_t)i * VHDX_REGION_TABLE_BYTES,
			   image->regions, sizeof(image->regions));
		image->regions[sizeof(image->regions) - 1] ^= image->break_regions[i];
	}
	(void)vhdx_append(image, 0);
}

static inline void vhdx_finish(struct vhdx_image *image)
{
	vhdx_write_head(image);
	vhdx_write(image->fd, VHDX_TEST_METADATA, image->metadata, sizeof(image->metadata));
	vhdx_write(image->fd, VHDX_TEST_BAT, image->bat, image->bat_bytes);
	free(image->bat);
	image->bat = NULL;
}

/* ---- the log ---- */

/* @data: 4096 bytes; or NULL: zeros. */
struct vhdx_change {
	uint64_t offset;
	const uint8_t *data;
	uint64_t zero_bytes;
};

struct vhdx_log_maker {
	uint8_t bytes[VHDX_TEST_LOG_BYTES];
	uint32_t at_sector;   /* of the next entry; wraps */
	uint32_t last_sector; /* of the last one */
	uint32_t tail_sector;
	uint64_t sequence; /* of the next entry */
	uint64_t flushed_bytes;
	uint64_t last_bytes;
	uint8_t log_id[VHDX_GUID_BYTES];
};

static inline uint8_t *vhdx_log_sector(struct vhdx_log_maker *log, uint32_t number)
{
	return log->bytes + (size_t)(number % VHDX_TEST_LOG_SECTORS) * VHDX_LOG_SECTOR_BYTES;
}

static inline struct vhdx_log_header *vhdx_log_header_at(struct vhdx_log_maker *log,
							 uint32_t sector)
{
	return (struct vhdx_log_header *)vhdx_log_sector(log, sector);
}

static inline struct vhdx_log_descriptor *vhdx_log_descriptor_at(struct vhdx_log_maker *log,
								 uint32_t sector,
								 unsigned int number)
{
	const uint32_t at = VHDX_LOG_HEADER_BYTES + number * VHDX_LOG_DESCRIPTOR_BYTES;

	return (struct vhdx_log_descriptor *)(vhdx_log_sector(log,
							      sector + at / VHDX_LOG_SECTOR_BYTES) +
					      at % VHDX_LOG_SECTOR_BYTES);
}

/* Make the checksum of the entry at @sector right, however long it says it is. */
static inline void vhdx_log_mend(struct vhdx_log_maker *log, uint32_t sector)
{
	struct vhdx_log_header *header = vhdx_log_header_at(log, sector);
	uint32_t crc = 0;

	header->checksum = le32_of(0);
	for (uint32_t i = 0; i < le32_get(header->nr_bytes) / VHDX_LOG_SECTOR_BYTES; i++)
		crc = crc32c(crc, vhdx_log_sector(log, sector + i), VHDX_LOG_SECTOR_BYTES);
	header->checksum = le32_of(crc);
}

static inline void vhdx_log_begin(struct vhdx_log_maker *log, uint64_t file_bytes)
{
	memset(log, 0, sizeof(*log));
	log->sequence = 1;
	log->flushed_bytes = file_bytes;
	log->last_bytes = file_bytes;
	log->log_id[0] = 'l';
}

static inline void vhdx_log_data(struct vhdx_log_maker *log, uint32_t sector,
				 struct vhdx_log_descriptor *descriptor, const uint8_t *data)
{
	struct vhdx_log_sector *to = (struct vhdx_log_sector *)vhdx_log_sector(log, sector);

	memcpy(to, data, VHDX_LOG_SECTOR_BYTES);
	memcpy(to->signature, VHDX_LOG_SECTOR_SIGNATURE, VHDX_PART_SIGNATURE_BYTES);
	to->sequence_high = le32_of((uint32_t)(log->sequence >> 32));
	to->sequence_low = le32_of((uint32_t)log->sequence);
	memcpy(descriptor->signature, VHDX_LOG_DATA_SIGNATURE, VHDX_PART_SIGNATURE_BYTES);
	memcpy(descriptor->leading, data, sizeof(descriptor->leading));
	memcpy(descriptor->trailing, data + VHDX_LOG_SECTOR_BYTES - 4, 4);
}

static inline void vhdx_log_add(struct vhdx_log_maker *log, const struct vhdx_change *changes,
				unsigned int nr)
{
	const uint32_t before = (VHDX_LOG_HEADER_BYTES + nr * VHDX_LOG_DESCRIPTOR_BYTES +
				 VHDX_LOG_SECTOR_BYTES - 1) /
				VHDX_LOG_SECTOR_BYTES;
	struct vhdx_log_header *header = vhdx_log_header_at(log, log->at_sector);
	uint32_t used = before;

	for (uint32_t i = 0; i < before; i++)
		memset(vhdx_log_sector(log, log->at_sector + i), 0, VHDX_LOG_SECTOR_BYTES);
	for (unsigned int i = 0; i < nr; i++) {
		struct vhdx_log_descriptor *descriptor =
			vhdx_log_descriptor_at(log, log->at_sector, i);

		descriptor->offset = le64_of(changes[i].offset);
		descriptor->sequence = le64_of(log->sequence);
		if (changes[i].data) {
			vhdx_log_data(log, log->at_sector + used++, descriptor, changes[i].data);
			continue;
		}
		memcpy(descriptor->signature, VHDX_LOG_ZERO_SIGNATURE, VHDX_PART_SIGNATURE_BYTES);
		descriptor->zero_bytes = le64_of(changes[i].zero_bytes);
	}
	assert(used <= VHDX_TEST_LOG_SECTORS);
	memcpy(header->signature, VHDX_LOG_SIGNATURE, VHDX_PART_SIGNATURE_BYTES);
	header->nr_bytes = le32_of(used * VHDX_LOG_SECTOR_BYTES);
	header->tail = le32_of(log->tail_sector * VHDX_LOG_SECTOR_BYTES);
	header->sequence = le64_of(log->sequence);
	header->nr_descriptors = le32_of(nr);
	memcpy(header->log_id, log->log_id, sizeof(header->log_id));
	header->flushed_bytes = le64_of(log->flushed_bytes);
	header->last_bytes = le64_of(log->last_bytes);
	vhdx_log_mend(log, log->at_sector);
	log->last_sector = log->at_sector;
	log->at_sector = (log->at_sector + used) % VHDX_TEST_LOG_SECTORS;
	log->sequence++;
}

/* As vhdx_finish(), with the log in use. What it replaces is the caller's to write, or not. */
static inline void vhdx_finish_with_log(struct vhdx_image *image, const struct vhdx_log_maker *log)
{
	memcpy(image->header.log_id, log->log_id, sizeof(image->header.log_id));
	vhdx_write(image->fd, VHDX_TEST_LOG, log->bytes, sizeof(log->bytes));
	vhdx_write_head(image);
}

#endif
