/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the superblock's judge. Input: a superblock, whose CRC is then
 * made right. One that passes must say nothing that leads outside the image.
 */
#include "fuzz.h"

#include "image/superblock.h"

struct area {
	uint64_t start;
	uint64_t end;
};

static void expect_apart(const struct area *areas, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		assert(areas[i].start < areas[i].end);
		for (unsigned int j = 0; j < i; j++)
			assert(areas[i].end <= areas[j].start || areas[j].end <= areas[i].start);
	}
}

static void expect_sound(const struct seal_superblock *super)
{
	const uint64_t disk_bytes = le64_get(super->disk_bytes);
	struct area areas[8 + PLANES_MAX] = {
		{ SEAL_SUPERBLOCK_A, SEAL_SUPERBLOCK_A + SEAL_SUPERBLOCK_BYTES },
		{ SEAL_SUPERBLOCK_B, SEAL_SUPERBLOCK_B + SEAL_SUPERBLOCK_BYTES },
	};
	unsigned int nr = 2;

	assert(disk_bytes > 0 && disk_bytes <= DISK_BYTES_MAX && disk_bytes % SECTOR_BYTES == 0);
	for (unsigned int i = 0; i < 2; i++) {
		const uint64_t ring = le64_get(super->keyring_offset[i]);
		const uint64_t names = le64_get(super->names_offset[i]);

		areas[nr++] = (struct area){ ring, ring + le32_get(super->keyring_bytes) };
		areas[nr++] = (struct area){ names, names + le32_get(super->names_bytes) };
	}
	areas[nr++] = (struct area){ le64_get(super->bitmap_offset),
				     le64_get(super->bitmap_offset) +
					     le64_get(super->bitmap_blocks) * SEAL_PAIR_BYTES };
	areas[nr++] = (struct area){ le64_get(super->map_offset),
				     le64_get(super->map_offset) +
					     le64_get(super->map_blocks) * SEAL_PAIR_BYTES };
	for (unsigned int i = 0; i < PLANES_MAX; i++) {
		const struct seal_plane *plane = &super->planes[i];
		const uint64_t offset = le64_get(plane->file_offset_bytes);

		if (plane->kind)
			areas[nr++] = (struct area){ offset, offset + disk_bytes };
	}
	expect_apart(areas, nr);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr_bytes)
{
	struct seal_superblock super;
	enum superblock_verdict verdict;

	fuzz_fill(&super, sizeof(super), bytes, nr_bytes);
	fuzz_mend_crc(&super, sizeof(super), &super.crc);
	verdict = superblock_check(&super);
	assert(superblock_verdict_text(verdict));
	if (verdict == SUPERBLOCK_GOOD)
		expect_sound(&super);
	return 0;
}
