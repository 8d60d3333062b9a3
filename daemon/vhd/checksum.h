/* SPDX-License-Identifier: MIT */
/* The one checksum of the VHD format. */
#ifndef VHD_CHECKSUM_H
#define VHD_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

#include "base/cursor.h"

/* ~(sum of the bytes of a structure but those of its checksum, which @stored holds). */
static inline uint32_t vhd_checksum(const void *bytes, size_t nr_bytes, be32 stored)
{
	struct cursor c = cursor_of(bytes, nr_bytes);
	uint32_t sum = 0;

	while (c.left_bytes > 0)
		sum += cursor_u8(&c);
	for (unsigned int i = 0; i < sizeof(stored); i++)
		sum -= stored.b[i];
	return ~sum;
}

#endif
