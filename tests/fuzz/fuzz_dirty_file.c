/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: a dirty file that a dead daemon left. Input: its header, then
 * records, which go to the head of each area in turn; each one's CRC is made
 * right if its last reserved byte is odd. No keys.
 */
#include "fuzz.h"

#include "map/dirty_file.h"

static uint8_t memory[DIRTY_FILE_BYTES] __attribute__((aligned(4096)));

static void merge(void *arg, uint64_t first_sector, uint32_t nr_sectors, uint8_t entry)
{
	unsigned int *nr = arg;

	/* Whether they are sectors of the disk is the image's to judge. */
	(void)first_sector;
	(void)nr_sectors;
	(void)entry;
	++*nr;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr_bytes)
{
	struct dirty_header *header = (struct dirty_header *)memory;
	struct dirty_file file = { 0 };
	struct dirty_identity id;
	unsigned int nr = 0;
	size_t at;

	memset(memory, 0, sizeof(*header));
	at = fuzz_fill(header, sizeof(*header), bytes, nr_bytes);
	for (unsigned int i = 0; i < 32; i++) {
		struct dirty_record *record = (struct dirty_record *)(memory + sizeof(*header)) +
					      (i & 1) * DIRTY_AREA_RECORDS + i / 2;

		at += fuzz_fill(record, sizeof(*record), bytes + at, nr_bytes - at);
		if (record->reserved[2] & 1)
			record->crc = le32_of(
				crc32c(crc32c(0, header->open_nonce, sizeof(header->open_nonce)),
				       record, offsetof(struct dirty_record, crc)));
	}
	id = (struct dirty_identity){
		.uuid = header->uuid,
		.open_nonce = header->open_nonce,
		.boot_id = header->boot_id,
		.image_inode = le64_get(header->image_inode),
		.mac_key_id = le64_get(header->mac_key_id),
	};
	if (dirty_file_adopt(&file, memory, &id, NULL) < 0)
		return 0;
	dirty_file_replay(&file, merge, &nr);
	assert(nr <= 2 * DIRTY_AREA_RECORDS);
	return 0;
}
