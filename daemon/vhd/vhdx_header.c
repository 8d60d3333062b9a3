/* SPDX-License-Identifier: MIT */
/* The first MiB of a VHDX: see vhdx_header.h. */
#include "vhd/vhdx_header.h"

#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "sealblk/limits.h"
#include "vhd/vhdx_guid.h"

bool vhdx_has_signature(const void *bytes, size_t nr_bytes)
{
	return nr_bytes >= VHDX_SIGNATURE_BYTES &&
	       memcmp(bytes, VHDX_SIGNATURE, VHDX_SIGNATURE_BYTES) == 0;
}

/* CRC32C of a structure that begins with a signature and its checksum. */
static uint32_t checksum_of(const uint8_t *bytes, size_t nr_bytes)
{
	static const uint8_t no_checksum[4];
	const size_t rest = VHDX_PART_SIGNATURE_BYTES + sizeof(no_checksum);
	uint32_t crc = crc32c(0, bytes, VHDX_PART_SIGNATURE_BYTES);

	crc = crc32c(crc, no_checksum, sizeof(no_checksum));
	return crc32c(crc, bytes + rest, nr_bytes - rest);
}

/* ---- headers ---- */

static bool header_is_sound(const struct vhdx_header *header)
{
	return memcmp(header->signature, VHDX_HEADER_SIGNATURE, sizeof(header->signature)) == 0 &&
	       le32_get(header->checksum) == checksum_of((const uint8_t *)header, sizeof(*header));
}

static uint64_t header_offset(unsigned int number)
{
	return (uint64_t)(number + 1) * VHDX_HEADER_OFFSET;
}

/* Which header counts? */
static int choose(const struct vhdx_header headers[VHDX_HEADERS], unsigned int *ret_number,
		  unsigned int *ret_nr_sound, struct vhdx_problem *ret_problem)
{
	const bool first = header_is_sound(&headers[0]), second = header_is_sound(&headers[1]);
	const uint64_t a = le64_get(headers[0].sequence), b = le64_get(headers[1].sequence);

	if (!first && !second)
		return vhdx_refuse(ret_problem, VHDX_NO_HEADER, header_offset(0), 0);
	if (first && second && a == b && memcmp(&headers[0], &headers[1], sizeof(headers[0])) != 0)
		return vhdx_refuse(ret_problem, VHDX_HEADERS_DIFFER, header_offset(0), a);
	*ret_number = !first || (second && b > a);
	*ret_nr_sound = (unsigned int)first + second;
	return 0;
}

static bool is_place(const struct vhdx_place *place)
{
	return place->offset_bytes >= VHDX_ALIGN_BYTES &&
	       place->offset_bytes % VHDX_ALIGN_BYTES == 0 &&
	       place->offset_bytes <= VHDX_FILE_BYTES_MAX && place->nr_bytes > 0 &&
	       place->nr_bytes % VHDX_ALIGN_BYTES == 0;
}

static bool is_inside(const struct vhdx_place *place, uint64_t file_bytes)
{
	return place->offset_bytes <= file_bytes &&
	       place->nr_bytes <= file_bytes - place->offset_bytes;
}

static int check_header(const struct vhdx_header *header, const struct vhdx_info *info,
			uint64_t file_bytes, struct vhdx_problem *ret_problem)
{
	uint16_t version = le16_get(header->version), log_version = le16_get(header->log_version);

	if (version != VHDX_VERSION)
		return vhdx_refuse(ret_problem, VHDX_BAD_VERSION,
				   info->at_bytes + offsetof(struct vhdx_header, version), version);
	if (!info->needs_replay)
		return 0;
	if (log_version != VHDX_LOG_VERSION)
		return vhdx_refuse(ret_problem, VHDX_BAD_LOG_VERSION,
				   info->at_bytes + offsetof(struct vhdx_header, log_version),
				   log_version);
	if (!is_place(&info->log) || !is_inside(&info->log, file_bytes))
		return vhdx_refuse(ret_problem, VHDX_LOG_PLACE,
				   info->at_bytes + offsetof(struct vhdx_header, log_offset),
				   info->log.offset_bytes);
	if (info->log.nr_bytes > VHDX_LOG_BYTES_MAX)
		return vhdx_refuse(ret_problem, VHDX_LOG_TOO_LONG,
				   info->at_bytes + offsetof(struct vhdx_header, log_bytes),
				   info->log.nr_bytes);
	return 0;
}

int vhdx_headers_decode(const uint8_t bytes[VHDX_HEADERS * VHDX_HEADER_BYTES], uint64_t file_bytes,
			struct vhdx_info *ret_info, struct vhdx_problem *ret_problem)
{
	struct vhdx_header headers[VHDX_HEADERS];
	const struct vhdx_header *header;
	unsigned int number = 0, nr_sound = 0;
	struct vhdx_info info = { 0 };
	int r;

