/* SPDX-License-Identifier: MIT */
/* Text for people: see print.h. */
#include "print.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sealblk/units.h"

void print_text(FILE *to, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		putc(c < 0x20 || c == 0x7f ? '?' : c, to);
	}
}

json_t *print_text_json(const char *text)
{
	json_t *value = json_string(text);
	char *ascii;

	if (value)
		return value;
	ascii = strdup(text);
	for (char *at = ascii; at && *at; at++)
		if (*at & 0x80)
			*at = '?';
	value = ascii ? json_string(ascii) : NULL;
	free(ascii);
	return value;
}

const char *size_text(uint64_t bytes, char text[SIZE_TEXT_BYTES])
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB" };
	unsigned int unit = 0;
	uint64_t whole = KIB, tenths;

	if (bytes < KIB) {
		snprintf(text, SIZE_TEXT_BYTES, "%" PRIu64 " bytes", bytes);
		return text;
	}
	while (unit < 3 && bytes / whole >= 1024) {
		whole <<= 10;
		unit++;
	}
	tenths = bytes % whole * 10 / whole;
	if (tenths)
		snprintf(text, SIZE_TEXT_BYTES, "%" PRIu64 ".%" PRIu64 " %s", bytes / whole, tenths,
			 units[unit]);
	else
		snprintf(text, SIZE_TEXT_BYTES, "%" PRIu64 " %s", bytes / whole, units[unit]);
	return text;
}
