/* SPDX-License-Identifier: MIT */
/* Key expansion with AES instructions (FIPS 197, 5.2): see xts_schedule.h. */
#include "crypt/xts_schedule.h"

#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sealblk/units.h"

#define AES_CODE __attribute__((target("aes,sse2")))

/* Each word of @key plus those before it, plus @assist in all of them. */
AES_CODE static __m128i mix(__m128i key, __m128i assist)
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

AES_CODE static void expand(const uint8_t key[AES_KEY_BYTES], __m128i keys[AES_ROUNDS + 1])
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

AES_CODE static void invert(const __m128i encrypt[AES_ROUNDS + 1], __m128i decrypt[AES_ROUNDS + 1])
{
	decrypt[0] = encrypt[AES_ROUNDS];
	for (int i = 1; i < AES_ROUNDS; i++)
		decrypt[i] = _mm_aesimc_si128(encrypt[AES_ROUNDS - i]);
	decrypt[AES_ROUNDS] = encrypt[0];
}

int xts_schedule_init(struct xts *xts, const struct xts_key *key)
{
	struct xts_schedule *s = aligned_alloc(64, round_up(sizeof(*s), 64));

	if (!s)
		return -ENOMEM;
	expand(key->bytes, s->encrypt);
	invert(s->encrypt, s->decrypt);
	expand(key->bytes + AES_KEY_BYTES, s->tweak);
	xts->impl = s;
	return 0;
}

void xts_schedule_done(struct xts *xts)
{
	explicit_bzero(xts->impl, sizeof(struct xts_schedule));
	free(xts->impl);
}

bool xts_has_aes(void)
{
	unsigned int a, b, c = 0, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_AES);
}

/* Not every compiler knows this feature by name. */
bool xts_has_vaes(void)
{
	unsigned int a, b, c = 0, d;

	return xts_has_aes() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & bit_VAES);
}
