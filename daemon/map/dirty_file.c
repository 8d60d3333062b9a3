/* SPDX-License-Identifier: MIT */
/* Records of the dirty file: see dirty_file.h and docs/format.md 7. */
#include "map/dirty_file.h"

#include <errno.h>
#include <string.h>

#include "base/crc32c.h"

static void point_into(struct dirty_file *file, void *memory, const struct dirty_identity *id)
{
	*file = (struct dirty_file){ .header = memory, .seq = 1 };
	file->records[0] = (void *)((uint8_t *)memory + sizeof(struct dirty_header));
	file->records[1] = file->records[0] + DIRTY_AREA_RECORDS;
	file->seed = crc32c(0, id->open_nonce, SEAL_NONCE_BYTES);
}

static int compute_mac(const struct dirty_header *header, struct mac_ctx *mac,
		       uint8_t ret_mac[MAC_BYTES])
{
	uint8_t bytes[offsetof(struct dirty_header, mac)];

	memcpy(bytes, header, sizeof(bytes));
	return mac_compute(mac, bytes, sizeof(bytes), ret_mac);
}

int dirty_file_format(struct dirty_file *file, void *memory, const struct dirty_identity *id,
		      struct mac_ctx *mac)
{
	struct dirty_header *header = memory;
	int r;

	memset(header, 0, sizeof(*header));
	memcpy(header->magic, DIRTY_FILE_MAGIC, sizeof(header->magic));
	memcpy(header->uuid, id->uuid, sizeof(header->uuid));
	memcpy(header->open_nonce, id->open_nonce, sizeof(header->open_nonce));
	memcpy(header->boot_id, id->boot_id, sizeof(header->boot_id));
	header->image_inode = le64_of(id->image_inode);
	header->mac_key_id = le64_of(id->mac_key_id);
	r = compute_mac(header, mac, header->mac);
	if (r < 0)
		return r;
	point_into(file, memory, id);
	file->nr_backed = DIRTY_BACKED_RECORDS;
	header->nr_backed = file->nr_backed;
	header->area_seq[0] = file->seq;
	return 0;
}

int dirty_file_adopt(struct dirty_file *file, void *memory, const struct dirty_identity *id,
		     struct mac_ctx *mac)
{
	const struct dirty_header *header = memory;
	const uint64_t nr_backed = header->nr_backed;
	uint8_t tag[MAC_BYTES];
	int r;

	if (memcmp(header->magic, DIRTY_FILE_MAGIC, sizeof(header->magic)) != 0 ||
	    memcmp(header->uuid, id->uuid, sizeof(header->uuid)) != 0 ||
	    memcmp(header->open_nonce, id->open_nonce, sizeof(header->open_nonce)) != 0 ||
	    memcmp(header->boot_id, id->boot_id, sizeof(header->boot_id)) != 0 ||
	    le64_get(header->image_inode) != id->image_inode ||
	    le64_get(header->mac_key_id) != id->mac_key_id)
		return -EBADMSG;
	r = mac ? compute_mac(header, mac, tag) : 0;
	if (r < 0)
		return r;
	if (mac && !mac_equal(tag, header->mac))
		return -EBADMSG;
	if (header->is_void)
		return -ESTALE;
	point_into(file, memory, id);
	file->nr_backed = nr_backed == 0 ? DIRTY_AREA_RECORDS
					 : (uint32_t)min_u64(nr_backed, DIRTY_AREA_RECORDS);
	return 0;
}

/* Both areas to twice what they have. Returns false when they stay as they are. */
static bool grow(struct dirty_file *file)
{
	const size_t nr_bytes = file->nr_backed * sizeof(struct dirty_record);
	int r = 0;

	if (file->is_stuck || file->nr_backed >= DIRTY_AREA_RECORDS)
		return false;
	for (unsigned int area = 0; area < 2 && file->grow && r == 0; area++) {
		const uint8_t *end = (const uint8_t *)file->records[area] + nr_bytes;

		r = file->grow(file->grow_arg, (size_t)(end - (const uint8_t *)file->header),
			       nr_bytes);
	}
	file->is_stuck = r < 0;
	if (r < 0)
		return false;
	/* In the header first: whoever merges the file looks no further than that. */
	file->header->nr_backed = 2 * (uint64_t)file->nr_backed;
	file->nr_backed *= 2;
	return true;
}
_Static_assert(DIRTY_AREA_RECORDS % DIRTY_BACKED_RECORDS == 0 &&
		       (DIRTY_AREA_RECORDS / DIRTY_BACKED_RECORDS &
			(DIRTY_AREA_RECORDS / DIRTY_BACKED_RECORDS - 1)) == 0,
	       "doubled, the first part becomes the whole");

static uint32_t nr_taken(const struct dirty_file *file)
{
	return file->nr_records + file->nr_reserved;
}

bool dirty_file_has_room(struct dirty_file *file, uint32_t nr)
{
	while (nr_taken(file) + nr > file->nr_backed)
		if (!grow(file))
			return false;
	return true;
}

bool dirty_file_is_filling(struct dirty_file *file)
{
	while (nr_taken(file) >= file->nr_backed / 4 * 3)
		if (!grow(file))
			return true;
	return false;
}

static uint32_t record_crc(const struct dirty_file *file, const struct dirty_record *record)
{
	return crc32c(file->seed, record, offsetof(struct dirty_record, crc));
}

void dirty_file_add(struct dirty_file *file, uint64_t first_sector, uint32_t nr_sectors,
		    uint8_t entry)
{
	struct dirty_record record = {
		.first_sector = le64_of(first_sector),
		.nr_sectors = le32_of(nr_sectors),
		.entry = entry,
		.area_seq = le64_of(file->seq),
		.number = le32_of(file->nr_records),
	};

	assert(file->nr_records < file->nr_backed);
	record.crc = le32_of(record_crc(file, &record));
	memcpy(&file->records[file->area][file->nr_records++], &record, sizeof(record));
	/* The reply that follows must not overtake the record. */
	atomic_signal_fence(memory_order_seq_cst);
}

void dirty_file_freeze(struct dirty_file *file)
{
	unsigned int other = !file->area;

	assert(file->header->area_seq[other] == 0);
	file->area = other;
	file->nr_records = 0;
	file->is_stuck = false;
	file->seq++;
	file->header->area_seq[other] = file->seq;
}

void dirty_file_clear_frozen(struct dirty_file *file)
{
	file->header->area_seq[!file->area] = 0;
}

void dirty_file_void(struct dirty_file *file)
{
	if (file->header)
		file->header->is_void = 1;
}

static bool record_counts(const struct dirty_file *file, const struct dirty_record *record,
			  uint64_t seq, uint32_t number)
{
	return le64_get(record->area_seq) == seq && le32_get(record->number) == number &&
	       le32_get(record->crc) == record_crc(file, record);
}

void dirty_file_replay(const struct dirty_file *file,
		       void (*merge)(void *arg, uint64_t first_sector, uint32_t nr_sectors,
				     uint8_t entry),
		       void *arg)
{
	uint64_t seq[2] = { file->header->area_seq[0], file->header->area_seq[1] };
	unsigned int older = seq[1] < seq[0];

	for (unsigned int turn = 0; turn < 2; turn++) {
		unsigned int area = turn == 0 ? older : !older;
		const struct dirty_record *records = file->records[area];

		if (seq[area] == 0)
			continue;
		for (uint32_t i = 0; i < file->nr_backed; i++) {
			if (!record_counts(file, &records[i], seq[area], i))
				break;
			merge(arg, le64_get(records[i].first_sector),
			      le32_get(records[i].nr_sectors), records[i].entry);
		}
	}
}
