/* SPDX-License-Identifier: MIT */
/*
 * What the sectors of a test hold. Each sector of data tells its number, its
 * version and the seed of the run, and is filled from those, so that a wrong
 * answer names its origin.
 */
#ifndef TESTS_SIM_CONTENT_H
#define TESTS_SIM_CONTENT_H

#include <stdbool.h>
#include <stdint.h>

#include "sealblk/units.h"

/* The version of a sector; from CONTENT_FIRST on: data that the client wrote. */
enum {
	CONTENT_ZERO,
	CONTENT_BASE,
	CONTENT_FIRST,
};
#define CONTENT_GARBAGE UINT32_MAX

enum {
	CONTENT_SET_MAX = 16,
	CONTENT_UNIT_BYTES = 16, /* the XTS block: a sector torn inside is old or new in each */
	CONTENT_TEXT_BYTES = 192,
};

struct content_set {
	uint32_t nr;
	uint32_t contents[CONTENT_SET_MAX];
};

/* Of the data from here on. The process's own; the base is of no seed. */
void content_use_seed(uint32_t seed);

/* What disk sector @sector looks like with @content. */
void content_fill(uint64_t sector, uint32_t content, uint8_t ret_bytes[SECTOR_BYTES]);

/* Which content of @sector is this? CONTENT_GARBAGE: none. */
uint32_t content_of(uint64_t sector, const uint8_t bytes[SECTOR_BYTES]);

/* Adds what is not in there yet. */
void content_set_add(struct content_set *set, uint32_t content);
bool content_set_has(const struct content_set *set, uint32_t content);

/* Is every unit of @bytes that of one of @set, though not all of the same one? */
bool content_is_torn(uint64_t sector, const uint8_t bytes[SECTOR_BYTES],
		     const struct content_set *set);

/* "zeros", "base", "data 3", "garbage"; of a set, all of them. */
void content_name(uint32_t content, char ret_text[CONTENT_TEXT_BYTES]);
void content_names(const struct content_set *set, char ret_text[CONTENT_TEXT_BYTES]);

#endif
