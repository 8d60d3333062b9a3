/* SPDX-License-Identifier: MIT */
/*
 * Checking an image: the counts in its superblock (docs/format.md 2) against its
 * map. A superblock with wrong ones has a good MAC, so it is sealblk that has
 * counted wrong. Of a damaged map block nobody can say what it held.
 */
#include <inttypes.h>

#include "base/bitset.h"
#include "image/check_state.h"
#include "map/entries.h"

void check_count_block(struct check *check, uint64_t index,
		       const uint8_t body[SEAL_BLOCK_BODY_BYTES])
{
	uint32_t end =
		(uint32_t)min_u64(check->nr_sectors - map_block_first(index), SEAL_BLOCK_SECTORS);
	uint32_t nr;

	for (uint32_t at = 0; at < end; at += nr) {
		nr = block_run(body, at, end);
		check->counted[block_entry(body, at)] += nr;
	}
	check->nr_counted += end;
}

static void tell_count(struct check *check, unsigned int value, uint64_t counted)
{
	struct check_finding finding = { 0 };

	check_locate(&finding, SEAL_SUPERBLOCK_A, SEAL_SUPERBLOCK_BYTES, "superblock");
	check_means(&finding, "sealblk info is wrong about that; no data is affected");
	check_advise(&finding, "tell the makers of sealblk, and believe sealblk map");
	check_tell(check, &finding, CHECK_PROBLEM,
		   "counts %" PRIu64 " sectors of map value %u, but the map has %" PRIu64,
		   le64_get(check->super->counts[value]), value, counted);
}

void check_counts(struct check *check)
{
	const struct seal_superblock *super = check->super;

	if (super->open_state != SEAL_CLEAN || check->bits_missing ||
	    le64_get(super->counts_generation) != le64_get(super->generation) ||
	    bitset_next(check->damaged, 0, check->nr_blocks) < check->nr_blocks)
		return;
	check->counted[SEAL_ENTRY_BASE] += check->nr_sectors - check->nr_counted;
	for (unsigned int value = 0; value < MAP_VALUES; value++)
		if (check->counted[value] != le64_get(super->counts[value]))
			tell_count(check, value, check->counted[value]);
}
