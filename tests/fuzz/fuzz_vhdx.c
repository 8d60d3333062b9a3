/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: a VHDX's headers, log, region table, metadata, parent locator and
 * BAT, read one after the other as image/vhdx_file.c does. Input: a struct input,
 * as far as it goes, then the log.
 */
#include "fuzz.h"

#include "sealblk/limits.h"
#include "vhd/vhdx_bat.h"
#include "vhd/vhdx_guid.h"
#include "vhd/vhdx_header.h"
#include "vhd/vhdx_locator.h"
#include "vhd/vhdx_log.h"
#include "vhd/vhdx_metadata.h"

enum {
	HEADER_BYTES = 80,
	REGION_BYTES = 16 + 6 * 32,
	TABLE_BYTES = 32 + 8 * 32,
	ITEMS_BYTES = 1024,
	LOCATOR_AT = 64, /* in the items, wherever the table puts it */
	BAT_BYTES = 512,
	LOG_BYTES_MAX = 32 << 12,
	ENTRIES_MAX = 1 << 16,
	METADATA_BYTES = VHDX_METADATA_TABLE_BYTES + ITEMS_BYTES,
};

enum mend {
	MEND_HEADERS = 1,
	MEND_REGIONS = 2,
	MEND_LOG = 4,
};

struct input {
	uint8_t mend;
	le16 file_mib;
	uint8_t headers[VHDX_HEADERS][HEADER_BYTES];
	uint8_t regions[REGION_BYTES];
	uint8_t table[TABLE_BYTES];
	uint8_t items[ITEMS_BYTES]; /* behind the table's 64 KiB */
	uint8_t bat[BAT_BYTES];
};

/* The file, in pieces; what is between them is zeros. */
struct file {
	struct input input;
	uint64_t nr_bytes;
	uint8_t log[LOG_BYTES_MAX];
	size_t log_bytes;
	struct vhdx_info info;
	struct vhdx_overlay overlay;
	struct vhdx_regions regions;
	struct vhdx_metadata metadata;
	struct vhdx_layout layout;
};

static struct vhdx_problem problem;

static bool is_fine(int r)
{
	if (r == 0)
		return true;
	assert(problem.reason > VHDX_FINE && problem.reason < VHDX_REASONS);
	assert(vhdx_reason_words(problem.reason)->text);
	problem.reason = VHDX_FINE;
	return false;
}

/* Those of a structure whose checksum follows four bytes of a signature. */
static void mend(uint8_t *bytes, size_t nr_bytes)
{
	fuzz_mend_crc(bytes, nr_bytes, (le32 *)(bytes + VHDX_PART_SIGNATURE_BYTES));
}

static bool read_headers(struct file *file)
{
	static uint8_t headers[VHDX_HEADERS * VHDX_HEADER_BYTES];

	for (int i = 0; i < VHDX_HEADERS; i++) {
		uint8_t *header = headers + i * VHDX_HEADER_BYTES;

		fuzz_fill(header, VHDX_HEADER_BYTES, file->input.headers[i], HEADER_BYTES);
		if (file->input.mend & MEND_HEADERS)
			mend(header, VHDX_HEADER_BYTES);
	}
	return is_fine(vhdx_headers_decode(headers, file->nr_bytes, &file->info, &problem));
}

static void mend_log(struct file *file)
{
	for (size_t at = 0; at < file->log_bytes; at += VHDX_LOG_SECTOR_BYTES) {
		struct vhdx_log_header *header = (struct vhdx_log_header *)(file->log + at);
		const uint32_t nr_bytes = le32_get(header->nr_bytes);

		if (memcmp(header->signature, VHDX_LOG_SIGNATURE, 4) == 0 &&
		    nr_bytes >= sizeof(*header) && nr_bytes <= file->log_bytes - at)
			mend(file->log + at, nr_bytes);
	}
}

