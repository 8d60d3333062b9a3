/* SPDX-License-Identifier: MIT */
/*
 * CRC32C by the processor's instruction (SSE4.2, and PCLMULQDQ to join stripes)
 * where there is one, and by table where not. Both work on the inverted remainder; crc32c() inverts.
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

#include <immintrin.h>

bool crc32c_sse42_supported(void)
{
	return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
}

/*
 * The instruction takes three cycles and one can begin in each: three stripes
 * side by side. STRIPE_BYTES: three of them are nearly all of a map block.
 */
enum { STRIPE_BYTES = 1344 };

/*
 * What to multiply a remainder by so that it counts as followed by one stripe,
 * or by two, of zeros: x^(8n - 33) modulo the polynomial, bits reflected. (The
 * instruction multiplies by x^32 by itself, and a product of two reflected
 * numbers lies one bit too low.)
 */
static const uint64_t over_one = 0xc9c8b782;
static const uint64_t over_two = 0x889774e1;

__attribute__((target("sse4.2,pclmul"))) static uint64_t times(uint64_t crc, uint64_t factor)
{
	const __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)crc),
						     _mm_cvtsi64_si128((long long)factor), 0);

	return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

__attribute__((target("sse4.2"))) static uint64_t word(uint64_t crc, const uint8_t *at)
{
	uint64_t bytes;

	memcpy(&bytes, at, sizeof(bytes));
	return _mm_crc32_u64(crc, bytes);
}

__attribute__((target("sse4.2,pclmul"))) uint32_t crc32c_sse42(uint32_t crc, const void *bytes,
							       size_t nr_bytes)
{
	const uint8_t *at = bytes;
	uint64_t wide = ~crc;

	for (; nr_bytes >= 3 * STRIPE_BYTES; nr_bytes -= 3 * STRIPE_BYTES) {
		uint64_t second = 0;
		uint64_t third = 0;

		for (int i = 0; i < STRIPE_BYTES; i += 8, at += 8) {
			wide = word(wide, at);
			second = word(second, at + STRIPE_BYTES);
			third = word(third, at + 2 * STRIPE_BYTES);
		}
		wide = times(wide, over_two) ^ times(second, over_one) ^ third;
		at += 2 * STRIPE_BYTES;
	}
	for (; nr_bytes >= 8; nr_bytes -= 8, at += 8)
		wide = word(wide, at);
	crc = (uint32_t)wide;
	for (; nr_bytes > 0; nr_bytes--, at++)
		crc = _mm_crc32_u8(crc, *at);
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
