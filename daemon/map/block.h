/* SPDX-License-Identifier: MIT */
/*
 * Codec of map blocks and bitmap blocks (struct seal_block; docs/format.md 4).
 * Judges one block and picks between the two slots of a pair.
 */
#ifndef MAP_BLOCK_H
#define MAP_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "crypt/mac.h"
#include "sealblk/seal_format.h"

enum block_kind { BLOCK_MAP, BLOCK_BITMAP };

/* What a block of one image must say of itself. */
struct block_identity {
	enum block_kind kind;
	uint64_t index;
	const uint8_t *uuid; /* SEAL_UUID_BYTES */
	uint64_t mac_key_id;
	/*
	 * By map value: the generation the plane was born in, or UINT64_MAX when
	 * there is no such plane. Used for BLOCK_MAP.
	 */
	const uint64_t *plane_born;
};

/* Fill in the header around a body that is in place; MAC and CRC are not yet set. */
void block_begin(struct seal_block *block, const struct block_identity *id, uint64_t generation);

/* Set MAC and CRC. 0 or -EIO. */
int MUST_CHECK block_finish(struct seal_block *block, struct mac_ctx *mac);

/* Is the CRC right? Tells damage and torn writes, needs no key. */
bool block_is_whole(const struct seal_block *block);

/*
 * Is a whole block what @id says? @mac NULL: the MAC is not checked (no keys).
 * Returns 0 or -EBADMSG: wrong MAC, place, image, or an entry that names a plane
 * that does not exist or is younger than the block.
 */
int MUST_CHECK block_check(const struct seal_block *block, const struct block_identity *id,
			   struct mac_ctx *mac);

/*
 * Which slot of a pair counts? @unclean: the image was not closed; then the
 * newest whole one wins. Otherwise both must be equal.
 * Returns 0 and the slot, or -EBADMSG: damaged. A whole slot that fails
 * block_check() is damage even if the other one is good (invariant 8).
 */
int MUST_CHECK block_pick(const struct seal_block pair[2], const struct block_identity *id,
			  struct mac_ctx *mac, bool unclean, unsigned int *ret_slot);

/* Nibble @i of a map block's body. */
static inline uint8_t block_entry(const uint8_t *body, uint32_t i)
{
	return body[i >> 1] >> ((i & 1) * 4) & 15;
}

/* How many sectors from @first on, before @end, have the entry of @first; a word at a time. */
uint32_t block_run(const uint8_t body[SEAL_BLOCK_BODY_BYTES], uint32_t first, uint32_t end);

#endif
