/* SPDX-License-Identifier: MIT */
/*
 * Units and the only conversions between them.
 *
 * A name ends in its unit: _bytes, _sectors, _ms. "sector" is always 512 bytes:
 * the unit of encryption, of the page map and of NBD's minimum block.
 */
#ifndef SEALBLK_UNITS_H
#define SEALBLK_UNITS_H

#include <assert.h>
#include <errno.h>
#include <stdint.h>

enum {
	SECTOR_SHIFT = 9,
	SECTOR_BYTES = 1 << SECTOR_SHIFT,
};

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define TIB ((uint64_t)1 << 40)

/* Sectors in one TiB: each TiB of a plane has its own XTS key (docs/format.md 8). */
#define TIB_SECTORS (TIB >> SECTOR_SHIFT)

/* Exact by contract: the callers have refused unaligned numbers. */
static inline uint64_t bytes_to_sectors(uint64_t bytes)
{
	assert(bytes % SECTOR_BYTES == 0);
	return bytes >> SECTOR_SHIFT;
}

/* Cannot overflow for a sector on a disk: DISK_BYTES_MAX is far below 2^63. */
static inline uint64_t sectors_to_bytes(uint64_t sectors)
{
	assert(sectors <= UINT64_MAX >> SECTOR_SHIFT);
	return sectors << SECTOR_SHIFT;
}

/* @unit: a power of two. The result may not overflow: callers bound @value. */
static inline uint64_t round_up(uint64_t value, uint64_t unit)
{
	return (value + unit - 1) & ~(unit - 1);
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

#endif
