/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the two slots of a map block or a bitmap block. Input: what is
 * expected (a byte), whether each CRC is made right (a byte), the two slots.
 */
#include "fuzz.h"

#include "map/block.h"

static void judge(const struct seal_block pair[2], const struct block_identity *id, bool unclean)
{
	unsigned int slot = 2;
	uint32_t at = 0;

	if (block_pick(pair, id, NULL, unclean, &slot) < 0)
		return;
	assert(slot < 2 && block_is_whole(&pair[slot]));
	assert(block_check(&pair[slot], id, NULL) == 0);
	while (id->kind == BLOCK_MAP && at < SEAL_BLOCK_SECTORS) {
		const uint8_t entry = block_entry(pair[slot].body, at);
		const uint32_t nr = block_run(pair[slot].body, at, SEAL_BLOCK_SECTORS);

		assert(nr > 0 && nr <= SEAL_BLOCK_SECTORS - at);
		/* A plane that there is not, or that is younger than the block. */
		assert(entry < SEAL_ENTRY_PLANE_FIRST || id->plane_born[entry] != UINT64_MAX);
		at += nr;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr_bytes)
{
	static const uint64_t born[16] = { [2] = 1,	      [3] = (uint64_t)1 << SEAL_ROUND_BITS,
					   [4] = UINT64_MAX,  [5] = UINT64_MAX,
					   [6] = UINT64_MAX,  [7] = UINT64_MAX,
					   [8] = UINT64_MAX,  [9] = UINT64_MAX,
					   [10] = UINT64_MAX, [11] = UINT64_MAX,
					   [12] = UINT64_MAX, [13] = UINT64_MAX,
					   [14] = UINT64_MAX, [15] = UINT64_MAX };
	static struct seal_block pair[2];
	struct block_identity id = { .uuid = pair[0].uuid, .plane_born = born };

	if (nr_bytes < 2)
		return 0;
	fuzz_fill(pair, sizeof(pair), bytes + 2, nr_bytes - 2);
	id.kind = bytes[0] & 1 ? BLOCK_BITMAP : BLOCK_MAP;
	id.index = bytes[0] >> 1;
	for (unsigned int i = 0; i < 2; i++)
		if (bytes[1] >> i & 1)
			fuzz_mend_crc(&pair[i], sizeof(pair[i]), &pair[i].crc);
	judge(pair, &id, false);
	judge(pair, &id, true);
	return 0;
}
