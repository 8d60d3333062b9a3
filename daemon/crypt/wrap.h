/* SPDX-License-Identifier: MIT */
/*
 * Wrapping of keys by keys: AES-256-GCM (NIST SP 800-38D), and where the keys
 * come from. All of it is OpenSSL's; this header is the project's view of it.
 */
#ifndef CRYPT_WRAP_H
#define CRYPT_WRAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

enum { WRAP_KEY_BYTES = 32, WRAP_NONCE_BYTES = 12, WRAP_TAG_BYTES = 16 };

/* Returns 0 or -EIO. @ret_wrapped: @nr_bytes; may be @plain. The nonce is the caller's, fresh. */
int MUST_CHECK wrap_seal(const uint8_t key[WRAP_KEY_BYTES], const uint8_t nonce[WRAP_NONCE_BYTES],
			 const void *aad, size_t aad_bytes, const uint8_t *plain, size_t nr_bytes,
			 uint8_t *ret_wrapped, uint8_t ret_tag[WRAP_TAG_BYTES]);

/* Returns 0, -EKEYREJECTED when the tag does not match (@ret_plain is then wiped), or -EIO. */
int MUST_CHECK wrap_open(const uint8_t key[WRAP_KEY_BYTES], const uint8_t nonce[WRAP_NONCE_BYTES],
			 const void *aad, size_t aad_bytes, const uint8_t *wrapped, size_t nr_bytes,
			 const uint8_t tag[WRAP_TAG_BYTES], uint8_t *ret_plain);

/* HKDF-SHA-512 (RFC 5869). @salt may be NULL with 0 bytes. Returns 0 or -EIO. */
int MUST_CHECK kdf_hkdf_sha512(const uint8_t *secret, size_t secret_bytes, const uint8_t *salt,
			       size_t salt_bytes, const void *info, size_t info_bytes,
			       uint8_t *ret_key, size_t key_bytes);

/*
 * scrypt (RFC 7914). Slow and large by design: 128 * r * 2^log_n bytes.
 * Returns 0, -EINVAL for parameters outside limits.h (also when the memory
 * exceeds SCRYPT_BYTES_MAX, or the work SCRYPT_WORK_MAX), -ENOMEM, or -EIO.
 */
int MUST_CHECK kdf_scrypt(const uint8_t *secret, size_t secret_bytes, const uint8_t *salt,
			  size_t salt_bytes, unsigned int log_n, unsigned int r, unsigned int p,
			  uint8_t *ret_key, size_t key_bytes);

/* Bytes for keys (private) or nonces, salts and ids (public). Returns 0 or -EIO. */
int MUST_CHECK random_private(void *ret_bytes, size_t nr_bytes);
int MUST_CHECK random_public(void *ret_bytes, size_t nr_bytes);

/* SHA-256 in pieces, for digests of bases. */
struct digest_ctx {
	void *impl;
};
int MUST_CHECK digest_init(struct digest_ctx *ctx);
int MUST_CHECK digest_add(struct digest_ctx *ctx, const void *bytes, size_t nr_bytes);
int MUST_CHECK digest_end(struct digest_ctx *ctx, uint8_t ret_digest[32]); /* also frees */
void digest_done(struct digest_ctx *ctx); /* gives up; accepts a zeroed struct */

#endif
