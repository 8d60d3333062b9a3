/* SPDX-License-Identifier: MIT */
/* The metadata of a VHDX: see vhdx_metadata.h. */
#include "vhd/vhdx_metadata.h"

#include <string.h>

#include "base/cursor.h"
#include "sealblk/limits.h"
#include "vhd/vhdx_guid.h"

static const struct {
	uint8_t id[VHDX_GUID_BYTES];
	uint32_t nr_bytes; /* 0: differs */
	enum vhdx_reason missing;
} known[VHDX_ITEMS] = {
	[VHDX_FILE_PARAMETERS] = { VHDX_ITEM_FILE_PARAMETERS, 8, VHDX_NO_FILE_PARAMETERS },
	[VHDX_DISK_SIZE] = { VHDX_ITEM_DISK_SIZE, 8, VHDX_NO_DISK_SIZE },
	[VHDX_DISK_ID] = { VHDX_ITEM_DISK_ID, VHDX_GUID_BYTES, VHDX_NO_DISK_ID },
	[VHDX_LOGICAL_SECTOR] = { VHDX_ITEM_LOGICAL_SECTOR, 4, VHDX_NO_LOGICAL_SECTOR },
	[VHDX_PHYSICAL_SECTOR] = { VHDX_ITEM_PHYSICAL_SECTOR, 4, VHDX_NO_PHYSICAL_SECTOR },
	[VHDX_PARENT_LOCATOR] = { VHDX_ITEM_PARENT_LOCATOR, 0, VHDX_NO_PARENT_LOCATOR },
};

/* ---- the table ---- */

static struct vhdx_metadata_entry entry_of(const uint8_t *table, unsigned int number)
{
	struct vhdx_metadata_entry entry;

	memcpy(&entry, table + sizeof(struct vhdx_metadata_table) + number * sizeof(entry),
	       sizeof(entry));
	return entry;
}

static bool is_user(const struct vhdx_metadata_entry *entry)
{
	return le32_get(entry->flags) & VHDX_METADATA_USER;
}

/* Who it is, or VHDX_ITEMS: a user's, or one that is not known. */
static enum vhdx_item item_of(const struct vhdx_metadata_entry *entry)
{
	for (unsigned int i = 0; i < VHDX_ITEMS; i++)
		if (!is_user(entry) && vhdx_guid_is(entry->id, known[i].id))
			return (enum vhdx_item)i;
	return VHDX_ITEMS;
}

/* An item without bytes is nowhere. */
static bool is_placed(const struct vhdx_metadata_entry *entry, const struct vhdx_place *region)
{
	const uint64_t offset = le32_get(entry->offset), nr_bytes = le32_get(entry->nr_bytes);

	if (nr_bytes == 0)
		return offset == 0;
	return nr_bytes <= VHDX_ITEM_BYTES_MAX && offset >= VHDX_METADATA_TABLE_BYTES &&
	       offset + nr_bytes <= region->nr_bytes;
}

static bool overlap(const struct vhdx_metadata_entry *a, const struct vhdx_metadata_entry *b)
{
	const uint64_t at = le32_get(a->offset), other = le32_get(b->offset);

	return at < other + le32_get(b->nr_bytes) && other < at + le32_get(a->nr_bytes);
}

/* Entry @number, held against those before it; 2047 of them are 2 million pairs at most. */
static int check_entry(const uint8_t *table, unsigned int number, const struct vhdx_place *region,
		       uint64_t at_bytes, struct vhdx_problem *ret_problem)
{
	const struct vhdx_metadata_entry entry = entry_of(table, number);

	if (item_of(&entry) == VHDX_ITEMS && le32_get(entry.flags) & VHDX_METADATA_REQUIRED)
		return vhdx_refuse(ret_problem, VHDX_ITEM_UNKNOWN, at_bytes, 0);
	if (!is_placed(&entry, region))
		return vhdx_refuse(ret_problem, VHDX_ITEM_PLACE, at_bytes, le32_get(entry.offset));
	for (unsigned int i = 0; i < number; i++) {
		const struct vhdx_metadata_entry other = entry_of(table, i);

		if (is_user(&other) == is_user(&entry) && vhdx_guid_is(other.id, entry.id))
			return vhdx_refuse(ret_problem, VHDX_ITEM_TWICE, at_bytes, 0);
		if (overlap(&other, &entry))
			return vhdx_refuse(ret_problem, VHDX_ITEMS_OVERLAP, at_bytes, 0);
	}
	return 0;
}

static int take_entry(const uint8_t *table, unsigned int number, const struct vhdx_place *region,
		      struct vhdx_items *items, struct vhdx_problem *ret_problem)
{
	const struct vhdx_metadata_entry entry = entry_of(table, number);
	const uint64_t at_bytes =
		region->offset_bytes + sizeof(struct vhdx_metadata_table) + number * sizeof(entry);
	const enum vhdx_item item = item_of(&entry);
	int r = check_entry(table, number, region, at_bytes, ret_problem);

	if (r < 0 || item == VHDX_ITEMS)
		return r;
	if (known[item].nr_bytes > 0 && le32_get(entry.nr_bytes) != known[item].nr_bytes)
		return vhdx_refuse(ret_problem, VHDX_ITEM_LENGTH, at_bytes,
				   le32_get(entry.nr_bytes));
	items->of[item].offset_bytes = region->offset_bytes + le32_get(entry.offset);
	items->of[item].nr_bytes = le32_get(entry.nr_bytes);
	return 0;
}