static bool replay_log(struct file *file)
{
	const struct vhdx_log log = {
		.bytes = file->log,
		.nr_bytes = file->log_bytes,
		.offset_bytes = file->info.log.offset_bytes,
		.log_id = file->info.log_id,
		.file_bytes = file->nr_bytes,
	};

	if (file->input.mend & MEND_LOG)
		mend_log(file);
	if (!file->info.needs_replay)
		return true;
	if (!is_fine(vhdx_log_replay(&log, &file->overlay, &problem)))
		return false;
	for (size_t i = 0; i < file->overlay.nr_updates; i++) {
		const struct vhdx_update *update = &file->overlay.updates[i];

		assert(update->offset_bytes >= VHDX_REGION_TABLE_OFFSET);
		assert(update->offset_bytes + update->nr_bytes <= file->overlay.end_bytes);
	}
	assert(file->overlay.end_bytes <= VHDX_FILE_BYTES_MAX);
	if (file->overlay.end_bytes > file->nr_bytes)
		file->nr_bytes = file->overlay.end_bytes;
	return true;
}

static bool read_regions(struct file *file)
{
	static uint8_t table[VHDX_REGION_TABLE_BYTES];

	fuzz_fill(table, sizeof(table), file->input.regions, REGION_BYTES);
	vhdx_overlay_patch(&file->overlay, VHDX_REGION_TABLE_OFFSET, table, sizeof(table));
	if (file->input.mend & MEND_REGIONS)
		mend(table, sizeof(table));
	return vhdx_region_table_is_sound(table) &&
	       is_fine(vhdx_regions_decode(table, VHDX_REGION_TABLE_OFFSET, &file->info,
					   file->nr_bytes, &file->regions, &problem));
}

static void read_parent(const struct file *file, const struct vhdx_items *items)
{
	static struct vhdx_parent parent;
	const size_t nr_bytes = items->of[VHDX_PARENT_LOCATOR].nr_bytes;
	uint8_t *bytes;

	if (!file->metadata.has_parent)
		return;
	assert(nr_bytes > 0 && nr_bytes <= VHDX_ITEM_BYTES_MAX);
	bytes = malloc(nr_bytes);
	assert(bytes);
	fuzz_fill(bytes, nr_bytes, file->input.items + LOCATOR_AT, ITEMS_BYTES - LOCATOR_AT);
	if (is_fine(vhdx_locator_decode(bytes, nr_bytes, 0, &parent, &problem))) {
		assert(memchr(parent.relative_path, 0, sizeof(parent.relative_path)));
		assert(memchr(parent.absolute_path, 0, sizeof(parent.absolute_path)));
	}
	free(bytes);
}

static bool read_metadata(struct file *file)
{
	static uint8_t bytes[METADATA_BYTES];
	const struct vhdx_place *region = &file->regions.metadata;
	struct vhdx_short_items short_items = { 0 };
	struct vhdx_items items;

	fuzz_fill(bytes, VHDX_METADATA_TABLE_BYTES, file->input.table, TABLE_BYTES);
	memcpy(bytes + VHDX_METADATA_TABLE_BYTES, file->input.items, ITEMS_BYTES);
	vhdx_overlay_patch(&file->overlay, region->offset_bytes, bytes, sizeof(bytes));
	if (!is_fine(vhdx_metadata_find(bytes, region, &items, &problem)))
		return false;
	for (unsigned int i = 0; i < VHDX_PARENT_LOCATOR; i++) {
		const uint64_t at = items.of[i].offset_bytes - region->offset_bytes;

		assert(items.of[i].nr_bytes <= VHDX_SHORT_ITEM_BYTES);
		assert(at + items.of[i].nr_bytes <= region->nr_bytes);
		if (at + items.of[i].nr_bytes <= sizeof(bytes))
			memcpy(short_items.bytes[i], bytes + at, items.of[i].nr_bytes);
	}
	if (!is_fine(vhdx_metadata_decode(&items, &short_items, &file->metadata, &problem)))
		return false;
	read_parent(file, &items);
	return true;
}

