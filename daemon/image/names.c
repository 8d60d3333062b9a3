/* SPDX-License-Identifier: MIT */
/* The name/value area: see names.h. */
#include "image/names.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/crc32c.h"
#include "sealblk/limits.h"

enum { RECORD_HEADER_BYTES = 6 };

_Static_assert(NAMES_NAME_BYTES_MAX <= UINT16_MAX, "the length of a name is 16 bits");
_Static_assert(NAMES_VALUE_BYTES_MAX >= (int)PATH_BYTES_MAX, "a path fits");
_Static_assert(sizeof(((struct seal_names *)0)->mac) == MAC_BYTES, "one MAC");

/* The CRC covers the whole area, its own field taken as zero. */
static uint32_t area_crc(const struct seal_names *names)
{
	static const uint8_t no_crc[sizeof(names->crc)];
	size_t before = offsetof(struct seal_names, crc);
	size_t after = before + sizeof(no_crc);
	uint32_t crc = crc32c(0, names, before);

	crc = crc32c(crc, no_crc, sizeof(no_crc));
	return crc32c(crc, (const uint8_t *)names + after, sizeof(*names) - after);
}

/* The MAC is taken with its own field and the CRC as zeros: of a copy, 32 KiB on the stack. */
static int area_mac(const struct seal_names *names, struct mac_ctx *mac, uint8_t ret_mac[MAC_BYTES])
{
	struct seal_names blank = *names;

	memset(&blank.crc, 0, sizeof(blank.crc));
	memset(blank.mac, 0, sizeof(blank.mac));
	return mac_compute(mac, &blank, sizeof(blank), ret_mac);
}

/* The next record as it lies there. False at the end and, with next->overrun set, at a torn one. */
static bool take_record(struct cursor *next, struct names_record *ret_record)
{
	struct names_record record;

	if (next->left_bytes == 0)
		return false;
	record.name_bytes = cursor_le16(next);
	record.value_bytes = cursor_le32(next);
	record.name = (const char *)cursor_take(next, record.name_bytes);
	record.value = cursor_take(next, record.value_bytes);
	if (next->overrun)
		return false;

	*ret_record = record;
	return true;
}

static bool record_is_sound(const struct names_record *record)
{
	return record->name_bytes > 0 && record->name_bytes <= NAMES_NAME_BYTES_MAX &&
	       record->value_bytes <= NAMES_VALUE_BYTES_MAX &&
	       !memchr(record->name, 0, record->name_bytes);
}

bool names_next(struct cursor *next, struct names_record *ret_record)
{
	struct cursor at = *next;
	struct names_record record;

	if (!take_record(&at, &record) || !record_is_sound(&record))
		return false;
	*next = at;
	*ret_record = record;
	return true;
}

struct cursor names_first(const struct seal_names *names)
{
	uint32_t used_bytes = le32_get(names->used_bytes);

	if (used_bytes > sizeof(names->records))
		used_bytes = 0;
	return cursor_of(names->records, used_bytes);
}

static int find_bytes(const struct seal_names *names, const char *name, size_t name_bytes,
		      struct names_record *ret_record)
{
	struct cursor next = names_first(names);
	struct names_record record;

	while (names_next(&next, &record)) {
		if (record.name_bytes == name_bytes && memcmp(record.name, name, name_bytes) == 0) {
			*ret_record = record;
			return 0;
		}
	}
	return -ENOENT;
}

/* Every record sound, none twice, and the last one ends where the area says. */
static bool records_are_sound(const struct seal_names *names)
{
	struct cursor next = names_first(names);
	struct names_record record;
	struct names_record same;
	unsigned int nr = 0;

	while (names_next(&next, &record)) {
		if (++nr > NAMES_RECORDS_MAX)
			return false;
		if (find_bytes(names, record.name, record.name_bytes, &same) < 0 ||
		    same.name != record.name)
			return false;
	}
	return next.left_bytes == 0;
}

