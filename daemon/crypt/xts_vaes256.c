/* SPDX-License-Identifier: MIT */
/*
 * AES-256-XTS with VAES on 256-bit registers, for processors without AVX-512:
 * eight registers of two blocks, half a sector, run side by side.
 *
 * The tweaks are made as in xts_vaes512.c: two neighbours share a register, so
 * a register follows the one before by multiplication with x^2.
 */
#include "crypt/xts_schedule.h"
#include "sealblk/units.h"

#define VAES_CODE __attribute__((target("avx2,aes,vaes")))

#define VAES_INLINE VAES_CODE static inline __attribute__((always_inline))

enum {
	LANES = 8, /* registers in flight: half a sector */
	BATCH = 8, /* sectors whose tweaks are made together */
	LANE_BYTES = 32,
	GROUP_BYTES = LANES * LANE_BYTES,
};

/* The key of a round, in both halves. */
VAES_INLINE __m256i wide_key(const __m128i *key)
{
	return _mm256_broadcastsi128_si256(*key);
}

/* ---- tweaks ---- */

/* The first tweaks of the BATCH sectors from @first_sector on, two to a register. */
VAES_CODE static void first_tweaks(const struct xts_schedule *s, uint64_t first_sector,
				   __m128i ret_tweaks[BATCH])
{
	__m256i x[BATCH / 2];

	XTS_UNROLL
	for (int i = 0; i < BATCH / 2; i++) {
		const uint64_t sector = first_sector + 2 * (uint64_t)i, next = sector + 1;

		x[i] = _mm256_xor_si256(_mm256_set_epi64x(0, (long long)next, 0, (long long)sector),
					wide_key(&s->tweak[0]));
	}
	for (int round = 1; round < AES_ROUNDS; round++) {
		__m256i key = wide_key(&s->tweak[round]);

		XTS_UNROLL
		for (int i = 0; i < BATCH / 2; i++)
			x[i] = _mm256_aesenc_epi128(x[i], key);
	}
	XTS_UNROLL
	for (int i = 0; i < BATCH / 2; i++)
		_mm256_storeu_si256((__m256i *)(void *)(ret_tweaks + 2 * (ptrdiff_t)i),
				    _mm256_aesenclast_epi128(x[i],
							     wide_key(&s->tweak[AES_ROUNDS])));
}

/*
 * Each half times x^n, by shift counts per half: the upper one times x, then both
 * times x^2. What is shifted out at the top (@carry, below 2^2) comes back as
 * carry * (x^7 + x^2 + x + 1).
 */
VAES_INLINE __m256i multiply(__m256i v, __m256i left, __m256i right)
{
	__m256i crossed = _mm256_shuffle_epi32(_mm256_srlv_epi64(v, right), 0x4e);
	__m256i carry = _mm256_and_si256(crossed, _mm256_set_epi64x(0, -1, 0, -1));

	v = _mm256_xor_si256(_mm256_sllv_epi64(v, left), crossed);
	v = _mm256_xor_si256(v, _mm256_slli_epi64(carry, 1));
	v = _mm256_xor_si256(v, _mm256_slli_epi64(carry, 2));
	return _mm256_xor_si256(v, _mm256_slli_epi64(carry, 7));
}

VAES_INLINE __m256i times_x2(__m256i v)
{
	return multiply(v, _mm256_set1_epi64x(2), _mm256_set1_epi64x(62));
}

VAES_INLINE __m256i first_pair(__m128i first)
{
	/* A count of 64 shifts everything out: the lower half stays as it is. */
	return multiply(_mm256_broadcastsi128_si256(first), _mm256_set_epi64x(1, 1, 0, 0),
			_mm256_set_epi64x(63, 63, 64, 64));
}

/* ---- sectors ---- */

