/* SPDX-License-Identifier: MIT */
/*
 * The one way to read untrusted bytes.
 *
 * A read past the end sets the sticky @overrun and yields zeros, so a parser
 * reads field after field like the message's schema and asks once at the end.
 * Pointers returned lie inside the caller's bytes and live as long as those.
 */
#ifndef BASE_CURSOR_H
#define BASE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sealblk/byteorder.h"

struct cursor {
	const uint8_t *at;
	size_t left_bytes;
	bool overrun; /* sticky: test once, after the last field */
};

static inline struct cursor cursor_of(const void *bytes, size_t nr_bytes)
{
	return (struct cursor){ .at = bytes, .left_bytes = nr_bytes };
}

/* The next @nr_bytes, or NULL when so many are not left. */
static inline const uint8_t *cursor_take(struct cursor *c, size_t nr_bytes)
{
	const uint8_t *field = c->at;

	if (c->overrun || nr_bytes > c->left_bytes) {
		c->overrun = true;
		return NULL;
	}
	c->at += nr_bytes;
	c->left_bytes -= nr_bytes;
	return field;
}

static inline uint16_t cursor_be16(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 2);

	return p ? (uint16_t)(p[0] << 8 | p[1]) : 0;
}

static inline uint32_t cursor_be32(struct cursor *c)
{
	uint32_t high = cursor_be16(c);

	return high << 16 | cursor_be16(c);
}

static inline uint64_t cursor_be64(struct cursor *c)
{
	uint64_t high = cursor_be32(c);

	return high << 32 | cursor_be32(c);
}

static inline uint8_t cursor_u8(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 1);

	return p ? *p : 0;
}

static inline uint16_t cursor_le16(struct cursor *c)
{
	uint8_t low = cursor_u8(c);

	return (uint16_t)(low | cursor_u8(c) << 8);
}

static inline uint32_t cursor_le32(struct cursor *c)
{
	uint32_t low = cursor_le16(c);

	return low | (uint32_t)cursor_le16(c) << 16;
}

static inline uint64_t cursor_le64(struct cursor *c)
{
	uint64_t low = cursor_le32(c);

	return low | (uint64_t)cursor_le32(c) << 32;
}

#endif
