/* SPDX-License-Identifier: MIT */
/*
 * What a key is wanted for: told to the sources that answer for one image at a
 * time (docs/key-sources.md). Nothing in it is secret. No I/O.
 */
#ifndef KEYS_KEY_WANTED_H
#define KEYS_KEY_WANTED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/uuid.h"
#include "sealblk/limits.h"
#include "sealblk/seal_format.h"

/* Zeroed: to open an image of which nothing is known. */
struct key_wanted {
	bool is_new;   /* it is to open the image from now on; else it does already */
	bool has_uuid; /* is @uuid known? */
	uint8_t uuid[SEAL_UUID_BYTES];
	/* Of the slots that such a key opens, unless @is_new. */
	uint32_t nr_key_ids; /* KEY_SLOTS_MAX at most */
	uint64_t key_ids[KEY_SLOTS_MAX];
};

/* Of the image @uuid. @ring: as keyring_check() passed it; NULL: not known. */
struct key_wanted key_wanted_of(const uint8_t uuid[SEAL_UUID_BYTES],
				const struct seal_keyring *ring);

/* Room for any line, each id at its longest. */
enum { KEY_WANTED_LINE_BYTES = 64 + UUID_TEXT_BYTES + 21 * KEY_SLOTS_MAX };

/* The line a key command reads, with its newline and a NUL. Returns its length. */
size_t key_wanted_line(const struct key_wanted *wanted, char ret_line[KEY_WANTED_LINE_BYTES]);

#endif
