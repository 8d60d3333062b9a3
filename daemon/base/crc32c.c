/* SPDX-License-Identifier: MIT */
/*
 * CRC32C by the processor's instruction (SSE4.2) where there is one, and by
 * table where not. Both work on the inverted remainder; crc32c() inverts.
 */
#include "base/crc32c.h"

#include <string.h>

#include "base/crc32c_table.h"
#include "sealblk/byteorder.h"

uint32_t crc32c_portable(uint32_t crc, const void *bytes, size_t nr_bytes)
{
	const uint8_t *at = bytes;
	le32 low, high;
	uint32_t a, b;

	crc = ~crc;
	for (; nr_bytes >= 8; nr_bytes -= 8, at += 8) {
		memcpy(&low, at, 4);
		memcpy(&high, at + 4, 4);
		a = crc ^ le32_get(low);
		b = le32_get(high);
		crc = crc32c_table[7][a & 255] ^ crc32c_table[6][a >> 8 & 255] ^
		      crc32c_table[5][a >> 16 & 255] ^ crc32c_table[4][a >> 24] ^
		      crc32c_table[3][b & 255] ^ crc32c_table[2][b >> 8 & 255] ^
		      crc32c_table[1][b >> 16 & 255] ^ crc32c_table[0][b >> 24];
	}
	for (; nr_bytes > 0; nr_bytes--, at++)
		crc = crc >> 8 ^ crc32c_table[0][(crc ^ *at) & 255];
	return ~crc;
}

#ifdef __x86_64__

bool crc32c_sse42_supported(void)
{
	return __builtin_cpu_supports("sse4.2");
}

__attribute__((target("sse4.2"))) uint32_t crc32c_sse42(uint32_t crc, const void *bytes,
							size_t nr_bytes)
{
	const uint8_t *at = bytes;
	uint64_t wide = ~crc;
	uint64_t word;

	for (; nr_bytes >= 8; nr_bytes -= 8, at += 8) {
		memcpy(&word, at, 8);
		wide = __builtin_ia32_crc32di(wide, word);
	}
	crc = (uint32_t)wide;
	for (; nr_bytes > 0; nr_bytes--, at++)
		crc = __builtin_ia32_crc32qi(crc, *at);
	return ~crc;
}

#else

bool crc32c_sse42_supported(void)
{
	return false;
}

uint32_t crc32c_sse42(uint32_t crc, const void *bytes, size_t nr_bytes)
{
	return crc32c_portable(crc, bytes, nr_bytes);
}

#endif

uint32_t crc32c(uint32_t crc, const void *bytes, size_t nr_bytes)
{
	if (crc32c_sse42_supported())
		return crc32c_sse42(crc, bytes, nr_bytes);
	return crc32c_portable(crc, bytes, nr_bytes);
}
