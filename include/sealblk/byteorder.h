/* SPDX-License-Identifier: MIT */
/*
 * Integers as they lie on disk and on the wire.
 *
 * Each is a struct of bytes: alignment 1, so a layout built of them needs no
 * packing and may lie at any address, and one type per byte order, so that a
 * forgotten conversion does not compile. All conversion in sealblk is here.
 */
#ifndef SEALBLK_BYTEORDER_H
#define SEALBLK_BYTEORDER_H

#include <stdint.h>

/* clang-format off */
typedef struct { uint8_t b[2]; } be16;
typedef struct { uint8_t b[4]; } be32;
typedef struct { uint8_t b[8]; } be64;
typedef struct { uint8_t b[2]; } le16;
typedef struct { uint8_t b[4]; } le32;
typedef struct { uint8_t b[8]; } le64;
/* clang-format on */

static inline uint16_t be16_get(be16 v)
{
	return (uint16_t)(v.b[0] << 8 | v.b[1]);
}

static inline uint32_t be32_get(be32 v)
{
	return (uint32_t)v.b[0] << 24 | (uint32_t)v.b[1] << 16 | (uint32_t)v.b[2] << 8 | v.b[3];
}

static inline uint64_t be64_get(be64 v)
{
	uint64_t n = 0;

	for (int i = 0; i < 8; i++)
		n = n << 8 | v.b[i];
	return n;
}

static inline be16 be16_of(uint16_t n)
{
	return (be16){ { (uint8_t)(n >> 8), (uint8_t)n } };
}

static inline be32 be32_of(uint32_t n)
{
	return (be32){ { (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n } };
}

static inline be64 be64_of(uint64_t n)
{
	be64 v;

	for (int i = 0; i < 8; i++)
		v.b[i] = (uint8_t)(n >> (56 - 8 * i));
	return v;
}

static inline uint16_t le16_get(le16 v)
{
	return (uint16_t)(v.b[0] | v.b[1] << 8);
}

static inline uint32_t le32_get(le32 v)
{
	return v.b[0] | (uint32_t)v.b[1] << 8 | (uint32_t)v.b[2] << 16 | (uint32_t)v.b[3] << 24;
}

static inline uint64_t le64_get(le64 v)
{
	uint64_t n = 0;

	for (int i = 7; i >= 0; i--)
		n = n << 8 | v.b[i];
	return n;
}

static inline le16 le16_of(uint16_t n)
{
	return (le16){ { (uint8_t)n, (uint8_t)(n >> 8) } };
}

static inline le32 le32_of(uint32_t n)
{
	return (le32){ { (uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16), (uint8_t)(n >> 24) } };
}

static inline le64 le64_of(uint64_t n)
{
	le64 v;

	for (int i = 0; i < 8; i++)
		v.b[i] = (uint8_t)(n >> (8 * i));
	return v;
}

#endif
