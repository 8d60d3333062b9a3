/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: a keyring, of the image that it claims to be of, with a right
 * CRC, and a key file that opens none of its slots.
 */
#include "fuzz.h"

#include <errno.h>

#include "keys/key_mem.h"
#include "keys/keyring.h"

static struct key_secret *secret_of_ones(void)
{
	struct key_secret *secret = key_mem_new(sizeof(*secret));

	assert(secret);
	secret->kind = KEY_SOURCE_FILE;
	secret->nr_bytes = KEY_FILE_BYTES_MIN;
	memset(secret->bytes, 1, KEY_FILE_BYTES_MIN);
	return secret;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr_bytes)
{
	static struct key_secret *secret;
	static struct seal_keyring ring;
	struct keyring_keys *keys = NULL;
	unsigned int slot;

	if (!secret)
		secret = secret_of_ones();
	fuzz_fill(&ring, sizeof(ring), bytes, nr_bytes);
	fuzz_mend_crc(&ring, sizeof(ring), &ring.crc);
	if (keyring_check(&ring, ring.uuid) < 0)
		return 0;
	assert(keyring_count_slots(&ring) <= KEY_SLOTS_MAX);
	/* Whoever makes a slot that this key opens has broken AES-GCM. */
	assert(keyring_unlock(&ring, (const struct key_secret *const *)&secret, 1, &slot, &keys) <
	       0);
	assert(!keys);
	assert(keyring_find_slot(&ring, secret, &slot) < 0);
	return 0;
}
