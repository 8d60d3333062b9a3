/* SPDX-License-Identifier: MIT */
/*
 * AES-256-XTS with AES-NI alone: eight blocks run side by side, which is what
 * hides the latency of the instructions and still fits sixteen registers.
 *
 * The tweak of a sector is AES of its number under the second key; each block's
 * is that of the block before times x in GF(2^128) modulo
 * x^128 + x^7 + x^2 + x + 1 (IEEE 1619-2018, 5.2). The first tweaks of eight
 * sectors are encrypted together.
 */
#include "crypt/xts_schedule.h"
#include "sealblk/units.h"

#define AES_CODE __attribute__((target("aes,sse2")))

#define AES_INLINE AES_CODE static inline __attribute__((always_inline))

enum {
	LANES = 8, /* blocks in flight: a quarter of a sector */
	BATCH = LANES,
	LANE_BYTES = 16,
	GROUP_BYTES = LANES * LANE_BYTES,
};

AES_INLINE void encrypt_lanes(const __m128i keys[AES_ROUNDS + 1], __m128i x[LANES])
{
	for (int round = 1; round < AES_ROUNDS; round++) {
		XTS_UNROLL
		for (int i = 0; i < LANES; i++)
			x[i] = _mm_aesenc_si128(x[i], keys[round]);
	}
	XTS_UNROLL
	for (int i = 0; i < LANES; i++)
		x[i] = _mm_aesenclast_si128(x[i], keys[AES_ROUNDS]);
}

AES_INLINE void decrypt_lanes(const __m128i keys[AES_ROUNDS + 1], __m128i x[LANES])
{
	for (int round = 1; round < AES_ROUNDS; round++) {
		XTS_UNROLL
		for (int i = 0; i < LANES; i++)
			x[i] = _mm_aesdec_si128(x[i], keys[round]);
	}
	XTS_UNROLL
	for (int i = 0; i < LANES; i++)
		x[i] = _mm_aesdeclast_si128(x[i], keys[AES_ROUNDS]);
}

/* The first tweaks of the BATCH sectors from @first_sector on. */
AES_CODE static void first_tweaks(const struct xts_schedule *s, uint64_t first_sector,
				  __m128i ret_tweaks[BATCH])
{
	XTS_UNROLL
	for (int i = 0; i < BATCH; i++) {
		const uint64_t sector = first_sector + (uint64_t)i;

		ret_tweaks[i] = _mm_xor_si128(_mm_set_epi64x(0, (long long)sector), s->tweak[0]);
	}
	encrypt_lanes(s->tweak, ret_tweaks);
}

/* Times x. The two bits that leave their halves come back at bit 64 and as 0x87. */
AES_INLINE __m128i double_tweak(__m128i v)
{
	const __m128i feedback = _mm_set_epi32(0, 1, 0, 0x87);
	__m128i signs = _mm_shuffle_epi32(_mm_srai_epi32(v, 31), 0x13);

	return _mm_xor_si128(_mm_add_epi64(v, v), _mm_and_si128(signs, feedback));
}

typedef void (*lanes_fn)(const __m128i keys[AES_ROUNDS + 1], __m128i x[LANES]);

/* GROUP_BYTES at @data. Returns the tweak of the block that follows. */
AES_INLINE __m128i crypt_group(const __m128i keys[AES_ROUNDS + 1], __m128i tweak, uint8_t *data,
			       lanes_fn crypt_lanes)
{
	__m128i *blocks = (__m128i *)(void *)data;
	__m128i tweaks[LANES], x[LANES];

	XTS_UNROLL
	for (int i = 0; i < LANES; i++) {
		tweaks[i] = tweak;
		x[i] = _mm_xor_si128(_mm_xor_si128(_mm_loadu_si128(blocks + i), tweak), keys[0]);
		tweak = double_tweak(tweak);
	}
	crypt_lanes(keys, x);
	XTS_UNROLL
	for (int i = 0; i < LANES; i++)
		_mm_storeu_si128(blocks + i, _mm_xor_si128(x[i], tweaks[i]));
	return tweak;
}

AES_INLINE void over_sectors(const struct xts_schedule *s, const __m128i keys[AES_ROUNDS + 1],
			     uint64_t first_sector, uint32_t nr_sectors, uint8_t *data,
			     lanes_fn crypt_lanes)
{
	while (nr_sectors > 0) {
		uint32_t nr = nr_sectors < BATCH ? nr_sectors : BATCH;
		__m128i tweaks[BATCH];

		first_tweaks(s, first_sector, tweaks);
		for (uint32_t i = 0; i < nr; i++) {
			__m128i tweak = tweaks[i];

			for (int at = 0; at < SECTOR_BYTES; at += GROUP_BYTES)
				tweak = crypt_group(keys, tweak, data + at, crypt_lanes);
			data += SECTOR_BYTES;
		}
		first_sector += nr;
		nr_sectors -= nr;
	}
}

static bool aesni_supported(void)
{
	return xts_has_aes();
}

AES_CODE static void aesni_encrypt(struct xts *xts, uint64_t first_sector, uint32_t nr_sectors,
				   uint8_t *data)
{
	const struct xts_schedule *s = xts->impl;

	over_sectors(s, s->encrypt, first_sector, nr_sectors, data, encrypt_lanes);
}

AES_CODE static void aesni_decrypt(struct xts *xts, uint64_t first_sector, uint32_t nr_sectors,
				   uint8_t *data)
{
	const struct xts_schedule *s = xts->impl;

	over_sectors(s, s->decrypt, first_sector, nr_sectors, data, decrypt_lanes);
}

const struct xts_ops xts_aesni_ops = {
	.name = "aesni",
	.supported = aesni_supported,
	.init = xts_schedule_init,
	.done = xts_schedule_done,
	.encrypt = aesni_encrypt,
	.decrypt = aesni_decrypt,
};
