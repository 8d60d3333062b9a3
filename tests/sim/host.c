/* SPDX-License-Identifier: MIT */
/* Random numbers, key memory and MACs of the crash tests: see host.h. */
#include "sim/host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypt/mac.h"
#include "crypt/wrap.h"
#include "keys/key_mem.h"
#include "sim/digest.h"
#include "sim/state.h"

static uint64_t random_state = 1;

int random_public(void *ret_bytes, size_t nr_bytes)
{
	uint8_t *bytes = ret_bytes;

	for (size_t i = 0; i < nr_bytes; i++) {
		random_state += SIM_GOLDEN;
		bytes[i] = (uint8_t)mix64(random_state);
	}
	return 0;
}

int random_private(void *ret_bytes, size_t nr_bytes)
{
	return random_public(ret_bytes, nr_bytes);
}

uint64_t host_swap_random(uint64_t state)
{
	const uint64_t before = random_state;

	random_state = state;
	return before;
}

void *key_mem_new(size_t nr_bytes)
{
	return calloc(1, nr_bytes);
}

void *key_mem_free(void *p)
{
	free(p);
	return NULL;
}

int key_mem_harden_process(void)
{
	return 0;
}

/* ---- MACs ----------------------------------------------------------------- */

enum { PART_BYTES = 32 }; /* what digest_bytes() takes at a time */

int mac_init(struct mac_ctx *ctx, const uint8_t key[MAC_KEY_BYTES])
{
	uint64_t *digest = malloc(sizeof(*digest));

	if (!digest)
		return -ENOMEM;
	*digest = digest_bytes(1, key, MAC_KEY_BYTES);
	ctx->impl = digest;
	return 0;
}

void mac_done(struct mac_ctx *ctx)
{
	free(ctx->impl);
	ctx->impl = NULL;
}

int mac_compute(struct mac_ctx *ctx, const void *bytes, size_t nr_bytes, uint8_t ret_mac[MAC_BYTES])
{
	const size_t nr_whole = nr_bytes / PART_BYTES * PART_BYTES;
	uint8_t rest[PART_BYTES] = { 0 };
	uint64_t digest = digest_bytes(*(const uint64_t *)ctx->impl, bytes, nr_whole);

	memcpy(rest, (const uint8_t *)bytes + nr_whole, nr_bytes - nr_whole);
	digest = digest_bytes(digest, rest, sizeof(rest));
	for (size_t at = 0; at < MAC_BYTES; at += sizeof(digest)) {
		digest = digest_number(digest, at);
		memcpy(ret_mac + at, &digest, sizeof(digest));
	}
	return 0;
}

bool mac_equal(const uint8_t a[MAC_BYTES], const uint8_t b[MAC_BYTES])
{
	return memcmp(a, b, MAC_BYTES) == 0;
}
