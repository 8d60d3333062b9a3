/* SPDX-License-Identifier: MIT */
/* An entry of the log: see vhdx_log_entry.h. */
#include "vhd/vhdx_log_entry.h"

#include <string.h>

#include "base/crc32c.h"
#include "sealblk/limits.h"
#include "vhd/vhdx_guid.h"

/* ---- the ring ---- */

static uint32_t nr_sectors_of(const struct vhdx_log *log)
{
	return (uint32_t)(log->nr_bytes / VHDX_LOG_SECTOR_BYTES);
}

const uint8_t *vhdx_log_entry_sector(const struct vhdx_log *log, uint32_t first, uint32_t number)
{
	return log->bytes + (size_t)((first + number) % nr_sectors_of(log)) * VHDX_LOG_SECTOR_BYTES;
}

struct vhdx_log_header vhdx_log_entry_header(const struct vhdx_log *log, uint32_t first)
{
	struct vhdx_log_header header;

	memcpy(&header, vhdx_log_entry_sector(log, first, 0), sizeof(header));
	return header;
}

/* They follow the header, which is as long as two of them, and never cross a sector. */
struct vhdx_log_descriptor vhdx_log_entry_descriptor(const struct vhdx_log *log, uint32_t first,
						     uint32_t number)
{
	const size_t at = VHDX_LOG_HEADER_BYTES + (size_t)number * VHDX_LOG_DESCRIPTOR_BYTES;
	struct vhdx_log_descriptor descriptor;

	memcpy(&descriptor,
	       vhdx_log_entry_sector(log, first, (uint32_t)(at / VHDX_LOG_SECTOR_BYTES)) +
		       at % VHDX_LOG_SECTOR_BYTES,
	       sizeof(descriptor));
	return descriptor;
}

uint32_t vhdx_log_entry_descriptor_sectors(uint32_t nr_descriptors)
{
	const uint64_t bytes =
		VHDX_LOG_HEADER_BYTES + (uint64_t)nr_descriptors * VHDX_LOG_DESCRIPTOR_BYTES;

	return (uint32_t)((bytes + VHDX_LOG_SECTOR_BYTES - 1) / VHDX_LOG_SECTOR_BYTES);
}

bool vhdx_log_descriptor_is_data(const struct vhdx_log_descriptor *descriptor)
{
	return memcmp(descriptor->signature, VHDX_LOG_DATA_SIGNATURE,
		      sizeof(descriptor->signature)) == 0;
}

uint64_t vhdx_log_descriptor_bytes(const struct vhdx_log_descriptor *descriptor)
{
	return vhdx_log_descriptor_is_data(descriptor) ? VHDX_LOG_SECTOR_BYTES
						       : le64_get(descriptor->zero_bytes);
}

/* ---- is an entry sound? ---- */

static uint32_t checksum_of(const struct vhdx_log *log, uint32_t first, uint32_t nr_sectors)
{
	struct vhdx_log_header header = vhdx_log_entry_header(log, first);
	uint32_t crc;

	header.checksum = le32_of(0);
	crc = crc32c(0, &header, sizeof(header));
	crc = crc32c(crc, vhdx_log_entry_sector(log, first, 0) + sizeof(header),
		     VHDX_LOG_SECTOR_BYTES - sizeof(header));
	for (uint32_t i = 1; i < nr_sectors; i++)
		crc = crc32c(crc, vhdx_log_entry_sector(log, first, i), VHDX_LOG_SECTOR_BYTES);
	return crc;
}

static bool descriptor_is_sound(const struct vhdx_log_descriptor *descriptor, uint64_t sequence)
{
	const uint64_t offset = le64_get(descriptor->offset);

	if (!vhdx_log_descriptor_is_data(descriptor) &&
	    memcmp(descriptor->signature, VHDX_LOG_ZERO_SIGNATURE, sizeof(descriptor->signature)) !=
		    0)
		return false;
	return le64_get(descriptor->sequence) == sequence && offset % VHDX_LOG_SECTOR_BYTES == 0 &&
	       vhdx_log_descriptor_bytes(descriptor) % VHDX_LOG_SECTOR_BYTES == 0 &&
	       offset <= VHDX_FILE_BYTES_MAX &&
	       vhdx_log_descriptor_bytes(descriptor) <= VHDX_FILE_BYTES_MAX - offset;
}

static bool data_sector_is_sound(const uint8_t *bytes, uint64_t sequence)
{
	struct vhdx_log_sector sector;

	memcpy(&sector, bytes, sizeof(sector));
	return memcmp(sector.signature, VHDX_LOG_SECTOR_SIGNATURE, sizeof(sector.signature)) == 0 &&
	       le32_get(sector.sequence_high) == (uint32_t)(sequence >> 32) &&
	       le32_get(sector.sequence_low) == (uint32_t)sequence;
}

