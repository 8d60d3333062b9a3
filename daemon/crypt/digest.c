/* SPDX-License-Identifier: MIT */
/* SHA-256 in pieces (FIPS 180-4). */
#include "crypt/wrap.h"

#include <string.h>

#include "crypt/ossl.h"

int digest_init(struct digest_ctx *ctx)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();

	if (!md || EVP_DigestInit_ex2(md, EVP_sha256(), NULL) != 1) {
		EVP_MD_CTX_free(md);
		return ossl_failed_why();
	}
	ctx->impl = md;
	return 0;
}

int digest_add(struct digest_ctx *ctx, const void *bytes, size_t nr_bytes)
{
	if (EVP_DigestUpdate(ctx->impl, bytes, nr_bytes) != 1)
		return ossl_failed(-EIO);
	return 0;
}

int digest_end(struct digest_ctx *ctx, uint8_t ret_digest[32])
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	int ok = EVP_DigestFinal_ex(ctx->impl, digest, NULL);

	digest_done(ctx);
	if (ok != 1)
		return ossl_failed(-EIO);
	memcpy(ret_digest, digest, 32);
	return 0;
}

void digest_done(struct digest_ctx *ctx)
{
	EVP_MD_CTX_free(ctx->impl);
	ctx->impl = NULL;
}