VAES_INLINE void encrypt_lanes(const __m128i keys[AES_ROUNDS + 1], __m256i x[LANES])
{
	for (int round = 1; round < AES_ROUNDS; round++) {
		__m256i key = wide_key(&keys[round]);

		XTS_UNROLL
		for (int i = 0; i < LANES; i++)
			x[i] = _mm256_aesenc_epi128(x[i], key);
	}
	XTS_UNROLL
	for (int i = 0; i < LANES; i++)
		x[i] = _mm256_aesenclast_epi128(x[i], wide_key(&keys[AES_ROUNDS]));
}

VAES_INLINE void decrypt_lanes(const __m128i keys[AES_ROUNDS + 1], __m256i x[LANES])
{
	for (int round = 1; round < AES_ROUNDS; round++) {
		__m256i key = wide_key(&keys[round]);

		XTS_UNROLL
		for (int i = 0; i < LANES; i++)
			x[i] = _mm256_aesdec_epi128(x[i], key);
	}
	XTS_UNROLL
	for (int i = 0; i < LANES; i++)
		x[i] = _mm256_aesdeclast_epi128(x[i], wide_key(&keys[AES_ROUNDS]));
}

typedef void (*lanes_fn)(const __m128i keys[AES_ROUNDS + 1], __m256i x[LANES]);

/* GROUP_BYTES at @data. Returns the tweaks of the two blocks that follow. */
VAES_INLINE __m256i crypt_group(const __m128i keys[AES_ROUNDS + 1], __m256i tweak, uint8_t *data,
				lanes_fn crypt_lanes)
{
	__m256i *blocks = (__m256i *)(void *)data;
	__m256i tweaks[LANES], x[LANES];

	XTS_UNROLL
	for (int i = 0; i < LANES; i++) {
		tweaks[i] = tweak;
		x[i] = _mm256_xor_si256(_mm256_loadu_si256(blocks + i),
					_mm256_xor_si256(tweak, wide_key(&keys[0])));
		tweak = times_x2(tweak);
	}
	crypt_lanes(keys, x);
	XTS_UNROLL
	for (int i = 0; i < LANES; i++)
		_mm256_storeu_si256(blocks + i, _mm256_xor_si256(x[i], tweaks[i]));
	return tweak;
}

VAES_INLINE void over_sectors(const struct xts_schedule *s, const __m128i keys[AES_ROUNDS + 1],
			      uint64_t first_sector, uint32_t nr_sectors, uint8_t *data,
			      lanes_fn crypt_lanes)
{
	while (nr_sectors > 0) {
		uint32_t nr = nr_sectors < BATCH ? nr_sectors : BATCH;
		__m128i tweaks[BATCH];

		first_tweaks(s, first_sector, tweaks);
		for (uint32_t i = 0; i < nr; i++) {
			__m256i tweak = first_pair(tweaks[i]);

			for (int at = 0; at < SECTOR_BYTES; at += GROUP_BYTES)
				tweak = crypt_group(keys, tweak, data + at, crypt_lanes);
			data += SECTOR_BYTES;
		}
		first_sector += nr;
		nr_sectors -= nr;
	}
}

/* ---- the interface ---- */

static bool vaes256_supported(void)
{
	return __builtin_cpu_supports("avx2") && xts_has_vaes();
}

VAES_CODE static void vaes256_encrypt(struct xts *xts, uint64_t first_sector, uint32_t nr_sectors,
				      uint8_t *data)
{
	const struct xts_schedule *s = xts->impl;

	over_sectors(s, s->encrypt, first_sector, nr_sectors, data, encrypt_lanes);
}

VAES_CODE static void vaes256_decrypt(struct xts *xts, uint64_t first_sector, uint32_t nr_sectors,
				      uint8_t *data)
{
	const struct xts_schedule *s = xts->impl;

	over_sectors(s, s->decrypt, first_sector, nr_sectors, data, decrypt_lanes);
}

const struct xts_ops xts_vaes256_ops = {
	.name = "vaes256",
	.supported = vaes256_supported,
	.init = xts_schedule_init,
	.done = xts_schedule_done,
	.encrypt = vaes256_encrypt,
	.decrypt = vaes256_decrypt,
};
