/* SPDX-License-Identifier: MIT */
/*
 * AES-256-XTS with VAES and AVX-512: a sector is 32 blocks, so eight registers
 * of four blocks hold all of it, and their AES rounds run side by side.
 *
 * The tweak of a sector is AES of its number under the second key; the tweaks of
 * its blocks follow by multiplication with x in GF(2^128) modulo
 * x^128 + x^7 + x^2 + x + 1 (IEEE 1619-2018, 5.2). Four neighbours share a
 * register, so a register follows the second before it by multiplication with x^8.
 * Sectors go in batches, whose first tweaks are encrypted together.
 */
#include "crypt/xts_schedule.h"
#include "sealblk/units.h"

#define VAES_CODE __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,aes,vaes,vpclmulqdq")))

#define VAES_INLINE VAES_CODE static inline __attribute__((always_inline))

enum {
	LANES = 8, /* registers of a sector */
	BATCH = 8, /* sectors whose tweaks are made together */
};

/* ---- tweaks ---- */

/* The first tweaks of @nr (at most BATCH) sectors, four to a register. */
VAES_CODE static void first_tweaks(const struct xts_schedule *s, uint64_t first_sector,
				   __m128i ret_tweaks[BATCH])
{
	__m512i step = _mm512_set_epi64(0, 3, 0, 2, 0, 1, 0, 0);
	__m512i a = _mm512_add_epi64(_mm512_maskz_set1_epi64(0x55, (long long)first_sector), step);
	__m512i b = _mm512_add_epi64(a, _mm512_maskz_set1_epi64(0x55, 4));

	a = _mm512_xor_si512(a, _mm512_broadcast_i32x4(s->tweak[0]));
	b = _mm512_xor_si512(b, _mm512_broadcast_i32x4(s->tweak[0]));
	for (int i = 1; i < AES_ROUNDS; i++) {
		__m512i key = _mm512_broadcast_i32x4(s->tweak[i]);

		a = _mm512_aesenc_epi128(a, key);
		b = _mm512_aesenc_epi128(b, key);
	}
	a = _mm512_aesenclast_epi128(a, _mm512_broadcast_i32x4(s->tweak[AES_ROUNDS]));
	b = _mm512_aesenclast_epi128(b, _mm512_broadcast_i32x4(s->tweak[AES_ROUNDS]));
	_mm512_storeu_si512(ret_tweaks, a);
	_mm512_storeu_si512(ret_tweaks + 4, b);
}

/* x^7 + x^2 + x + 1: what x^128 is. */
VAES_INLINE __m512i modulus(void)
{
	return _mm512_maskz_set1_epi64(0x55, 0x87);
}

/*
 * Each lane of @v times that of @powers, x^7 at most. Products without carry
 * rather than shifts: those would wait for the port of the AES rounds.
 */
VAES_INLINE __m512i multiply(__m512i v, __m512i powers)
{
	__m512i low = _mm512_clmulepi64_epi128(v, powers, 0x00);
	__m512i high = _mm512_clmulepi64_epi128(v, powers, 0x01);
	__m512i over = _mm512_clmulepi64_epi128(high, modulus(), 0x01);

	return _mm512_ternarylogic_epi64(low, _mm512_bslli_epi128(high, 8), over, 0x96);
}

/* Each lane times x^8: a byte on, and the one that leaves comes back reduced. */
VAES_INLINE __m512i times_x8(__m512i v)
{
	__m512i over = _mm512_clmulepi64_epi128(_mm512_bsrli_epi128(v, 15), modulus(), 0x00);

	return _mm512_xor_si512(_mm512_bslli_epi128(v, 1), over);
}

VAES_INLINE void block_tweaks(__m128i first, __m512i ret_tweaks[LANES])
{
	__m512i v = _mm512_broadcast_i32x4(first);

	ret_tweaks[0] = multiply(v, _mm512_set_epi64(0, 8, 0, 4, 0, 2, 0, 1));
	ret_tweaks[1] = multiply(v, _mm512_set_epi64(0, 128, 0, 64, 0, 32, 0, 16));
	XTS_UNROLL
	for (int i = 2; i < LANES; i++)
		ret_tweaks[i] = times_x8(ret_tweaks[i - 2]);
}

