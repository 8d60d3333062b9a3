/* SPDX-License-Identifier: MIT */
/*
 * One wrapped key of the keyring: the image key in a slot under a KEK, a MAC or
 * plane key in a row under the image key (docs/format.md 6). Every wrap draws a
 * fresh nonce; what binds a key to its place is struct seal_wrap_aad.
 */
#ifndef KEYS_KEY_WRAP_H
#define KEYS_KEY_WRAP_H

#include <stdint.h>

#include "base/compiler.h"
#include "keys/key_source.h"
#include "keys/keyring.h"
#include "sealblk/seal_format.h"

/*
 * Fill @slot, whose key_id and created_s are set, with @keys' image key under
 * the KEK that a new salt makes of @secret. Returns 0, -ENOMEM or -EIO.
 */
int MUST_CHECK key_wrap_seal_slot(struct seal_key_slot *slot, const struct keyring_keys *keys,
				  const struct key_secret *secret);

/*
 * Open @slot with @secret into keys->image_key; keys->uuid is set. Returns 0;
 * -EKEYREJECTED: not this secret's slot; -EINVAL: scrypt parameters outside
 * limits.h, judged before they cost anything; -ENOMEM, -EIO.
 */
int MUST_CHECK key_wrap_open_slot(const struct seal_key_slot *slot, const struct key_secret *secret,
				  struct keyring_keys *keys);

/*
 * Fill @row, whose purpose, key_id and created_s are set, with @key: as many
 * bytes as the purpose says. Returns 0 or -EIO.
 */
int MUST_CHECK key_wrap_seal_row(struct seal_wrapped_key *row, const struct keyring_keys *keys,
				 const uint8_t *key);

/*
 * Open @row into @ret_key, which has room for a key of @purpose and lies in key
 * memory. An empty row changes nothing. Returns 0; -EBADMSG: not what this image
 * key wrapped for this id and purpose (@ret_key is then wiped); -EIO.
 */
int MUST_CHECK key_wrap_open_row(const struct seal_wrapped_key *row, enum seal_key_purpose purpose,
				 const struct keyring_keys *keys, uint64_t *ret_key_id,
				 uint8_t *ret_key);

#endif
