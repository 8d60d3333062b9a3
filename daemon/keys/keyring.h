/* SPDX-License-Identifier: MIT */
/*
 * The keyring: KEK -> image key -> plane keys and MAC keys (docs/format.md 6).
 *
 * Works on the bytes of one struct seal_keyring; reading and writing the two
 * copies is image/'s. Key material lives in key memory only.
 */
#ifndef KEYS_KEYRING_H
#define KEYS_KEYRING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "crypt/xts.h"
#include "keys/key_source.h"
#include "sealblk/seal_format.h"

/* The open keys of one image. Always allocated by keyring_keys_new(). */
struct keyring_keys {
	uint8_t uuid[SEAL_UUID_BYTES];
	uint8_t image_key[SEAL_IMAGE_KEY_BYTES];
	struct {
		uint64_t key_id; /* 0: empty */
		uint8_t key[SEAL_MAC_KEY_BYTES];
	} mac[MAC_KEYS_MAX];
	struct {
		uint64_t key_id; /* 0: empty */
		struct xts_key key;
	} plane[PLANE_KEYS_MAX];
};

/*
 * Is this a keyring of image @uuid with a good CRC? Needs no key.
 * Returns 0, or -EBADMSG.
 */
int MUST_CHECK keyring_check(const struct seal_keyring *ring, const uint8_t uuid[SEAL_UUID_BYTES]);

/*
 * A new keyring in *ret_ring with a fresh image key in one slot wrapped by
 * @secret, one MAC key and one plane key (ids 2 and 3; the slot's KEK has id 1).
 * MAC and CRC are set. *ret_keys: key_mem_free() it.
 * Returns 0, -ENOMEM or -EIO.
 */
int MUST_CHECK keyring_create(const uint8_t uuid[SEAL_UUID_BYTES], const struct key_secret *secret,
			      uint64_t now_s, struct seal_keyring *ret_ring,
			      struct keyring_keys **ret_keys);

/*
 * Open @ring (already through keyring_check()) with any of @nr_secrets secrets:
 * each is tried on each slot of its kind. Then checks the MAC.
 * *ret_slot: the slot that opened. *ret_keys: key_mem_free() it.
 * Returns 0; -EKEYREJECTED: no secret opens any slot; -EBADMSG: a slot opens but
 * the MAC or a wrapped key is wrong, the keyring has been tampered with;
 * -EINVAL: KDF parameters outside limits.h; -ENOMEM, -EIO.
 */
int MUST_CHECK keyring_unlock(const struct seal_keyring *ring,
			      const struct key_secret *const *secrets, unsigned int nr_secrets,
			      unsigned int *ret_slot, struct keyring_keys **ret_keys);

/*
 * The slot that @secret opens, of a keyring that has been unlocked and not
 * changed by anybody else since. A secret that opens none costs the same wherever
 * it fails: it is tried on every slot of its kind. Returns 0, or -EKEYREJECTED,
 * -EINVAL, -ENOMEM, -EIO as keyring_unlock().
 */
int MUST_CHECK keyring_find_slot(const struct seal_keyring *ring, const struct key_secret *secret,
				 unsigned int *ret_slot);

/*
 * Wrap the image key under @secret in a free slot, with an id never used before.
 * keyring_finish() comes after. Returns 0, -ENOSPC (no slot is free), -ENOMEM or
 * -EIO; on failure nothing has changed.
 */
int MUST_CHECK keyring_add_slot(struct seal_keyring *ring, const struct keyring_keys *keys,
				const struct key_secret *secret, uint64_t now_s,
				unsigned int *ret_slot);

/* Empty slot @slot: its wrapped image key is zeros. keyring_finish() comes after. */
void keyring_drop_slot(struct seal_keyring *ring, unsigned int slot);

/* Slots that are not empty; with none, nothing opens the image any more. */
unsigned int keyring_count_slots(const struct seal_keyring *ring);

/*
 * Draw a new plane key, with an id never used before, into a free row of both;
 * *ret_key_id: its id. keyring_finish() comes after. Returns 0, -ENOSPC (no
 * row is free), -ENOMEM or -EIO; on failure nothing has changed.
 */
int MUST_CHECK keyring_add_plane_key(struct seal_keyring *ring, struct keyring_keys *keys,
				     uint64_t now_s, uint64_t *ret_key_id);

/* Empty the row of plane key @key_id in both, if there is one. The key is wiped. */
void keyring_drop_plane_key(struct seal_keyring *ring, struct keyring_keys *keys, uint64_t key_id);

/*
 * Draw a new image key: it wraps all MAC and plane keys anew, and @secret, which
 * opens @slot, opens it from there; all other slots become empty. keyring_finish()
 * comes after. Returns 0, -ENOMEM or -EIO; on failure nothing has changed.
 */
int MUST_CHECK keyring_renew_image_key(struct seal_keyring *ring, struct keyring_keys *keys,
				       const struct key_secret *secret, unsigned int slot);

/* NULL when there is none of this id. The memory is @keys'. */
const struct xts_key *keyring_find_plane_key(const struct keyring_keys *keys, uint64_t key_id);
const uint8_t *keyring_find_mac_key(const struct keyring_keys *keys, uint64_t key_id);

/* Set MAC (under the keyring's own mac_key_id) and CRC after a change. 0 or -EIO. */
int MUST_CHECK keyring_finish(struct seal_keyring *ring, const struct keyring_keys *keys);

#endif
