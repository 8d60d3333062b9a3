/* SPDX-License-Identifier: MIT */
/* Text for people: see print.h. */
#include "print.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
