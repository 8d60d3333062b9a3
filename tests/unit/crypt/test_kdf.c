/* SPDX-License-Identifier: MIT */
/* HKDF-SHA-512 against its definition (RFC 5869), scrypt against RFC 7914. */
#include "crypt/wrap.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <openssl/hmac.h>
#include <string.h>
#include <time.h>

#include "sealblk/limits.h"
#include "unit/crypt/hex.h"

enum { SHA512_BYTES = 64 };

static void hmac_sha512(const uint8_t *key, size_t key_bytes, const uint8_t *data,
			size_t data_bytes, uint8_t ret_mac[SHA512_BYTES])
{
	cr_assert_not_null(
		HMAC(EVP_sha512(), key, (int)key_bytes, data, data_bytes, ret_mac, NULL));
}

/* RFC 5869 written out: extract, then T(i) = HMAC(PRK, T(i-1) | info | i). */
static void hkdf_by_the_book(const uint8_t *secret, size_t secret_bytes, const uint8_t *salt,
			     size_t salt_bytes, const char *info, uint8_t *ret_key,
			     size_t key_bytes)
{
	static const uint8_t zeros[SHA512_BYTES];
	uint8_t prk[SHA512_BYTES], t[SHA512_BYTES], input[SHA512_BYTES + 64];
	size_t info_bytes = strlen(info);
	size_t t_bytes = 0;

	hmac_sha512(salt_bytes ? salt : zeros, salt_bytes ? salt_bytes : sizeof(zeros), secret,
		    secret_bytes, prk);
	for (uint8_t i = 1; key_bytes > 0; i++) {
		size_t part = key_bytes < SHA512_BYTES ? key_bytes : SHA512_BYTES;

		memcpy(input, t, t_bytes);
		memcpy(input + t_bytes, info, info_bytes);
		input[t_bytes + info_bytes] = i;
		hmac_sha512(prk, sizeof(prk), input, t_bytes + info_bytes + 1, t);
		t_bytes = SHA512_BYTES;
		memcpy(ret_key, t, part);
		ret_key += part;
		key_bytes -= part;
	}
}

Test(kdf_hkdf, agrees_with_rfc_5869_for_every_length_of_key)
{
	static const uint8_t secret[] = "the secret of this test, long enough to be one";
	static const uint8_t salt[SHA512_BYTES / 2] = { 1, 2, 3, 4 };
	static const size_t key_bytes[] = { 1, 32, 42, 64, 65, 128, 130 };
	uint8_t wanted[130], key[130];

	for (size_t i = 0; i < ARRAY_LEN(key_bytes); i++) {
		for (size_t salt_bytes = 0; salt_bytes <= sizeof(salt);
		     salt_bytes += sizeof(salt)) {
			hkdf_by_the_book(secret, sizeof(secret), salt, salt_bytes, "some info",
					 wanted, key_bytes[i]);
			cr_assert_eq(kdf_hkdf_sha512(secret, sizeof(secret),
						     salt_bytes ? salt : NULL, salt_bytes,
						     "some info", 9, key, key_bytes[i]),
				     0);
			cr_expect_arr_eq(key, wanted, key_bytes[i], "%zu bytes", key_bytes[i]);
		}
	}
}

/* Input of RFC 5869 A.1; the output is SHA-512's, as other implementations publish it. */
Test(kdf_hkdf, gives_the_published_answer)
{
	uint8_t secret[22], salt[13], info[10], wanted[42], key[42];

	memset(secret, 0x0b, sizeof(secret));
	unhex("000102030405060708090a0b0c", salt, sizeof(salt));
	unhex("f0f1f2f3f4f5f6f7f8f9", info, sizeof(info));
	unhex("832390086cda71fb47625bb5ceb168e4c8e26a1a16ed34d9fc7fe92c1481579338da362cb8d9f925d7cb",
	      wanted, sizeof(wanted));
	cr_assert_eq(kdf_hkdf_sha512(secret, sizeof(secret), salt, sizeof(salt), info, sizeof(info),
				     key, sizeof(key)),
		     0);
	cr_expect_arr_eq(key, wanted, sizeof(wanted));
}

/* RFC 7914 section 12; its fourth vector takes 1 GiB and is left to bigger machines. */
static const struct {
	const char *secret, *salt;
	unsigned int log_n, r, p;
	const char *key;
} rfc7914[] = {
	{ "", "", 4, 1, 1,
	  "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442"
	  "fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906" },
	{ "password", "NaCl", 10, 8, 16,
	  "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
	  "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640" },
	{ "pleaseletmein", "SodiumChloride", 14, 8, 1,
	  "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
	  "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887" },
};

static int scrypt_of(const char *secret, const char *salt, unsigned int log_n, unsigned int r,
		     unsigned int p, uint8_t ret_key[64])
{
	return kdf_scrypt((const uint8_t *)secret, strlen(secret), (const uint8_t *)salt,
			  strlen(salt), log_n, r, p, ret_key, 64);
}

Test(kdf_scrypt, gives_the_answers_of_rfc_7914)
{
	for (size_t i = 0; i < ARRAY_LEN(rfc7914); i++) {
		uint8_t wanted[64], key[64];

		unhex(rfc7914[i].key, wanted, sizeof(wanted));
		cr_assert_eq(scrypt_of(rfc7914[i].secret, rfc7914[i].salt, rfc7914[i].log_n,
				       rfc7914[i].r, rfc7914[i].p, key),
			     0);
		cr_expect_arr_eq(key, wanted, sizeof(key), "vector %zu", i + 1);
	}
}

Test(kdf_scrypt, refuses_parameters_outside_the_limits_at_once)
{
	static const struct {
		unsigned int log_n, r, p;
	} hostile[] = {
		{ 0, 8, 1 },
		{ 14, 0, 1 },
		{ 14, 8, 0 },
		{ SCRYPT_LOG_N_MAX + 1, 8, 1 },
		{ 255, 255, 255 },
		{ 14, SCRYPT_R_MAX + 1, 1 },
		{ 14, 8, SCRYPT_P_MAX + 1 },
		{ 20, 9, 1 }, /* each within its limit, but more than SCRYPT_BYTES_MAX */
		{ 16, 1, 1 }, /* RFC 7914: N < 2^(128 * r / 8) */
	};
	clock_t start = clock();
	uint8_t key[64];

	for (size_t i = 0; i < ARRAY_LEN(hostile); i++)
		cr_expect_eq(scrypt_of("x", "y", hostile[i].log_n, hostile[i].r, hostile[i].p, key),
			     -EINVAL, "row %zu", i);
	cr_expect_lt(clock() - start, CLOCKS_PER_SEC / 10);
}