/* ---- sectors ---- */

VAES_INLINE void load(const uint8_t *data, const __m512i tweaks[LANES], __m128i key,
		      __m512i x[LANES])
{
	__m512i wide = _mm512_broadcast_i32x4(key);

	XTS_UNROLL
	for (int i = 0; i < LANES; i++)
		x[i] = _mm512_ternarylogic_epi64(_mm512_loadu_si512(data + i * 64), tweaks[i], wide,
						 0x96);
}

VAES_INLINE void encrypt_sector(const struct xts_schedule *s, __m128i tweak, uint8_t *data)
{
	__m512i tweaks[LANES], x[LANES];
	__m512i last = _mm512_broadcast_i32x4(s->encrypt[AES_ROUNDS]);

	block_tweaks(tweak, tweaks);
	load(data, tweaks, s->encrypt[0], x);
	for (int round = 1; round < AES_ROUNDS; round++) {
		__m512i key = _mm512_broadcast_i32x4(s->encrypt[round]);

		XTS_UNROLL
		for (int i = 0; i < LANES; i++)
			x[i] = _mm512_aesenc_epi128(x[i], key);
	}
	XTS_UNROLL
	for (int i = 0; i < LANES; i++) {
		x[i] = _mm512_aesenclast_epi128(x[i], last);
		_mm512_storeu_si512(data + i * 64, _mm512_xor_si512(x[i], tweaks[i]));
	}
}

VAES_INLINE void decrypt_sector(const struct xts_schedule *s, __m128i tweak, uint8_t *data)
{
	__m512i tweaks[LANES], x[LANES];
	__m512i last = _mm512_broadcast_i32x4(s->decrypt[AES_ROUNDS]);

	block_tweaks(tweak, tweaks);
	load(data, tweaks, s->decrypt[0], x);
	for (int round = 1; round < AES_ROUNDS; round++) {
		__m512i key = _mm512_broadcast_i32x4(s->decrypt[round]);

		XTS_UNROLL
		for (int i = 0; i < LANES; i++)
			x[i] = _mm512_aesdec_epi128(x[i], key);
	}
	XTS_UNROLL
	for (int i = 0; i < LANES; i++) {
		x[i] = _mm512_aesdeclast_epi128(x[i], last);
		_mm512_storeu_si512(data + i * 64, _mm512_xor_si512(x[i], tweaks[i]));
	}
}

typedef void (*sector_fn)(const struct xts_schedule *s, __m128i tweak, uint8_t *data);

VAES_INLINE void over_sectors(const struct xts_schedule *s, uint64_t first_sector,
			      uint32_t nr_sectors, uint8_t *data, sector_fn crypt_sector)
{
	while (nr_sectors > 0) {
		uint32_t nr = nr_sectors < BATCH ? nr_sectors : BATCH;
		__m128i tweaks[BATCH];

		first_tweaks(s, first_sector, tweaks);
		for (uint32_t i = 0; i < nr; i++)
			crypt_sector(s, tweaks[i], data + i * SECTOR_BYTES);
		first_sector += nr;
		nr_sectors -= nr;
		data += nr * SECTOR_BYTES;
	}
}

/* ---- the interface ---- */

static bool vaes512_supported(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
	       __builtin_cpu_supports("vpclmulqdq") && xts_has_vaes();
}

VAES_CODE static void vaes512_encrypt(struct xts *xts, uint64_t first_sector, uint32_t nr_sectors,
				      uint8_t *data)
{
	over_sectors(xts->impl, first_sector, nr_sectors, data, encrypt_sector);
}

VAES_CODE static void vaes512_decrypt(struct xts *xts, uint64_t first_sector, uint32_t nr_sectors,
				      uint8_t *data)
{
	over_sectors(xts->impl, first_sector, nr_sectors, data, decrypt_sector);
}

const struct xts_ops xts_vaes512_ops = {
	.name = "vaes512",
	.supported = vaes512_supported,
	.init = xts_schedule_init,
	.done = xts_schedule_done,
	.encrypt = vaes512_encrypt,
	.decrypt = vaes512_decrypt,
};
