/* SPDX-License-Identifier: MIT */
/*
 * AES-256-XTS with VAES and AVX-512: a sector is 32 blocks, so eight registers
 * of four blocks hold all of it, and their AES rounds run side by side.
 *
 * The tweak of a sector is AES of its number under the second key; the tweaks of
 * its blocks follow by multiplication with x in GF(2^128) modulo
 * x^128 + x^7 + x^2 + x + 1 (IEEE 1619-2018, 5.2). Four neighbours share a
 * register, so a register follows the one before by multiplication with x^4.
 * Sectors go in batches, whose first tweaks are encrypted together.
 */
#include <cpuid.h>
#include <errno.h>
#include <immintrin.h>
#include <stdlib.h>
#include <string.h>

#include "crypt/xts.h"
#include "sealblk/units.h"

#define VAES_CODE __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,aes,vaes")))

/* Unrolled, or the eight registers would be an array in memory. */
#define EACH_LANE _Pragma("GCC unroll 8")

#define VAES_INLINE VAES_CODE static inline __attribute__((always_inline))

enum {
	ROUNDS = 14, /* of AES-256 */
	LANES = 8,   /* registers of a sector */
	BATCH = 8,   /* sectors whose tweaks are made together */
	AES_KEY_BYTES = XTS_KEY_BYTES / 2,
};

struct schedule {
	__m128i encrypt[ROUNDS + 1];
	__m128i decrypt[ROUNDS + 1]; /* of the equivalent inverse cipher (FIPS 197, 5.3.5) */
	__m128i tweak[ROUNDS + 1];
};

/* ---- key expansion (FIPS 197, 5.2) ---- */

/* Each word of @key plus those before it, plus @assist in all of them. */
VAES_CODE static __m128i mix(__m128i key, __m128i assist)
{
	key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
	key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
	key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
	return _mm_xor_si128(key, assist);
}

/* The round constant must be a literal. */
#define EXPAND_EVEN(keys, i, constant) \
	((keys)[i] =                   \
		 mix((keys)[(i)-2],    \
		     _mm_shuffle_epi32(_mm_aeskeygenassist_si128((keys)[(i)-1], constant), 0xff)))
#define EXPAND_ODD(keys, i)             \
	((keys)[i] = mix((keys)[(i)-2], \
			 _mm_shuffle_epi32(_mm_aeskeygenassist_si128((keys)[(i)-1], 0), 0xaa)))

VAES_CODE static void expand(const uint8_t key[AES_KEY_BYTES], __m128i keys[ROUNDS + 1])
{
	keys[0] = _mm_loadu_si128((const __m128i *)(const void *)key);
	keys[1] = _mm_loadu_si128((const __m128i *)(const void *)(key + 16));
	EXPAND_EVEN(keys, 2, 0x01);
	EXPAND_ODD(keys, 3);
	EXPAND_EVEN(keys, 4, 0x02);
	EXPAND_ODD(keys, 5);
	EXPAND_EVEN(keys, 6, 0x04);
	EXPAND_ODD(keys, 7);
	EXPAND_EVEN(keys, 8, 0x08);
	EXPAND_ODD(keys, 9);
	EXPAND_EVEN(keys, 10, 0x10);
	EXPAND_ODD(keys, 11);
	EXPAND_EVEN(keys, 12, 0x20);
	EXPAND_ODD(keys, 13);
	EXPAND_EVEN(keys, 14, 0x40);
}

VAES_CODE static void invert(const __m128i encrypt[ROUNDS + 1], __m128i decrypt[ROUNDS + 1])
{
	decrypt[0] = encrypt[ROUNDS];
	for (int i = 1; i < ROUNDS; i++)
		decrypt[i] = _mm_aesimc_si128(encrypt[ROUNDS - i]);
	decrypt[ROUNDS] = encrypt[0];
}

/* ---- tweaks ---- */

/* The first tweaks of @nr (at most BATCH) sectors, four to a register. */
VAES_CODE static void first_tweaks(const struct schedule *s, uint64_t first_sector,
				   __m128i ret_tweaks[BATCH])
{
	__m512i step = _mm512_set_epi64(0, 3, 0, 2, 0, 1, 0, 0);
	__m512i a = _mm512_add_epi64(_mm512_maskz_set1_epi64(0x55, (long long)first_sector), step);
	__m512i b = _mm512_add_epi64(a, _mm512_maskz_set1_epi64(0x55, 4));

	a = _mm512_xor_si512(a, _mm512_broadcast_i32x4(s->tweak[0]));
	b = _mm512_xor_si512(b, _mm512_broadcast_i32x4(s->tweak[0]));
	for (int i = 1; i < ROUNDS; i++) {
		__m512i key = _mm512_broadcast_i32x4(s->tweak[i]);

		a = _mm512_aesenc_epi128(a, key);
		b = _mm512_aesenc_epi128(b, key);
	}
	a = _mm512_aesenclast_epi128(a, _mm512_broadcast_i32x4(s->tweak[ROUNDS]));
	b = _mm512_aesenclast_epi128(b, _mm512_broadcast_i32x4(s->tweak[ROUNDS]));
	_mm512_storeu_si512(ret_tweaks, a);
	_mm512_storeu_si512(ret_tweaks + 4, b);
}

