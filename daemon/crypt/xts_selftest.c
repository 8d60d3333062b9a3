/* SPDX-License-Identifier: MIT */
/* The self-test every XTS implementation passes before it touches a disk. */
#include "crypt/xts_selftest.h"

#include <errno.h>
#include <string.h>

#include "sealblk/units.h"

enum {
	RUN_SECTORS_MAX = 33,
	MARGIN_BYTES = 64, /* around the data; nothing may write there */
	AREA_BYTES = MARGIN_BYTES + RUN_SECTORS_MAX * SECTOR_BYTES + MARGIN_BYTES,
	EDGE_BYTES = 16,
};

/* The key of IEEE 1619-2018 vectors 10 to 14: digits of e, then of pi. */
static const struct xts_key known_key = { {
	0x27, 0x18, 0x28, 0x18, 0x28, 0x45, 0x90, 0x45, 0x23, 0x53, 0x60, 0x28, 0x74,
	0x71, 0x35, 0x26, 0x62, 0x49, 0x77, 0x57, 0x24, 0x70, 0x93, 0x69, 0x99, 0x59,
	0x57, 0x49, 0x66, 0x96, 0x76, 0x27, 0x31, 0x41, 0x59, 0x26, 0x53, 0x58, 0x97,
	0x93, 0x23, 0x84, 0x62, 0x64, 0x33, 0x83, 0x27, 0x95, 0x02, 0x88, 0x41, 0x97,
	0x16, 0x93, 0x99, 0x37, 0x51, 0x05, 0x82, 0x09, 0x74, 0x94, 0x45, 0x92,
} };

/*
 * Vectors 10 to 14: the plaintext is 00 to ff, twice. The tweak runs through
 * the data unit and the last block comes from its end, so that first and last
 * block pin the unit; the way back pins what lies between.
 */
static const struct known_answer {
	uint64_t sector;
	uint8_t first[EDGE_BYTES];
	uint8_t last[EDGE_BYTES];
} known_answers[] = {
	{ UINT64_C(0xff),
	  { 0x1c, 0x3b, 0x3a, 0x10, 0x2f, 0x77, 0x03, 0x86, 0xe4, 0x83, 0x6c, 0x99, 0xe3, 0x70,
	    0xcf, 0x9b },
	  { 0xc4, 0xf3, 0x6f, 0xfd, 0xa9, 0xfc, 0xea, 0x70, 0xb9, 0xc6, 0xe6, 0x93, 0xe1, 0x48,
	    0xc1, 0x51 } },
	{ UINT64_C(0xffff),
	  { 0x77, 0xa3, 0x12, 0x51, 0x61, 0x8a, 0x15, 0xe6, 0xb9, 0x2d, 0x1d, 0x66, 0xdf, 0xfe,
	    0x7b, 0x50 },
	  { 0xa4, 0xf9, 0xe2, 0x7b, 0x42, 0xaf, 0x81, 0x00, 0xcb, 0x9d, 0x59, 0xce, 0xf9, 0x64,
	    0x58, 0x03 } },
	{ UINT64_C(0xffffff),
	  { 0xe3, 0x87, 0xaa, 0xa5, 0x8b, 0xa4, 0x83, 0xaf, 0xa7, 0xe8, 0xeb, 0x46, 0x97, 0x78,
	    0x31, 0x7e },
	  { 0x22, 0x63, 0xa1, 0xee, 0xf5, 0x2d, 0xd6, 0x88, 0x8c, 0x30, 0x9f, 0x5a, 0x7d, 0x71,
	    0x28, 0x26 } },
	{ UINT64_C(0xffffffff),
	  { 0xbf, 0x53, 0xd2, 0xda, 0xde, 0x78, 0xe8, 0x22, 0xa4, 0xd9, 0x49, 0xa9, 0xbc, 0x67,
	    0x66, 0xb0 },
	  { 0x4c, 0x82, 0xf3, 0x35, 0xab, 0xb1, 0x52, 0xc4, 0xa9, 0x34, 0x11, 0x37, 0x3a, 0xaa,
	    0x82, 0x20 } },
	{ UINT64_C(0xffffffffff),
	  { 0x64, 0x49, 0x7e, 0x5a, 0x83, 0x1e, 0x4a, 0x93, 0x2c, 0x09, 0xbe, 0x3e, 0x53, 0x93,
	    0x37, 0x6d },
	  { 0xd6, 0x09, 0xd2, 0x73, 0xad, 0x5b, 0x0d, 0x59, 0x63, 0x1c, 0x53, 0x1f, 0x6a, 0x0a,
	    0x57, 0xb9 } },
};

