/* SPDX-License-Identifier: MIT */
/* Keys from secrets: HKDF-SHA-512 (RFC 5869) and scrypt (RFC 7914), through EVP_KDF. */
#include "crypt/wrap.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <stdbool.h>

#include "crypt/ossl.h"
#include "sealblk/limits.h"

/* OSSL_PARAM has no const: EVP_KDF_derive() only reads what these point to. */
static OSSL_PARAM bytes_param(const char *name, const void *bytes, size_t nr_bytes)
{
	return OSSL_PARAM_construct_octet_string(name, (void *)(uintptr_t)bytes, nr_bytes);
}

static int derive(const char *kdf_name, const OSSL_PARAM *params, uint8_t *ret_key,
		  size_t key_bytes)
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, kdf_name, NULL);
	CLEANUP(ossl_kdf_freep) EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;

	EVP_KDF_free(kdf); /* the context holds its own reference */
	if (!ctx || EVP_KDF_derive(ctx, ret_key, key_bytes, params) != 1)
		return ossl_failed_why();
	return 0;
}

int kdf_hkdf_sha512(const uint8_t *secret, size_t secret_bytes, const uint8_t *salt,
		    size_t salt_bytes, const void *info, size_t info_bytes, uint8_t *ret_key,
		    size_t key_bytes)
{
	char digest[] = "SHA512";
	const OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
		bytes_param(OSSL_KDF_PARAM_KEY, secret, secret_bytes),
		bytes_param(OSSL_KDF_PARAM_INFO, info, info_bytes),
		/* RFC 5869 2.2: no salt is a salt of zeros, which OpenSSL supplies. */
		salt_bytes > 0 ? bytes_param(OSSL_KDF_PARAM_SALT, salt, salt_bytes)
			       : OSSL_PARAM_construct_end(),
		OSSL_PARAM_construct_end(),
	};

	return derive(OSSL_KDF_NAME_HKDF, params, ret_key, key_bytes) < 0 ? -EIO : 0;
}

/*
 * The parameters come from an image that may be hostile, so they are judged
 * before anything is spent on them. N < 2^(16 r) is RFC 7914's own bound.
 */
static bool scrypt_allowed(unsigned int log_n, unsigned int r, unsigned int p)
{
	if (log_n < 1 || log_n > SCRYPT_LOG_N_MAX)
		return false;
	if (r < 1 || r > SCRYPT_R_MAX || p < 1 || p > SCRYPT_P_MAX || log_n >= 16 * r)
		return false;
	return (uint64_t)128 * r << log_n <= SCRYPT_BYTES_MAX &&
	       (uint64_t)r * p << log_n <= SCRYPT_WORK_MAX;
}

int kdf_scrypt(const uint8_t *secret, size_t secret_bytes, const uint8_t *salt, size_t salt_bytes,
	       unsigned int log_n, unsigned int r, unsigned int p, uint8_t *ret_key,
	       size_t key_bytes)
{
	uint64_t n = (uint64_t)1 << (log_n & 63);
	/* RFC 7914's V, its scratch X and T, and B: just what OpenSSL allocates. */
	uint64_t memory_bytes = (uint64_t)128 * r * (n + 2 + p);
	const OSSL_PARAM params[] = {
		bytes_param(OSSL_KDF_PARAM_PASSWORD, secret, secret_bytes),
		bytes_param(OSSL_KDF_PARAM_SALT, salt, salt_bytes),
		OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_N, &n),
		OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_R, &r),
		OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_P, &p),
		OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_MAXMEM, &memory_bytes),
		OSSL_PARAM_construct_end(),
	};

	if (!scrypt_allowed(log_n, r, p))
		return -EINVAL;
	return derive(OSSL_KDF_NAME_SCRYPT, params, ret_key, key_bytes);
}