int vhdx_metadata_find(const uint8_t bytes[VHDX_METADATA_TABLE_BYTES],
		       const struct vhdx_place *region, struct vhdx_items *ret_items,
		       struct vhdx_problem *ret_problem)
{
	struct vhdx_metadata_table table;
	struct vhdx_items items = { 0 };
	unsigned int nr_entries;
	int r = 0;

	memcpy(&table, bytes, sizeof(table));
	nr_entries = le16_get(table.nr_entries);
	if (memcmp(table.signature, VHDX_METADATA_SIGNATURE, sizeof(table.signature)) != 0)
		return vhdx_refuse(ret_problem, VHDX_NO_TABLE, region->offset_bytes, 0);
	if (nr_entries > VHDX_METADATA_ENTRIES_MAX)
		return vhdx_refuse(ret_problem, VHDX_TOO_MANY_ITEMS,
				   region->offset_bytes +
					   offsetof(struct vhdx_metadata_table, nr_entries),
				   nr_entries);
	for (unsigned int i = 0; i < nr_entries && r == 0; i++)
		r = take_entry(bytes, i, region, &items, ret_problem);
	for (unsigned int i = 0; i < VHDX_PARENT_LOCATOR && r == 0; i++)
		if (items.of[i].nr_bytes == 0)
			r = vhdx_refuse(ret_problem, known[i].missing, region->offset_bytes, 0);
	if (r < 0)
		return r;
	*ret_items = items;
	return 0;
}

/* ---- the items ---- */

static bool is_sector_size(uint32_t nr_bytes)
{
	return nr_bytes == 512 || nr_bytes == 4096;
}

static bool is_block_size(uint32_t nr_bytes)
{
	return nr_bytes >= VHDX_BLOCK_BYTES_MIN && nr_bytes <= VHDX_BLOCK_BYTES_MAX &&
	       (nr_bytes & (nr_bytes - 1)) == 0;
}

static uint32_t read_u32(const struct vhdx_short_items *items, enum vhdx_item item)
{
	struct cursor c = cursor_of(items->bytes[item], VHDX_SHORT_ITEM_BYTES);

	return cursor_le32(&c);
}

static int check_sizes(const struct vhdx_items *items, const struct vhdx_metadata *metadata,
		       struct vhdx_problem *ret_problem)
{
	if (!is_block_size(metadata->block_bytes))
		return vhdx_refuse(ret_problem, VHDX_BAD_BLOCK_SIZE,
				   items->of[VHDX_FILE_PARAMETERS].offset_bytes,
				   metadata->block_bytes);
	if (!is_sector_size(metadata->logical_bytes))
		return vhdx_refuse(ret_problem, VHDX_BAD_LOGICAL_SECTOR,
				   items->of[VHDX_LOGICAL_SECTOR].offset_bytes,
				   metadata->logical_bytes);
	if (!is_sector_size(metadata->physical_bytes))
		return vhdx_refuse(ret_problem, VHDX_BAD_PHYSICAL_SECTOR,
				   items->of[VHDX_PHYSICAL_SECTOR].offset_bytes,
				   metadata->physical_bytes);
	if (metadata->disk_bytes == 0 || metadata->disk_bytes > DISK_BYTES_MAX ||
	    metadata->disk_bytes % metadata->logical_bytes != 0)
		return vhdx_refuse(ret_problem, VHDX_BAD_DISK_SIZE,
				   items->of[VHDX_DISK_SIZE].offset_bytes, metadata->disk_bytes);
	if (metadata->has_parent && items->of[VHDX_PARENT_LOCATOR].nr_bytes == 0)
		return vhdx_refuse(ret_problem, VHDX_NO_PARENT_LOCATOR,
				   items->of[VHDX_FILE_PARAMETERS].offset_bytes, 0);
	return 0;
}

int vhdx_metadata_decode(const struct vhdx_items *items, const struct vhdx_short_items *bytes,
			 struct vhdx_metadata *ret_metadata, struct vhdx_problem *ret_problem)
{
	struct cursor size = cursor_of(bytes->bytes[VHDX_DISK_SIZE], VHDX_SHORT_ITEM_BYTES);
	struct vhdx_file_parameters parameters;
	struct vhdx_metadata metadata;
	uint32_t flags;
	int r;

	memcpy(&parameters, bytes->bytes[VHDX_FILE_PARAMETERS], sizeof(parameters));
	flags = le32_get(parameters.flags);
	metadata = (struct vhdx_metadata){
		.disk_bytes = cursor_le64(&size),
		.block_bytes = le32_get(parameters.block_bytes),
		.logical_bytes = read_u32(bytes, VHDX_LOGICAL_SECTOR),
		.physical_bytes = read_u32(bytes, VHDX_PHYSICAL_SECTOR),
		.has_parent = flags & VHDX_HAS_PARENT,
		.is_fixed = (flags & (VHDX_HAS_PARENT | VHDX_LEAVE_ALLOCATED)) ==
			    VHDX_LEAVE_ALLOCATED,
	};
	memcpy(metadata.disk_id, bytes->bytes[VHDX_DISK_ID], sizeof(metadata.disk_id));
	r = check_sizes(items, &metadata, ret_problem);
	if (r < 0)
		return r;
	*ret_metadata = metadata;
	return 0;
}