static const uint32_t run_sectors[] = { 1, 2, 3, 4, 5, 8, 15, 16, 17, RUN_SECTORS_MAX };
static const uint64_t run_starts[] = { 0, 0xfffffffe, TIB_SECTORS - 2, UINT64_C(0xfffffffffe) };

/* What one run is compared in. Kilobytes on the stack, at start only. */
struct areas {
	uint8_t plain[AREA_BYTES]; /* the same for all runs */
	uint8_t ours[AREA_BYTES];
	uint8_t expected[AREA_BYTES];
};

static void fill_pattern(uint8_t area[AREA_BYTES])
{
	uint32_t state = 1;

	for (unsigned int i = 0; i < AREA_BYTES; i++) {
		state = state * 1664525 + 1013904223;
		area[i] = (uint8_t)(state >> 24);
	}
}

static bool known_answer_holds(struct xts *xts, const struct known_answer *known)
{
	uint8_t plain[SECTOR_BYTES];
	uint8_t data[SECTOR_BYTES];

	for (unsigned int i = 0; i < SECTOR_BYTES; i++)
		plain[i] = (uint8_t)i;
	memcpy(data, plain, SECTOR_BYTES);

	xts_encrypt(xts, known->sector, 1, data);
	if (memcmp(data, known->first, EDGE_BYTES) != 0 ||
	    memcmp(data + SECTOR_BYTES - EDGE_BYTES, known->last, EDGE_BYTES) != 0)
		return false;
	xts_decrypt(xts, known->sector, 1, data);
	return memcmp(data, plain, SECTOR_BYTES) == 0;
}

static bool known_answers_hold(struct xts *xts)
{
	for (size_t i = 0; i < ARRAY_LEN(known_answers); i++)
		if (!known_answer_holds(xts, &known_answers[i]))
			return false;
	return true;
}

/* Compares whole areas, margins included: a write beside the data shows. */
static bool run_agrees(struct xts *xts, struct xts *reference, struct areas *areas,
		       uint64_t first_sector, uint32_t nr_sectors)
{
	size_t start = MARGIN_BYTES - nr_sectors % 16; /* at an odd address now and then */

	memcpy(areas->ours, areas->plain, AREA_BYTES);
	memcpy(areas->expected, areas->plain, AREA_BYTES);
	xts_encrypt(xts, first_sector, nr_sectors, areas->ours + start);
	for (uint32_t i = 0; i < nr_sectors; i++)
		xts_encrypt(reference, first_sector + i, 1,
			    areas->expected + start + (size_t)i * SECTOR_BYTES);
	if (memcmp(areas->ours, areas->expected, AREA_BYTES) != 0)
		return false;

	xts_decrypt(xts, first_sector, nr_sectors, areas->ours + start);
	return memcmp(areas->ours, areas->plain, AREA_BYTES) == 0;
}

static bool runs_agree(struct xts *xts, struct xts *reference)
{
	struct areas areas;

	fill_pattern(areas.plain);
	for (size_t i = 0; i < ARRAY_LEN(run_starts); i++)
		for (size_t n = 0; n < ARRAY_LEN(run_sectors); n++)
			if (!run_agrees(xts, reference, &areas, run_starts[i], run_sectors[n]))
				return false;
	return true;
}

int xts_self_test(const struct xts_ops *ops)
{
	struct xts xts = { 0 };
	struct xts reference = { 0 };
	bool good;

	good = xts_init(&xts, ops, &known_key) == 0 &&
	       xts_init(&reference, &xts_openssl_ops, &known_key) == 0 &&
	       known_answers_hold(&xts) && runs_agree(&xts, &reference);
	xts_done(&xts);
	xts_done(&reference);
	return good ? 0 : -EIO;
}
