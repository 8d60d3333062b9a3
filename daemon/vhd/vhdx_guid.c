/* SPDX-License-Identifier: MIT */
/* GUIDs: see vhdx_guid.h. */
#include "vhd/vhdx_guid.h"

#include <errno.h>
#include <string.h>

/* Byte i of the text's order is byte order_of[i] on disk, and the other way round. */
static const uint8_t order_of[VHDX_GUID_BYTES] = { 3, 2, 1,  0,	 5,  4,	 7,  6,
						   8, 9, 10, 11, 12, 13, 14, 15 };

bool vhdx_guid_is_zero(const uint8_t guid[VHDX_GUID_BYTES])
{
	static const uint8_t zero[VHDX_GUID_BYTES];

	return memcmp(guid, zero, sizeof(zero)) == 0;
}

bool vhdx_guid_is(const uint8_t guid[VHDX_GUID_BYTES], const uint8_t other[VHDX_GUID_BYTES])
{
	return memcmp(guid, other, VHDX_GUID_BYTES) == 0;
}

static void reorder(const uint8_t from[VHDX_GUID_BYTES], uint8_t ret[VHDX_GUID_BYTES])
{
	for (int i = 0; i < VHDX_GUID_BYTES; i++)
		ret[i] = from[order_of[i]];
}

void vhdx_guid_text(const uint8_t guid[VHDX_GUID_BYTES], char ret_text[UUID_TEXT_BYTES])
{
	uint8_t uuid[VHDX_GUID_BYTES];

	reorder(guid, uuid);
	uuid_to_text(uuid, ret_text);
}

/* Returns -1: no digit. */
static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int vhdx_guid_read(const char *text, size_t nr_bytes, uint8_t ret_guid[VHDX_GUID_BYTES])
{
	uint8_t uuid[VHDX_GUID_BYTES] = { 0 };
	size_t nr_digits = 0;

	if (nr_bytes == UUID_TEXT_BYTES + 1 && text[0] == '{' && text[nr_bytes - 1] == '}') {
		text++;
		nr_bytes -= 2;
	}
	if (nr_bytes != UUID_TEXT_BYTES - 1)
		return -EINVAL;
	for (size_t i = 0; i < nr_bytes; i++) {
		const bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
		int digit = digit_of(text[i]);

		if (is_dash ? text[i] != '-' : digit < 0)
			return -EINVAL;
		if (is_dash)
			continue;
		uuid[nr_digits / 2] = (uint8_t)(uuid[nr_digits / 2] << 4 | digit);
		nr_digits++;
	}
	reorder(uuid, ret_guid);
	return 0;
}
