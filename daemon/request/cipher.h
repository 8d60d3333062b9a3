/* SPDX-License-Identifier: MIT */
/*
 * The expanded XTS keys of a lane: one for every sealed plane and TiB of the
 * disk (docs/format.md 8), and their use over ranges that may cross a TiB.
 */
#ifndef REQUEST_CIPHER_H
#define REQUEST_CIPHER_H

#include "base/compiler.h"
#include "request/disk.h"

/*
 * Expand the keys of @lane->disk. @plane_keys: by map value, NULL where the
 * plane is not sealed. Returns 0, -ENOMEM, -EIO or -EINVAL (a key with equal
 * halves); nothing is left behind on failure. cipher_done() it.
 */
int MUST_CHECK cipher_init(struct lane *lane, const struct xts_ops *ops,
			   const struct xts_key *const plane_keys[MAP_VALUES]);

/* The same for one more plane of a lane that has ciphers. Nothing may be in flight in it. */
int MUST_CHECK cipher_add(struct lane *lane, const struct xts_ops *ops, uint8_t entry,
			  const struct xts_key *plane_key);

/* Wipe the keys of plane @entry, which is no more. Nothing may be in flight in it. */
void cipher_drop(struct lane *lane, uint8_t entry);

/* Has @lane been given ciphers, be it for planes that are all plain? */
bool cipher_is_there(const struct lane *lane);

/* Does @lane know a key for plane @entry? */
bool cipher_has(const struct lane *lane, uint8_t entry);

/* Wipes. Accepts a lane without ciphers. */
void cipher_done(struct lane *lane);

/*
 * In place, for sectors of plane @entry; a plain plane leaves them as they are.
 * On the lane's thread; cannot fail.
 */
void cipher_encrypt(struct lane *lane, uint8_t entry, uint64_t first_sector, uint64_t nr_sectors,
		    uint8_t *data);
void cipher_decrypt(struct lane *lane, uint8_t entry, uint64_t first_sector, uint64_t nr_sectors,
		    uint8_t *data);

#endif
