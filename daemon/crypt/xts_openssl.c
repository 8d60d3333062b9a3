/* SPDX-License-Identifier: MIT */
/*
 * AES-256-XTS by OpenSSL: the portable implementation and the reference.
 *
 * One context per direction, keyed once; each sector only sets its tweak. That
 * makes a failure impossible by construction: the key is loaded, the tweak has
 * its fixed size, the length is one data unit of 512 bytes, nothing allocates.
 * Should it happen all the same, the sector holds neither plaintext nor
 * ciphertext and must not go anywhere, so the process stops.
 */
#include "crypt/xts.h"

#include <stdlib.h>
#include <string.h>

#include "crypt/ossl.h"
#include "sealblk/byteorder.h"
#include "sealblk/units.h"

enum { TWEAK_BYTES = 16, DECRYPT = 0, ENCRYPT = 1 };

struct openssl_xts {
	EVP_CIPHER_CTX *direction[2];
};

static void free_contexts(struct openssl_xts *impl)
{
	EVP_CIPHER_CTX_free(impl->direction[DECRYPT]); /* also wipes the expanded key */
	EVP_CIPHER_CTX_free(impl->direction[ENCRYPT]);
	free(impl);
}

static bool load_key(struct openssl_xts *impl, int direction, const struct xts_key *key)
{
	impl->direction[direction] = EVP_CIPHER_CTX_new();
	return impl->direction[direction] &&
	       EVP_CipherInit_ex2(impl->direction[direction], EVP_aes_256_xts(), key->bytes, NULL,
				  direction, NULL) == 1;
}

static void crypt_sectors(EVP_CIPHER_CTX *ctx, uint64_t first_sector, uint32_t nr_sectors,
			  uint8_t *data)
{
	uint8_t tweak[TWEAK_BYTES] = { 0 };
	int done;

	for (uint32_t i = 0; i < nr_sectors; i++) {
		le64 sector = le64_of(first_sector + i);

		memcpy(tweak, &sector, sizeof(sector));
		if (EVP_CipherInit_ex2(ctx, NULL, NULL, tweak, -1, NULL) != 1 ||
		    EVP_CipherUpdate(ctx, data, &done, data, SECTOR_BYTES) != 1 ||
		    done != SECTOR_BYTES)
			abort();
		data += SECTOR_BYTES;
	}
}

static bool openssl_supported(void)
{
	return true;
}

/* The halves of @key differ, so want of memory is all that can go wrong. */
static int openssl_init(struct xts *xts, const struct xts_key *key)
{
	struct openssl_xts *impl = calloc(1, sizeof(*impl));

	if (!impl)
		return -ENOMEM;
	if (!load_key(impl, ENCRYPT, key) || !load_key(impl, DECRYPT, key)) {
		free_contexts(impl);
		return ossl_failed(-ENOMEM);
	}
	xts->impl = impl;
	return 0;
}

static void openssl_done(struct xts *xts)
{
	free_contexts(xts->impl);
}

static void openssl_encrypt(struct xts *xts, uint64_t first_sector, uint32_t nr_sectors,
			    uint8_t *data)
{
	struct openssl_xts *impl = xts->impl;

	crypt_sectors(impl->direction[ENCRYPT], first_sector, nr_sectors, data);
}

static void openssl_decrypt(struct xts *xts, uint64_t first_sector, uint32_t nr_sectors,
			    uint8_t *data)
{
	struct openssl_xts *impl = xts->impl;

	crypt_sectors(impl->direction[DECRYPT], first_sector, nr_sectors, data);
}

const struct xts_ops xts_openssl_ops = {
	.name = "openssl",
	.supported = openssl_supported,
	.init = openssl_init,
	.done = openssl_done,
	.encrypt = openssl_encrypt,
	.decrypt = openssl_decrypt,
};