/*
 * The parts of an entry but its header. Each sector has a signature that tells
 * what it is, so that no two entries claim the same one: all entries together
 * are looked at in time in proportion to the log.
 */
static int check_parts(const struct vhdx_log *log, uint32_t first,
		       const struct vhdx_log_entry *entry, uint64_t at_bytes,
		       struct vhdx_problem *ret_problem)
{
	const uint32_t before_data = vhdx_log_entry_descriptor_sectors(entry->nr_descriptors);
	uint32_t nr_data = 0;

	for (uint32_t i = 0; i < entry->nr_descriptors; i++) {
		const struct vhdx_log_descriptor descriptor =
			vhdx_log_entry_descriptor(log, first, i);

		if (!descriptor_is_sound(&descriptor, entry->sequence))
			return vhdx_refuse(ret_problem, VHDX_LOG_BAD_DESCRIPTOR, at_bytes, i);
		nr_data += vhdx_log_descriptor_is_data(&descriptor);
	}
	if (before_data + nr_data != entry->nr_sectors)
		return vhdx_refuse(ret_problem, VHDX_LOG_BAD_COUNT, at_bytes,
				   entry->nr_descriptors);
	for (uint32_t i = 0; i < nr_data; i++)
		if (!data_sector_is_sound(vhdx_log_entry_sector(log, first, before_data + i),
					  entry->sequence))
			return vhdx_refuse(ret_problem, VHDX_LOG_TORN, at_bytes, i);
	return 0;
}

static int check_header(const struct vhdx_log *log, const struct vhdx_log_header *header,
			uint64_t at_bytes, struct vhdx_problem *ret_problem)
{
	const size_t log_bytes = log->nr_bytes;
	const uint32_t nr_bytes = le32_get(header->nr_bytes), tail = le32_get(header->tail);
	const uint32_t nr_descriptors = le32_get(header->nr_descriptors);

	if (!vhdx_guid_is(header->log_id, log->log_id))
		return vhdx_refuse(ret_problem, VHDX_LOG_OTHER_ID,
				   at_bytes + offsetof(struct vhdx_log_header, log_id), 0);
	if (nr_bytes == 0 || nr_bytes % VHDX_LOG_SECTOR_BYTES != 0 || nr_bytes > log_bytes)
		return vhdx_refuse(ret_problem, VHDX_LOG_BAD_LENGTH,
				   at_bytes + offsetof(struct vhdx_log_header, nr_bytes), nr_bytes);
	if (le64_get(header->sequence) == 0)
		return vhdx_refuse(ret_problem, VHDX_LOG_BAD_SEQUENCE,
				   at_bytes + offsetof(struct vhdx_log_header, sequence), 0);
	if (tail % VHDX_LOG_SECTOR_BYTES != 0 || tail >= log_bytes)
		return vhdx_refuse(ret_problem, VHDX_LOG_BAD_TAIL,
				   at_bytes + offsetof(struct vhdx_log_header, tail), tail);
	if (nr_descriptors > log_bytes / VHDX_LOG_DESCRIPTOR_BYTES ||
	    vhdx_log_entry_descriptor_sectors(nr_descriptors) > nr_bytes / VHDX_LOG_SECTOR_BYTES)
		return vhdx_refuse(ret_problem, VHDX_LOG_BAD_COUNT,
				   at_bytes + offsetof(struct vhdx_log_header, nr_descriptors),
				   nr_descriptors);
	return 0;
}

int vhdx_log_entry_check(const struct vhdx_log *log, uint32_t first,
			 struct vhdx_log_entry *ret_entry, struct vhdx_problem *ret_problem)
{
	const uint64_t at_bytes = log->offset_bytes + (uint64_t)first * VHDX_LOG_SECTOR_BYTES;
	const struct vhdx_log_header header = vhdx_log_entry_header(log, first);
	struct vhdx_log_entry entry;
	uint32_t computed;
	int r = check_header(log, &header, at_bytes, ret_problem);

	if (r < 0)
		return r;
	entry = (struct vhdx_log_entry){
		.nr_sectors = le32_get(header.nr_bytes) / VHDX_LOG_SECTOR_BYTES,
		.nr_descriptors = le32_get(header.nr_descriptors),
		.tail_sector = le32_get(header.tail) / VHDX_LOG_SECTOR_BYTES,
		.sequence = le64_get(header.sequence),
	};
	r = check_parts(log, first, &entry, at_bytes, ret_problem);
	if (r < 0)
		return r;
	computed = checksum_of(log, first, entry.nr_sectors);
	if (computed != le32_get(header.checksum))
		return vhdx_refuse(ret_problem, VHDX_LOG_BAD_CHECKSUM,
				   at_bytes + offsetof(struct vhdx_log_header, checksum), computed);
	*ret_entry = entry;
	return 0;
}
