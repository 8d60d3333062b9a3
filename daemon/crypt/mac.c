/* SPDX-License-Identifier: MIT */
/* HMAC-SHA-256 (RFC 2104) through OpenSSL's EVP_MAC. */
#include "crypt/mac.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>
#include <string.h>

#include "crypt/ossl.h"

int mac_init(struct mac_ctx *ctx, const uint8_t key[MAC_KEY_BYTES])
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};
	EVP_MAC *hmac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);
	EVP_MAC_CTX *impl = hmac ? EVP_MAC_CTX_new(hmac) : NULL;

	EVP_MAC_free(hmac); /* the context holds its own reference */
	if (!impl || EVP_MAC_init(impl, key, MAC_KEY_BYTES, params) != 1) {
		EVP_MAC_CTX_free(impl);
		return ossl_failed_why();
	}
	ctx->impl = impl;
	return 0;
}

void mac_done(struct mac_ctx *ctx)
{
	EVP_MAC_CTX_free(ctx->impl);
	ctx->impl = NULL;
}

int mac_compute(struct mac_ctx *ctx, const void *bytes, size_t nr_bytes, uint8_t ret_mac[MAC_BYTES])
{
	uint8_t mac[MAC_BYTES];

	if (!ctx->impl)
		return -ENOKEY;
	/* Without a key EVP_MAC_init() starts over under the one it has. */
	if (EVP_MAC_init(ctx->impl, NULL, 0, NULL) != 1 ||
	    EVP_MAC_update(ctx->impl, bytes, nr_bytes) != 1 ||
	    EVP_MAC_final(ctx->impl, mac, NULL, sizeof(mac)) != 1)
		return ossl_failed(-EIO);
	memcpy(ret_mac, mac, sizeof(mac));
	return 0;
}

bool mac_equal(const uint8_t a[MAC_BYTES], const uint8_t b[MAC_BYTES])
{
	return CRYPTO_memcmp(a, b, MAC_BYTES) == 0;
}