int names_check(const struct seal_names *names, const uint8_t uuid[SEAL_UUID_BYTES])
{
	if (memcmp(names->magic, SEAL_MAGIC_NAMES, sizeof(names->magic)) != 0)
		return -EBADMSG;
	if (le32_get(names->crc) != area_crc(names))
		return -EBADMSG;
	if (memcmp(names->uuid, uuid, SEAL_UUID_BYTES) != 0)
		return -EBADMSG;
	if (le32_get(names->used_bytes) > sizeof(names->records))
		return -EBADMSG;
	return records_are_sound(names) ? 0 : -EBADMSG;
}

int names_check_mac(const struct seal_names *names, struct mac_ctx *mac)
{
	uint8_t computed[MAC_BYTES];
	int rc;

	rc = area_mac(names, mac, computed);
	if (rc < 0)
		return rc;
	return mac_equal(computed, names->mac) ? 0 : -EBADMSG;
}

int names_find(const struct seal_names *names, const char *name, const uint8_t **ret_value,
	       size_t *ret_value_bytes)
{
	struct names_record record;
	int rc;

	rc = find_bytes(names, name, strlen(name), &record);
	if (rc < 0)
		return rc;
	*ret_value = record.value;
	*ret_value_bytes = record.value_bytes;
	return 0;
}

static unsigned int count_records(const struct seal_names *names)
{
	struct cursor next = names_first(names);
	struct names_record record;
	unsigned int nr = 0;

	while (names_next(&next, &record))
		nr++;
	return nr;
}

void names_init(struct seal_names *names, const uint8_t uuid[SEAL_UUID_BYTES])
{
	memset(names, 0, sizeof(*names));
	memcpy(names->magic, SEAL_MAGIC_NAMES, sizeof(names->magic));
	memcpy(names->uuid, uuid, SEAL_UUID_BYTES);
}

int names_append(struct seal_names *names, const char *name, const void *value, size_t value_bytes)
{
	size_t used_bytes = le32_get(names->used_bytes);
	size_t name_bytes = strlen(name);
	uint8_t *at = names->records + used_bytes;
	le16 name_length = le16_of((uint16_t)name_bytes);
	le32 value_length = le32_of((uint32_t)value_bytes);
	struct names_record same;

	assert(used_bytes <= sizeof(names->records));
	if (name_bytes == 0 || name_bytes > NAMES_NAME_BYTES_MAX ||
	    value_bytes > NAMES_VALUE_BYTES_MAX)
		return -EINVAL;
	if (find_bytes(names, name, name_bytes, &same) == 0)
		return -EEXIST;
	if (RECORD_HEADER_BYTES + name_bytes + value_bytes > sizeof(names->records) - used_bytes ||
	    count_records(names) == NAMES_RECORDS_MAX)
		return -ENOSPC;

	memcpy(at, &name_length, sizeof(name_length));
	memcpy(at + sizeof(name_length), &value_length, sizeof(value_length));
	memcpy(at + RECORD_HEADER_BYTES, name, name_bytes);
	if (value_bytes > 0)
		memcpy(at + RECORD_HEADER_BYTES + name_bytes, value, value_bytes);
	used_bytes += RECORD_HEADER_BYTES + name_bytes + value_bytes;
	names->used_bytes = le32_of((uint32_t)used_bytes);
	return 0;
}

int names_finish(struct seal_names *names, uint64_t generation, uint64_t mac_key_id,
		 struct mac_ctx *mac)
{
	uint8_t computed[MAC_BYTES];
	int rc;

	names->generation = le64_of(generation);
	names->mac_key_id = le64_of(mac_key_id);
	rc = area_mac(names, mac, computed);
	if (rc < 0)
		return rc;
	memcpy(names->mac, computed, sizeof(names->mac));
	names->crc = le32_of(area_crc(names));
	return 0;
}
