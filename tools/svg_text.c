/* SPDX-License-Identifier: MIT */
/* Text inside an SVG: see svg_text.h. */
#include "svg_text.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <string.h>

/* One character of UTF-8, or one byte that is none: how many bytes. *ret_good: XML takes it. */
static size_t take_char(const char *text, bool *ret_good)
{
	static const char never[] = "\xef\xbf"; /* U+FFFE and U+FFFF, which XML forbids */
	unsigned char first = (unsigned char)*text;
	size_t nr = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	json_t *judge = strnlen(text, nr) == nr ? json_stringn(text, nr) : NULL;

	*ret_good = judge && first >= 0x20 && first != 0x7f &&
		    !(nr == 3 && memcmp(text, never, 2) == 0 && (unsigned char)text[2] >= 0xbe);
	nr = judge ? nr : 1;
	json_decref(judge);
	return nr;
}

static void print_char(const char *text, size_t nr_bytes, FILE *to)
{
	switch (*text) {
	case '&':
		fputs("&amp;", to);
		break;
	case '<':
		fputs("&lt;", to);
		break;
	case '>':
		fputs("&gt;", to);
		break;
	default:
		fwrite(text, 1, nr_bytes, to);
	}
}

void svg_print_escaped(const char *text, size_t max, FILE *to)
{
	size_t nr_chars = 0, number = 0;
	bool good;

	for (const char *at = text; *at; at += take_char(at, &good))
		nr_chars++;
	for (const char *at = text; *at; number++) {
		size_t nr = take_char(at, &good);

		if (nr_chars > max && number == max / 2)
			fputs("…", to);
		if (nr_chars <= max || number < max / 2 || number >= nr_chars - max / 2 + 1)
			print_char(good ? at : "?", good ? nr : 1, to);
		at += nr;
	}
}

void svg_print_number(uint64_t number, FILE *to)
{
	char digits[24];
	int nr = snprintf(digits, sizeof(digits), "%" PRIu64, number);

	for (int i = 0; i < nr; i++) {
		if (i > 0 && (nr - i) % 3 == 0)
			putc(',', to);
		putc(digits[i], to);
	}
}

void svg_print_share(uint64_t part, uint64_t whole, FILE *to)
{
	uint64_t tenths = (part * 1000 + whole / 2) / whole;

	if (part == 0 || part == whole)
		fputs(part ? "100 %" : "0 %", to);
	else if (tenths == 0)
		fputs("&lt; 0.1 %", to);
	else if (tenths >= 1000)
		fputs("&gt; 99.9 %", to);
	else
		fprintf(to, "%" PRIu64 ".%" PRIu64 " %%", tenths / 10, tenths % 10);
}

void svg_print_offset(uint64_t bytes, FILE *to)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	unsigned int unit = 0;

	while (bytes > 0 && bytes % 1024 == 0 && unit < 4) {
		bytes /= 1024;
		unit++;
	}
	if (bytes == 0)
		putc('0', to);
	else
		fprintf(to, "%" PRIu64 " %s", bytes, units[unit]);
}
