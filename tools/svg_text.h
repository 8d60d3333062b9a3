/* SPDX-License-Identifier: MIT */
/* Text inside an SVG: names that anybody chose, and numbers for people. */
#ifndef TOOLS_SVG_TEXT_H
#define TOOLS_SVG_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * Anybody's bytes as XML: markup is escaped, what XML forbids comes out as '?'.
 * Of a text longer than @max characters the middle is left out.
 */
void svg_print_escaped(const char *text, size_t max, FILE *to);

/* "4,294,967,296" */
void svg_print_number(uint64_t number, FILE *to);

/* "12.3 %"; what is there is never 0, and what is not all never 100. @whole: not 0. */
void svg_print_share(uint64_t part, uint64_t whole, FILE *to);

/* "1280 GiB": a multiple of a power of two in the largest unit that says it exactly. */
void svg_print_offset(uint64_t bytes, FILE *to);

#endif
