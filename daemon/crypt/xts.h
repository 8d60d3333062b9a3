/* SPDX-License-Identifier: MIT */
/*
 * AES-256-XTS over runs of 512-byte sectors (IEEE 1619-2018, NIST SP 800-38E).
 *
 * The tweak of a sector is its number on the disk, 64 bits little-endian, zero
 * padded: what dm-crypt calls plain64. Never its place in a file: a sector stays
 * readable wherever the map puts it. No I/O, no allocation after xts_new().
 */
#ifndef CRYPT_XTS_H
#define CRYPT_XTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

enum { XTS_KEY_BYTES = 64 }; /* two AES-256 keys: data, then tweak */

struct xts_key {
	uint8_t bytes[XTS_KEY_BYTES];
};

struct xts;

struct xts_ops {
	const char *name;	 /* "openssl", "aesni", "vaes256", "vaes512" */
	bool (*supported)(void); /* by this processor */
	int (*init)(struct xts *xts, const struct xts_key *key);
	void (*done)(struct xts *xts);
	void (*encrypt)(struct xts *xts, uint64_t first_sector, uint32_t nr_sectors, uint8_t *data);
	void (*decrypt)(struct xts *xts, uint64_t first_sector, uint32_t nr_sectors, uint8_t *data);
};

extern const struct xts_ops xts_vaes512_ops;
extern const struct xts_ops xts_vaes256_ops;
extern const struct xts_ops xts_aesni_ops;
extern const struct xts_ops xts_openssl_ops;

/* An expanded key. Belongs to one thread: implementations keep state in it. */
struct xts {
	const struct xts_ops *ops;
	void *impl;
};

/*
 * The implementation to use: the fastest supported one, or the one called
 * @name. Each is held against the known answers of IEEE 1619 and against
 * OpenSSL before it is given out. Call once at start; not thread-safe.
 * *ret_fell_back: the preferred one failed its self-test, OpenSSL is used.
 * Returns 0, -ENOENT (no such name, or not on this processor), or -EIO when
 * even OpenSSL fails its known answers.
 */
int MUST_CHECK xts_select(const char *name, const struct xts_ops **ret_ops, bool *ret_fell_back);

/* Two equal halves, compared in constant time: a key nobody may use. */
bool xts_key_is_weak(const struct xts_key *key);

/*
 * @key: copied; may be wiped after. Refuses a key whose two halves are equal
 * (compared in constant time) with -EINVAL. Returns 0 or -ENOMEM as well.
 */
int MUST_CHECK xts_init(struct xts *xts, const struct xts_ops *ops, const struct xts_key *key);

/* Wipes the expanded key. Accepts a zeroed struct. */
void xts_done(struct xts *xts);

/*
 * In place: @nr_sectors * 512 bytes at @data, sectors numbered from
 * @first_sector on. @data has no alignment rule. Cannot fail.
 */
static inline void xts_encrypt(struct xts *xts, uint64_t first_sector, uint32_t nr_sectors,
			       uint8_t *data)
{
	xts->ops->encrypt(xts, first_sector, nr_sectors, data);
}

static inline void xts_decrypt(struct xts *xts, uint64_t first_sector, uint32_t nr_sectors,
			       uint8_t *data)
{
	xts->ops->decrypt(xts, first_sector, nr_sectors, data);
}

/*
 * The XTS key of the @tib-th TiB of a plane: HKDF-SHA-512 (RFC 5869), no salt,
 * IKM @plane_key, info "sealblk xts v1" and @tib as 64 bits little-endian.
 * Keeps every key far inside IEEE 1619-2025's scope. Returns 0, -EIO when
 * OpenSSL fails, -EINVAL when the two halves of the result are equal.
 */
int MUST_CHECK xts_key_of_tib(const struct xts_key *plane_key, uint64_t tib,
			      struct xts_key *ret_key);

#endif