/* What layer_locate() relies on. */
static void expect_blocks(const struct file *file, const le64 *entries)
{
	for (uint32_t i = 0; i < file->layout.nr_blocks; i++) {
		const le64 entry = entries[vhdx_block_entry(&file->layout, i)];

		assert(vhdx_block_entry(&file->layout, i) < file->layout.nr_entries);
		if (vhdx_entry_state(entry) < VHDX_BLOCK_FULLY_PRESENT)
			continue;
		assert(vhdx_entry_offset(entry) >= VHDX_ALIGN_BYTES);
		assert(vhdx_entry_offset(entry) < file->nr_bytes);
		if (vhdx_entry_state(entry) == VHDX_BLOCK_FULLY_PRESENT)
			continue;
		assert(file->metadata.has_parent);
		assert(vhdx_bitmap_entry(&file->layout, i) < file->layout.nr_entries);
	}
}

static void judge_bat(struct file *file)
{
	const struct vhdx_place *region = &file->regions.bat;
	struct vhdx_bat bat = {
		.layout = &file->layout,
		.metadata = &file->metadata,
		.regions = &file->regions,
		.overlay = &file->overlay,
		.file_bytes = file->nr_bytes,
	};
	size_t nr_bytes;
	le64 *entries;

	if (!is_fine(vhdx_layout_of(&file->metadata, region, &file->layout, &problem)))
		return;
	nr_bytes = file->layout.nr_entries * sizeof(*entries);
	assert(nr_bytes <= region->nr_bytes && file->layout.nr_blocks <= VHDX_BLOCKS_MAX);
	if (file->layout.nr_entries > ENTRIES_MAX) /* it would only take long */
		return;
	entries = malloc(nr_bytes);
	assert(entries);
	fuzz_fill(entries, nr_bytes, file->input.bat, BAT_BYTES);
	vhdx_overlay_patch(&file->overlay, region->offset_bytes, (uint8_t *)entries, nr_bytes);
	bat.entries = entries;
	if (is_fine(vhdx_bat_check(&bat, &problem)))
		expect_blocks(file, entries);
	free(entries);
}

static void judge_text(const uint8_t *bytes, size_t nr_bytes)
{
	uint8_t guid[VHDX_GUID_BYTES], again[VHDX_GUID_BYTES];
	uint8_t bitmap[16];
	char text[UUID_TEXT_BYTES];

	if (nr_bytes < sizeof(bitmap))
		return;
	memcpy(bitmap, bytes, sizeof(bitmap));
	vhdx_bitmap_convert(bitmap, bytes[0] & 1 ? 512 : 4096, sizeof(bitmap));
	if (vhdx_guid_read((const char *)bytes, nr_bytes, guid) < 0)
		return;
	vhdx_guid_text(guid, text);
	assert(vhdx_guid_read(text, strlen(text), again) == 0 && vhdx_guid_is(guid, again));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr_bytes)
{
	static struct file file;
	size_t used;

	judge_text(bytes, nr_bytes);
	memset(&file, 0, sizeof(file));
	used = fuzz_fill(&file.input, sizeof(file.input), bytes, nr_bytes);
	file.nr_bytes = (1 + (uint64_t)le16_get(file.input.file_mib)) * MIB;
	file.log_bytes = round_up(nr_bytes - used, VHDX_LOG_SECTOR_BYTES);
	if (file.log_bytes == 0)
		file.log_bytes = VHDX_LOG_SECTOR_BYTES;
	if (file.log_bytes > sizeof(file.log))
		return 0;
	fuzz_fill(file.log, sizeof(file.log), bytes + used, nr_bytes - used);
	if (read_headers(&file) && replay_log(&file) && read_regions(&file) && read_metadata(&file))
		judge_bat(&file);
	vhdx_overlay_done(&file.overlay);
	return 0;
}
