/* SPDX-License-Identifier: MIT */
/*
 * HMAC-SHA-256 (RFC 2104, FIPS 180-4) for the image's metadata.
 * One struct mac_ctx per thread. After mac_init() only OpenSSL 3.0 itself
 * allocates: two digest states of about a hundred bytes in each mac_compute().
 */
#ifndef CRYPT_MAC_H
#define CRYPT_MAC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

enum { MAC_KEY_BYTES = 32, MAC_BYTES = 32 };

struct mac_ctx {
	void *impl; /* NULL: no key loaded */
};

/* Returns 0, -ENOMEM or -EIO. @key is copied. */
int MUST_CHECK mac_init(struct mac_ctx *ctx, const uint8_t key[MAC_KEY_BYTES]);

/* Wipes. Accepts a zeroed struct. */
void mac_done(struct mac_ctx *ctx);

/* Returns 0, -ENOKEY: no key is loaded, or -EIO when OpenSSL fails. */
int MUST_CHECK mac_compute(struct mac_ctx *ctx, const void *bytes, size_t nr_bytes,
			   uint8_t ret_mac[MAC_BYTES]);

/* Compares in constant time. */
bool mac_equal(const uint8_t a[MAC_BYTES], const uint8_t b[MAC_BYTES]);

#endif
