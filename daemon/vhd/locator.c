/* SPDX-License-Identifier: MIT */
/* Parent locators: see locator.h. */
#include "vhd/locator.h"

#include <errno.h>
#include <string.h>

#include "base/cursor.h"

enum {
	BYTE_ORDER_MARK = 0xfeff,
	SURROGATE_HIGH = 0xd800, /* 0x400 of them, then as many low ones */
	SURROGATE_LOW = 0xdc00,
	SURROGATE_END = 0xe000,
};

/* The next character, or 0: none, or none that a path may hold. */
static uint32_t take_character(struct cursor *c)
{
	uint32_t unit = cursor_le16(c);
	uint32_t low;

	if (unit < SURROGATE_HIGH || unit >= SURROGATE_END)
		return unit == '\\' ? '/' : unit;
	low = cursor_le16(c);
	if (unit >= SURROGATE_LOW || low < SURROGATE_LOW || low >= SURROGATE_END)
		return 0;
	return 0x10000 + ((unit - SURROGATE_HIGH) << 10) + (low - SURROGATE_LOW);
}

/* RFC 3629. Returns how many bytes. */
static size_t put_utf8(uint32_t character, char ret_bytes[4])
{
	static const uint8_t heads[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
	size_t nr = character < 0x80 ? 1 : character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;

	for (size_t i = nr - 1; i > 0; i--) {
		ret_bytes[i] = (char)(0x80 | (character & 0x3f));
		character >>= 6;
	}
	ret_bytes[0] = (char)(heads[nr] | character);
	return nr;
}

static size_t without_nuls(const uint8_t *bytes, size_t nr_bytes)
{
	while (nr_bytes >= 2 && bytes[nr_bytes - 1] == 0 && bytes[nr_bytes - 2] == 0)
		nr_bytes -= 2;
	return nr_bytes;
}

int vhd_locator_path(const uint8_t *bytes, size_t nr_bytes, char ret_path[PATH_BYTES_MAX])
{
	struct cursor c = cursor_of(bytes, without_nuls(bytes, nr_bytes & ~(size_t)1));
	char path[PATH_BYTES_MAX] = { 0 };
	const char *begin = path;
	size_t used = 0;

	if (nr_bytes % 2 != 0)
		return -EINVAL;
	while (c.left_bytes > 0) {
		uint32_t character = take_character(&c);

		if (character == BYTE_ORDER_MARK && used == 0)
			continue;
		if (character == 0 || c.overrun || used + 4 >= sizeof(path))
			return -EINVAL;
		used += put_utf8(character, path + used);
	}
	path[used] = 0;
	if (strncmp(begin, "./", 2) == 0)
		begin += 2;
	if (*begin == 0)
		return -EINVAL;
	memcpy(ret_path, begin, strlen(begin) + 1);
	return 0;
}
