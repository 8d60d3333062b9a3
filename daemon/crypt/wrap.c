/* SPDX-License-Identifier: MIT */
/* Wrapping of keys: AES-256-GCM with a 96-bit nonce (NIST SP 800-38D). */
#include "crypt/wrap.h"

#include <assert.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <string.h>

#include "crypt/ossl.h"

/* Lengths are of keys and of their AAD: far below what EVP's int can say. */
static int int_of(size_t nr_bytes)
{
	assert(nr_bytes <= INT_MAX);
	return (int)nr_bytes;
}

int wrap_seal(const uint8_t key[WRAP_KEY_BYTES], const uint8_t nonce[WRAP_NONCE_BYTES],
	      const void *aad, size_t aad_bytes, const uint8_t *plain, size_t nr_bytes,
	      uint8_t *ret_wrapped, uint8_t ret_tag[WRAP_TAG_BYTES])
{
	CLEANUP(ossl_cipher_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int done;

	/* GCM's default nonce length is the 96 bits we use. */
	if (!ctx || EVP_EncryptInit_ex2(ctx, EVP_aes_256_gcm(), key, nonce, NULL) != 1 ||
	    EVP_EncryptUpdate(ctx, NULL, &done, aad, int_of(aad_bytes)) != 1 ||
	    EVP_EncryptUpdate(ctx, ret_wrapped, &done, plain, int_of(nr_bytes)) != 1 ||
	    EVP_EncryptFinal_ex(ctx, ret_wrapped + done, &done) != 1 ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, WRAP_TAG_BYTES, ret_tag) != 1)
		return ossl_failed(-EIO);
	return 0;
}

int wrap_open(const uint8_t key[WRAP_KEY_BYTES], const uint8_t nonce[WRAP_NONCE_BYTES],
	      const void *aad, size_t aad_bytes, const uint8_t *wrapped, size_t nr_bytes,
	      const uint8_t tag[WRAP_TAG_BYTES], uint8_t *ret_plain)
{
	CLEANUP(ossl_cipher_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t wanted[WRAP_TAG_BYTES]; /* EVP takes a tag it could write to */
	int done;

	memcpy(wanted, tag, sizeof(wanted));
	if (!ctx || EVP_DecryptInit_ex2(ctx, EVP_aes_256_gcm(), key, nonce, NULL) != 1 ||
	    EVP_DecryptUpdate(ctx, NULL, &done, aad, int_of(aad_bytes)) != 1 ||
	    EVP_DecryptUpdate(ctx, ret_plain, &done, wrapped, int_of(nr_bytes)) != 1 ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, WRAP_TAG_BYTES, wanted) != 1) {
		OPENSSL_cleanse(ret_plain, nr_bytes);
		return ossl_failed(-EIO);
	}
	if (EVP_DecryptFinal_ex(ctx, ret_plain + done, &done) != 1) {
		OPENSSL_cleanse(ret_plain, nr_bytes);
		return ossl_failed(-EKEYREJECTED);
	}
	return 0;
}
