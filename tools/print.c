/* SPDX-License-Identifier: MIT */
/* Text for people: see print.h. */
#include "print.h"

#include <errno.h>
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

int print_json_object(const json_t *object)
{
	/*
	 * Into memory of the right size first: json_dumpf() would print a part and
	 * then fail, and json_dumps() leaves out a key when memory runs out.
	 */
	size_t nr_bytes = json_dumpb(object, NULL, 0, JSON_INDENT(2));
	char *text = nr_bytes ? malloc(nr_bytes) : NULL;
	int r = -ENOMEM;

	if (text && json_dumpb(object, text, nr_bytes, JSON_INDENT(2)) == nr_bytes) {
		fwrite(text, 1, nr_bytes, stdout);
		putchar('\n');
		r = 0;
	}
	free(text);
	return r;
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
