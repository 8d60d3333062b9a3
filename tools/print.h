/* SPDX-License-Identifier: MIT */
/* Text for people. */
#ifndef TOOLS_PRINT_H
#define TOOLS_PRINT_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#include "base/compiler.h"

/*
 * What a path or an image holds, somebody else may have written: control
 * characters, which a terminal would obey, come out as '?'.
 */
void print_text(FILE *to, const char *text);

/*
 * The same for JSON, which is UTF-8: a text that is not loses its foreign
 * bytes. Returns NULL when there is no memory.
 */
json_t *print_text_json(const char *text);

/* To stdout, all of it or nothing. Returns 0 or -ENOMEM. */
int MUST_CHECK print_json_object(const json_t *object);

#endif
