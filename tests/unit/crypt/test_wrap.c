/* SPDX-License-Identifier: MIT */
/* AES-256-GCM against the test cases of the GCM specification (McGrew and Viega). */
#include "crypt/wrap.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <openssl/err.h>
#include <string.h>

#include "unit/crypt/hex.h"

enum { DATA_BYTES_MAX = 64 };

#define ZERO_KEY "0000000000000000000000000000000000000000000000000000000000000000"
#define SPEC_KEY "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"
#define SPEC_PLAIN_60                                                      \
	"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72" \
	"1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
#define SPEC_CIPHER_60                                                     \
	"522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa" \
	"8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"

/* Test cases 13 to 16. */
static const struct gcm_case {
	const char *key, *nonce, *aad, *plain, *cipher, *tag;
} gcm_cases[] = {
	{ ZERO_KEY, "000000000000000000000000", "", "", "", "530f8afbc74536b9a963b4f1c4cb738b" },
	{ ZERO_KEY, "000000000000000000000000", "", "00000000000000000000000000000000",
	  "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919" },
	{ SPEC_KEY, "cafebabefacedbaddecaf888", "", SPEC_PLAIN_60 "1aafd255",
	  SPEC_CIPHER_60 "898015ad", "b094dac5d93471bdec1a502270e3cc6c" },
	{ SPEC_KEY, "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
	  SPEC_PLAIN_60, SPEC_CIPHER_60, "76fc6ece0f4e1768cddf8853bb2d551b" },
};

struct gcm_bytes {
	uint8_t key[WRAP_KEY_BYTES], nonce[WRAP_NONCE_BYTES], tag[WRAP_TAG_BYTES];
	uint8_t aad[DATA_BYTES_MAX], plain[DATA_BYTES_MAX], cipher[DATA_BYTES_MAX];
	size_t aad_bytes, nr_bytes;
};

static struct gcm_bytes decode(const struct gcm_case *c)
{
	struct gcm_bytes b;

	unhex(c->key, b.key, sizeof(b.key));
	unhex(c->nonce, b.nonce, sizeof(b.nonce));
	unhex(c->tag, b.tag, sizeof(b.tag));
	b.aad_bytes = unhex(c->aad, b.aad, sizeof(b.aad));
	b.nr_bytes = unhex(c->plain, b.plain, sizeof(b.plain));
	unhex(c->cipher, b.cipher, sizeof(b.cipher));
	return b;
}

Test(wrap, gives_the_answers_of_the_gcm_specification_both_ways)
{
	for (size_t i = 0; i < ARRAY_LEN(gcm_cases); i++) {
		struct gcm_bytes b = decode(&gcm_cases[i]);
		uint8_t data[DATA_BYTES_MAX], tag[WRAP_TAG_BYTES];

		cr_assert_eq(wrap_seal(b.key, b.nonce, b.aad, b.aad_bytes, b.plain, b.nr_bytes,
				       data, tag),
			     0);
		cr_expect_arr_eq(data, b.cipher, b.nr_bytes, "case %zu", 13 + i);
		cr_expect_arr_eq(tag, b.tag, WRAP_TAG_BYTES, "case %zu", 13 + i);
		cr_assert_eq(wrap_open(b.key, b.nonce, b.aad, b.aad_bytes, b.cipher, b.nr_bytes,
				       b.tag, data),
			     0);
		cr_expect_arr_eq(data, b.plain, b.nr_bytes, "case %zu", 13 + i);
	}
}

Test(wrap, seals_in_place)
{
	struct gcm_bytes b = decode(&gcm_cases[3]);
	uint8_t tag[WRAP_TAG_BYTES];

	cr_assert_eq(wrap_seal(b.key, b.nonce, b.aad, b.aad_bytes, b.plain, b.nr_bytes, b.plain,
			       tag),
		     0);
	cr_expect_arr_eq(b.plain, b.cipher, b.nr_bytes);
}

/* Opens @b and expects a refusal that shows no plaintext and leaves no error behind. */
static void expect_rejected(const struct gcm_bytes *b, const char *what)
{
	static const uint8_t zeros[DATA_BYTES_MAX];
	uint8_t data[DATA_BYTES_MAX];

	memset(data, 0x55, sizeof(data));
	cr_expect_eq(wrap_open(b->key, b->nonce, b->aad, b->aad_bytes, b->cipher, b->nr_bytes,
			       b->tag, data),
		     -EKEYREJECTED, "%s", what);
	cr_expect_arr_eq(data, zeros, b->nr_bytes, "%s", what);
	cr_expect_eq(ERR_peek_error(), 0, "%s", what);
}

Test(wrap, rejects_a_flipped_bit_anywhere_and_wipes)
{
	const struct gcm_bytes good = decode(&gcm_cases[3]);
	struct gcm_bytes b;

	b = good, b.key[31] ^= 1, expect_rejected(&b, "key");
	b = good, b.nonce[0] ^= 1, expect_rejected(&b, "nonce");
	b = good, b.aad[19] ^= 0x80, expect_rejected(&b, "AAD");
	b = good, b.aad_bytes--, expect_rejected(&b, "AAD length");
	b = good, b.cipher[59] ^= 1, expect_rejected(&b, "ciphertext");
	b = good, b.nr_bytes--, expect_rejected(&b, "length");
	for (int i = 0; i < WRAP_TAG_BYTES; i++)
		b = good, b.tag[i] ^= 1, expect_rejected(&b, "tag");
}