/*
 * Each 128-bit lane times x^n, by shift counts per lane: lane l of the first
 * register is times x^l, then every lane times x^4. What is shifted out at the
 * top (@carry, below 2^4) comes back as carry * (x^7 + x^2 + x + 1).
 */
VAES_INLINE __m512i multiply(__m512i v, __m512i left, __m512i right)
{
	__m512i out = _mm512_srlv_epi64(v, right);
	__m512i crossed = _mm512_shuffle_epi32(out, (_MM_PERM_ENUM)0x4e);
	__m512i carry = _mm512_maskz_mov_epi64(0x55, crossed);

	v = _mm512_xor_si512(_mm512_sllv_epi64(v, left), crossed);
	carry = _mm512_ternarylogic_epi64(_mm512_slli_epi64(carry, 1), _mm512_slli_epi64(carry, 2),
					  _mm512_slli_epi64(carry, 7), 0x96);
	return _mm512_xor_si512(v, carry);
}

VAES_INLINE void block_tweaks(__m128i first, __m512i ret_tweaks[LANES])
{
	const __m512i left = _mm512_set_epi64(3, 3, 2, 2, 1, 1, 0, 0);
	/* A count of 64 shifts everything out: lane 0 stays as it is. */
	const __m512i right = _mm512_set_epi64(61, 61, 62, 62, 63, 63, 64, 64);
	const __m512i four = _mm512_set1_epi64(4);
	const __m512i sixty = _mm512_set1_epi64(60);

	ret_tweaks[0] = multiply(_mm512_broadcast_i32x4(first), left, right);
	EACH_LANE
	for (int i = 1; i < LANES; i++)
		ret_tweaks[i] = multiply(ret_tweaks[i - 1], four, sixty);
}

/* ---- sectors ---- */

VAES_INLINE void load(const uint8_t *data, const __m512i tweaks[LANES], __m128i key,
		      __m512i x[LANES])
{
	__m512i wide = _mm512_broadcast_i32x4(key);

	EACH_LANE
	for (int i = 0; i < LANES; i++)
		x[i] = _mm512_ternarylogic_epi64(_mm512_loadu_si512(data + i * 64), tweaks[i], wide,
						 0x96);
}

VAES_INLINE void encrypt_sector(const struct schedule *s, __m128i tweak, uint8_t *data)
{
	__m512i tweaks[LANES], x[LANES];
	__m512i last = _mm512_broadcast_i32x4(s->encrypt[ROUNDS]);

	block_tweaks(tweak, tweaks);
	load(data, tweaks, s->encrypt[0], x);
	for (int round = 1; round < ROUNDS; round++) {
		__m512i key = _mm512_broadcast_i32x4(s->encrypt[round]);

		EACH_LANE
		for (int i = 0; i < LANES; i++)
			x[i] = _mm512_aesenc_epi128(x[i], key);
	}
	EACH_LANE
	for (int i = 0; i < LANES; i++) {
		x[i] = _mm512_aesenclast_epi128(x[i], last);
		_mm512_storeu_si512(data + i * 64, _mm512_xor_si512(x[i], tweaks[i]));
	}
}

VAES_INLINE void decrypt_sector(const struct schedule *s, __m128i tweak, uint8_t *data)
{
	__m512i tweaks[LANES], x[LANES];
	__m512i last = _mm512_broadcast_i32x4(s->decrypt[ROUNDS]);

	block_tweaks(tweak, tweaks);
	load(data, tweaks, s->decrypt[0], x);
	for (int round = 1; round < ROUNDS; round++) {
		__m512i key = _mm512_broadcast_i32x4(s->decrypt[round]);

		EACH_LANE
		for (int i = 0; i < LANES; i++)
			x[i] = _mm512_aesdec_epi128(x[i], key);
	}
	EACH_LANE
	for (int i = 0; i < LANES; i++) {
		x[i] = _mm512_aesdeclast_epi128(x[i], last);
		_mm512_storeu_si512(data + i * 64, _mm512_xor_si512(x[i], tweaks[i]));
	}
}

typedef void (*sector_fn)(const struct schedule *s, __m128i tweak, uint8_t *data);

VAES_INLINE void over_sectors(const struct schedule *s, uint64_t first_sector, uint32_t nr_sectors,
			      uint8_t *data, sector_fn crypt_sector)
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

/* Not every compiler knows this feature by name. */
static bool has_vaes(void)
{
	unsigned int a, b, c = 0, d;

	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & bit_VAES);
}

static bool vaes512_supported(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
	       has_vaes();
}

static int vaes512_init(struct xts *xts, const struct xts_key *key)
{
	struct schedule *s = aligned_alloc(64, round_up(sizeof(*s), 64));

	if (!s)
		return -ENOMEM;
	expand(key->bytes, s->encrypt);
	invert(s->encrypt, s->decrypt);
	expand(key->bytes + AES_KEY_BYTES, s->tweak);
	xts->impl = s;
	return 0;
}

static void vaes512_done(struct xts *xts)
{
	explicit_bzero(xts->impl, sizeof(struct schedule));
	free(xts->impl);
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
	.init = vaes512_init,
	.done = vaes512_done,
	.encrypt = vaes512_encrypt,
	.decrypt = vaes512_decrypt,
};