	memcpy(headers, bytes, sizeof(headers));
	r = choose(headers, &number, &nr_sound, ret_problem);
	if (r < 0)
		return r;
	header = &headers[number];
	info.sequence = le64_get(header->sequence);
	info.at_bytes = header_offset(number);
	info.nr_sound = nr_sound;
	memcpy(info.file_write_id, header->file_write_id, sizeof(info.file_write_id));
	memcpy(info.data_write_id, header->data_write_id, sizeof(info.data_write_id));
	memcpy(info.log_id, header->log_id, sizeof(info.log_id));
	info.needs_replay = !vhdx_guid_is_zero(info.log_id);
	info.log.offset_bytes = le64_get(header->log_offset);
	info.log.nr_bytes = le32_get(header->log_bytes);
	r = check_header(header, &info, file_bytes, ret_problem);
	if (r < 0)
		return r;
	*ret_info = info;
	return 0;
}

/* ---- regions ---- */

bool vhdx_region_table_is_sound(const uint8_t bytes[VHDX_REGION_TABLE_BYTES])
{
	struct vhdx_region_table table;

	memcpy(&table, bytes, sizeof(table));
	return memcmp(table.signature, VHDX_REGION_SIGNATURE, sizeof(table.signature)) == 0 &&
	       le32_get(table.checksum) == checksum_of(bytes, VHDX_REGION_TABLE_BYTES);
}

static struct vhdx_region_entry entry_of(const uint8_t *bytes, unsigned int number)
{
	struct vhdx_region_entry entry;

	memcpy(&entry, bytes + sizeof(struct vhdx_region_table) + number * sizeof(entry),
	       sizeof(entry));
	return entry;
}

static uint64_t entry_offset(uint64_t at_bytes, unsigned int number)
{
	return at_bytes + sizeof(struct vhdx_region_table) +
	       number * sizeof(struct vhdx_region_entry);
}

/* An entry of the table; the caller knows where it is. */
static int take_region(const struct vhdx_region_entry *entry, uint64_t at_bytes,
		       uint64_t file_bytes, struct vhdx_regions *regions,
		       struct vhdx_problem *ret_problem)
{
	static const uint8_t bat_id[] = VHDX_REGION_BAT, metadata_id[] = VHDX_REGION_METADATA;
	const struct vhdx_place place = { le64_get(entry->offset), le32_get(entry->nr_bytes) };
	struct vhdx_place *known = vhdx_guid_is(entry->id, bat_id)	  ? &regions->bat
				   : vhdx_guid_is(entry->id, metadata_id) ? &regions->metadata
									  : NULL;

	if (!known && le32_get(entry->required) & 1)
		return vhdx_refuse(ret_problem, VHDX_REGION_UNKNOWN, at_bytes, 0);
	if (!is_place(&place))
		return vhdx_refuse(ret_problem, VHDX_REGION_PLACE, at_bytes, place.offset_bytes);
	if (known && known->nr_bytes > 0)
		return vhdx_refuse(ret_problem, VHDX_REGION_TWICE, at_bytes, 0);
	if (known && !is_inside(&place, file_bytes))
		return vhdx_refuse(ret_problem, VHDX_REGION_OUTSIDE, at_bytes, place.offset_bytes);
	if (known)
		*known = place;
	regions->places[regions->nr_places++] = place;
	return 0;
}

static int by_offset(const void *a, const void *b)
{
	const struct vhdx_place *x = a, *y = b;

	return (x->offset_bytes > y->offset_bytes) - (x->offset_bytes < y->offset_bytes);
}

static int check_overlaps(struct vhdx_regions *regions, uint64_t at_bytes,
			  struct vhdx_problem *ret_problem)
{
	struct vhdx_place *places = regions->places;

	qsort(places, regions->nr_places, sizeof(*places), by_offset);
	for (unsigned int i = 1; i < regions->nr_places; i++)
		if (places[i - 1].offset_bytes + places[i - 1].nr_bytes > places[i].offset_bytes)
			return vhdx_refuse(ret_problem, VHDX_REGIONS_OVERLAP, at_bytes,
					   places[i].offset_bytes);
	return 0;
}

int vhdx_regions_decode(const uint8_t bytes[VHDX_REGION_TABLE_BYTES], uint64_t at_bytes,
			const struct vhdx_info *info, uint64_t file_bytes,
			struct vhdx_regions *regions, struct vhdx_problem *ret_problem)
{
	struct vhdx_region_table table;
	uint32_t nr_entries;
	int r = 0;

	memcpy(&table, bytes, sizeof(table));
	nr_entries = le32_get(table.nr_entries);
	memset(regions, 0, sizeof(*regions));
	if (nr_entries > VHDX_REGIONS_MAX)
		return vhdx_refuse(ret_problem, VHDX_TOO_MANY_REGIONS,
				   at_bytes + offsetof(struct vhdx_region_table, nr_entries),
				   nr_entries);
	for (unsigned int i = 0; i < nr_entries && r == 0; i++) {
		const struct vhdx_region_entry entry = entry_of(bytes, i);

		r = take_region(&entry, entry_offset(at_bytes, i), file_bytes, regions,
				ret_problem);
	}
	if (r < 0)
		return r;
	if (regions->bat.nr_bytes == 0)
		return vhdx_refuse(ret_problem, VHDX_NO_BAT, at_bytes, 0);
	if (regions->metadata.nr_bytes == 0)
		return vhdx_refuse(ret_problem, VHDX_NO_METADATA, at_bytes, 0);
	/* A log that is not in use may be anywhere, or nowhere. */
	if (is_place(&info->log))
		regions->places[regions->nr_places++] = info->log;
	return check_overlaps(regions, at_bytes, ret_problem);
}
