/* SPDX-License-Identifier: MIT */
/*
 * What the users of OpenSSL in this folder share: the way out after a failure,
 * and the cleanups. Not for other folders.
 */
#ifndef CRYPT_OSSL_H
#define CRYPT_OSSL_H

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

/*
 * Every failure of OpenSSL leaves through here: what it left in the thread's
 * error queue would mislead the TLS code, whose SSL_get_error() looks there.
 * Returns @rc.
 */
static inline int ossl_failed(int rc)
{
	ERR_clear_error();
	return rc;
}

/* The same for callers that promise -ENOMEM beside -EIO. */
static inline int ossl_failed_why(void)
{
	unsigned long error = ERR_peek_last_error();

	return ossl_failed(ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE ? -ENOMEM : -EIO);
}

static inline void ossl_cipher_freep(EVP_CIPHER_CTX **ctx)
{
	EVP_CIPHER_CTX_free(*ctx);
}

static inline void ossl_kdf_freep(EVP_KDF_CTX **ctx)
{
	EVP_KDF_CTX_free(*ctx);
}

#endif
