/* SPDX-License-Identifier: MIT */
/* Codec of map blocks and bitmap blocks: see block.h and docs/format.md 4. */
#include "map/block.h"

#include <errno.h>
#include <string.h>

#include "base/crc32c.h"

static const char *magic_of(enum block_kind kind)
{
	return kind == BLOCK_MAP ? SEAL_MAGIC_MAP : SEAL_MAGIC_BITMAP;
}

void block_begin(struct seal_block *block, const struct block_identity *id, uint64_t generation)
{
	memset(block, 0, SEAL_BLOCK_HEADER_BYTES);
	memcpy(block->magic, magic_of(id->kind), sizeof(block->magic));
	block->index = le64_of(id->index);
	block->generation = le64_of(generation);
	block->mac_key_id = le64_of(id->mac_key_id);
	memcpy(block->uuid, id->uuid, sizeof(block->uuid));
}

static uint32_t crc_of(const struct seal_block *block)
{
	static const uint8_t zeros[sizeof(block->crc)];
	const uint8_t *bytes = (const uint8_t *)block;
	const size_t at = offsetof(struct seal_block, crc);
	uint32_t crc = crc32c(0, bytes, at);

	crc = crc32c(crc, zeros, sizeof(zeros));
	return crc32c(crc, bytes + at + sizeof(zeros), sizeof(*block) - at - sizeof(zeros));
}

int block_finish(struct seal_block *block, struct mac_ctx *mac)
{
	uint8_t tag[MAC_BYTES];
	int r;

	block->crc = le32_of(0);
	memset(block->mac, 0, sizeof(block->mac));
	r = mac_compute(mac, block, sizeof(*block), tag);
	if (r < 0)
		return r;
	memcpy(block->mac, tag, sizeof(block->mac));
	block->crc = le32_of(crc_of(block));
	return 0;
}

bool block_is_whole(const struct seal_block *block)
{
	/* A CRC32C of zeros over zeros is not zero, so an empty slot is not whole. */
	return le32_get(block->crc) == crc_of(block);
}

static int check_mac(const struct seal_block *block, struct mac_ctx *mac)
{
	struct seal_block copy = *block;
	uint8_t tag[MAC_BYTES];
	int r;

	copy.crc = le32_of(0);
	memset(copy.mac, 0, sizeof(copy.mac));
	r = mac_compute(mac, &copy, sizeof(copy), tag);
	if (r < 0)
		return r;
	return mac_equal(tag, block->mac) ? 0 : -EBADMSG;
}

static int check_planes(const struct seal_block *block, const uint64_t *plane_born)
{
	uint64_t generation = le64_get(block->generation);
	unsigned int named = 0;

	for (size_t i = 0; i < sizeof(block->body); i++)
		named |= 1u << (block->body[i] & 15) | 1u << (block->body[i] >> 4);
	for (unsigned int value = SEAL_ENTRY_PLANE_FIRST; value < 16; value++)
		if ((named >> value & 1) &&
		    (plane_born[value] == UINT64_MAX || plane_born[value] > generation))
			return -EBADMSG;
	return 0;
}

int block_check(const struct seal_block *block, const struct block_identity *id,
		struct mac_ctx *mac)
{
	if (memcmp(block->magic, magic_of(id->kind), sizeof(block->magic)) != 0 ||
	    memcmp(block->uuid, id->uuid, sizeof(block->uuid)) != 0 ||
	    le64_get(block->index) != id->index || le64_get(block->mac_key_id) != id->mac_key_id)
		return -EBADMSG;
	if (mac) {
		int r = check_mac(block, mac);

		if (r < 0)
			return r;
	}
	return id->kind == BLOCK_MAP ? check_planes(block, id->plane_born) : 0;
}

static int pick_equal(const struct seal_block pair[2], const struct block_identity *id,
		      struct mac_ctx *mac)
{
	if (memcmp(&pair[0], &pair[1], sizeof(pair[0])) != 0 || !block_is_whole(&pair[0]))
		return -EBADMSG;
	return block_check(&pair[0], id, mac);
}

int block_pick(const struct seal_block pair[2], const struct block_identity *id,
	       struct mac_ctx *mac, bool unclean, unsigned int *ret_slot)
{
	bool whole[2];

	if (!unclean) {
		int r = pick_equal(pair, id, mac);

		if (r == 0)
			*ret_slot = 0;
		return r;
	}
	for (int i = 0; i < 2; i++) {
		whole[i] = block_is_whole(&pair[i]);
		if (whole[i]) {
			int r = block_check(&pair[i], id, mac);

			if (r < 0)
				return r;
		}
	}
	if (!whole[0] && !whole[1])
		return -EBADMSG;
	if (whole[0] && whole[1]) {
		uint64_t a = le64_get(pair[0].generation), b = le64_get(pair[1].generation);

		if (a == b && memcmp(&pair[0], &pair[1], sizeof(pair[0])) != 0)
			return -EBADMSG;
		*ret_slot = b > a;
		return 0;
	}
	*ret_slot = whole[1];
	return 0;
}

uint32_t block_run(const uint8_t body[SEAL_BLOCK_BODY_BYTES], uint32_t first, uint32_t end)
{
	uint8_t entry = block_entry(body, first);
	uint64_t pattern = entry * 0x1111111111111111u;
	uint32_t at = first + 1;

	while (at < end) {
		if (at % 16 == 0 && memcmp(body + at / 2, &pattern, sizeof(pattern)) == 0) {
			at += 16;
			continue;
		}
		if (block_entry(body, at) != entry)
			break;
		at++;
	}
	return (at < end ? at : end) - first;
}
