/* SPDX-License-Identifier: MIT */
/* Checking an image: the pairs of its bitmap and of its map (docs/format.md 4). */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bitset.h"
#include "image/check_state.h"
#include "map/entries.h"

static struct check_pair pair_at(const struct check *check, enum block_kind kind, uint64_t index)
{
	le64 area = kind == BLOCK_MAP ? check->super->map_offset : check->super->bitmap_offset;

	return (struct check_pair){ kind, index, le64_get(area) + index * SEAL_PAIR_BYTES };
}

static struct block_identity identity_of(const struct check *check, const struct check_pair *pair)
{
	return (struct block_identity){
		.kind = pair->kind,
		.index = pair->index,
		.uuid = check->super->uuid,
		.mac_key_id = le64_get(check->super->mac_key_id),
		.plane_born = check->plane_born,
	};
}

/* ---- what is wrong with a pair ---- */

static bool is_zeros(const struct seal_block *block)
{
	static const uint8_t zeros[16];
	const uint8_t *bytes = (const uint8_t *)block;

	return memcmp(bytes, zeros, sizeof(zeros)) == 0 &&
	       memcmp(bytes, bytes + sizeof(zeros), sizeof(*block) - sizeof(zeros)) == 0;
}

/* What is wrong with one slot, or NULL. *ret_whole: its checksum is good. */
static const char *slot_fault(const struct seal_block *block, const struct block_identity *id,
			      struct mac_ctx *mac, bool *ret_whole)
{
	const char *magic = id->kind == BLOCK_MAP ? SEAL_MAGIC_MAP : SEAL_MAGIC_BITMAP;

	*ret_whole = block_is_whole(block);
	if (!*ret_whole)
		return is_zeros(block) ? "was never written, or has been zeroed"
				       : "has a wrong checksum";
	if (memcmp(block->magic, magic, sizeof(block->magic)) != 0 ||
	    memcmp(block->uuid, id->uuid, SEAL_UUID_BYTES) != 0 ||
	    le64_get(block->index) != id->index)
		return "is another block, or of another image";
	if (le64_get(block->mac_key_id) != id->mac_key_id)
		return "names another MAC key than the superblock";
	if (block_check(block, id, NULL) < 0)
		return "names a plane that does not exist, or is younger than the block";
	return mac && block_check(block, id, mac) == -EBADMSG
		       ? "has a wrong MAC: somebody without the key has changed it"
		       : NULL;
}

void check_locate_pair(struct check_finding *finding, const struct check_pair *pair, int slot)
{
	const char *kind = pair->kind == BLOCK_MAP ? "map block" : "bitmap block";

	if (slot < 0)
		check_locate(finding, pair->offset_bytes, SEAL_PAIR_BYTES, "%s %" PRIu64, kind,
			     pair->index);
	else
		check_locate(finding, pair->offset_bytes + (uint64_t)slot * SEAL_BLOCK_BYTES,
			     SEAL_BLOCK_BYTES, "%s %" PRIu64 ", slot %d", kind, pair->index, slot);
}

/* Which part of the disk cannot be read, or that all of it cannot. @until: " until ...", or "". */
static void explain_loss(const struct check *check, struct check_finding *finding,
			 const struct check_pair *pair, const char *until)
{
	uint64_t first = map_block_first(pair->index);
	uint64_t end = min_u64(first + SEAL_BLOCK_SECTORS, check->nr_sectors);

	if (pair->kind == BLOCK_BITMAP)
		check_means(finding, "the image cannot be opened%s", until);
	else
		check_means(finding,
			    "bytes %" PRIu64 " to %" PRIu64
			    " of the disk cannot be read (EIO)%s, all others can",
			    sectors_to_bytes(first), sectors_to_bytes(end) - 1, until);
}

/* Both slots of a clean image were the same: a good one can stand in for the other. */
static void explain_slot(const struct check *check, struct check_finding *finding,
			 const struct check_pair *pair, int slot, bool twin_is_good)
{
	if (twin_is_good && !check->result.unclean) {
		explain_loss(check, finding, pair, " until this slot is repaired");
		check_advise(finding, "slot %d is good: " CHECK_REPAIR " copies it over this one",
			     !slot);
	} else {
		explain_loss(check, finding, pair, "");
		check_advise(finding, CHECK_RESTORE);
	}
}

static void explain_unequal(const struct check *check, struct check_finding *finding,
			    const struct check_pair *pair)
{
	bool same = le64_get(check->pair[0].generation) == le64_get(check->pair[1].generation);

	if (check->result.unclean || same) {
		explain_loss(check, finding, pair, "");
		check_advise(finding, CHECK_RESTORE);
	} else {
		explain_loss(check, finding, pair, " until they are the same");
		check_advise(finding, CHECK_REPAIR " copies the newer one over the older");
	}
}

static void explain_pair(struct check *check, const struct check_pair *pair,
			 const struct block_identity *id)
{
	struct check_finding finding = { 0 };
	const char *faults[2];
	bool whole[2];

	for (int i = 0; i < 2; i++)
		faults[i] = slot_fault(&check->pair[i], id, check->mac, &whole[i]);
	for (int i = 0; i < 2; i++) {
		if (!faults[i])
			continue;
		check_locate_pair(&finding, pair, i);
		/* One that is whole and wrong is no accident: its twin is no more to be believed. */
		explain_slot(check, &finding, pair, i, !faults[!i] && !whole[i]);
		check_tell(check, &finding, CHECK_PROBLEM, "%s", faults[i]);
	}
	if (faults[0] || faults[1])
		return;
	check_locate_pair(&finding, pair, -1);
	explain_unequal(check, &finding, pair);
	check_tell(check, &finding, CHECK_PROBLEM, "%s",
		   check->result.unclean ? "has two different slots of the same generation"
					 : "has two different slots, though the image was closed");
}

/* Returns the slot that counts, its block in check->pair; or -1: damaged, told, and left. */
static int check_pair(struct check *check, const struct check_pair *pair)
{
	struct block_identity id = identity_of(check, pair);
	struct check_finding finding = { 0 };
	unsigned int slot;
	int r;

	if (check_read(check, pair->offset_bytes, check->pair, sizeof(check->pair)) < 0) {
		check_locate_pair(&finding, pair, -1);
		explain_loss(check, &finding, pair, "");
		check_advise(&finding, "see what the kernel says about the disk below");
		check_tell(check, &finding, CHECK_PROBLEM, "cannot be read");
		return -1;
	}
	r = block_pick(check->pair, &id, check->mac, check->result.unclean, &slot);
	if (check_is_forged(check, r)) {
		explain_pair(check, pair, &id);
		return repair_pair(check, pair, &id);
	}
	if (r < 0)
		return -1;
	if (memcmp(&check->pair[0], &check->pair[1], sizeof(check->pair[0])) != 0)
		check->nr_lagging++;
	return (int)slot;
}

/* ---- all of them ---- */

static void check_bitmap_block(struct check *check, uint64_t index)
{
	struct check_pair pair = pair_at(check, BLOCK_BITMAP, index);
	uint64_t first = index * SEAL_BITMAP_BITS;
	uint64_t end = min_u64(first + SEAL_BITMAP_BITS, check->nr_blocks);
	int slot = check_pair(check, &pair);

	check->result.nr_bitmap_blocks++;
	if (slot < 0) {
		check->bits_missing = true;
		return;
	}
	for (uint64_t i = first; i < end; i++)
		if (check->pair[slot].body[(i - first) / 8] >> ((i - first) % 8) & 1)
			bitset_add(check->written, i);
}

/* docs/format.md 4: entries behind the disk's last sector are 0. */
static void check_tail(struct check *check, const struct check_pair *pair, const uint8_t *body)
{
	struct check_finding finding = { 0 };

	for (uint64_t i = check->nr_sectors - map_block_first(pair->index); i < SEAL_BLOCK_SECTORS;
	     i++) {
		if (block_entry(body, (uint32_t)i) == 0)
			continue;
		check_locate_pair(&finding, pair, -1);
		check_means(&finding, "they mean nothing, but sealblk has not written them");
		check_advise(&finding, "check it with a key: their MAC tells who has");
		check_tell(check, &finding, CHECK_PROBLEM, "has entries behind the disk's end");
		return;
	}
}

static void check_map_block(struct check *check, uint64_t index)
{
	struct check_pair pair = pair_at(check, BLOCK_MAP, index);
	int slot = check_pair(check, &pair);

	check->result.nr_map_blocks++;
	if (slot < 0) {
		bitset_add(check->damaged, index);
		return;
	}
	check_count_block(check, index, check->pair[slot].body);
	if (index == check->nr_blocks - 1)
		check_tail(check, &pair, check->pair[slot].body);
}

static void tell_unclean(struct check *check)
{
	uint64_t map_offset = le64_get(check->super->map_offset);
	bool same_boot = check->order->dirty_store &&
			 memcmp(check->super->boot_id, check->order->boot_id, SEAL_UUID_BYTES) == 0;
	struct check_finding finding = { 0 };

	check_locate(&finding, map_offset, check->nr_blocks * SEAL_PAIR_BYTES, "map");
	check_means(&finding, "%s",
		    same_boot ? "what was flushed is there; of the rest the dirty file tells"
			      : "what was flushed is there; of the rest a part may be lost");
	check_advise(&finding, "serve the image once: recovery runs when it is opened");
	if (check->nr_lagging > 0)
		check_tell(check, &finding, CHECK_NOTE,
			   "was not closed cleanly: in %" PRIu64 " pairs one slot is stale or torn",
			   check->nr_lagging);
	else
		check_tell(check, &finding, CHECK_NOTE, "was not closed cleanly");
}

int check_map(struct check *check)
{
	uint64_t nr_words = (check->nr_blocks + 63) / 64;

	check->written = calloc(nr_words, sizeof(*check->written));
	check->damaged = calloc(nr_words, sizeof(*check->damaged));
	if (!check->written || !check->damaged)
		return -ENOMEM;
	for (uint64_t i = 0; i < le64_get(check->super->bitmap_blocks); i++)
		check_bitmap_block(check, i);
	for (uint64_t i = bitset_next(check->written, 0, check->nr_blocks); i < check->nr_blocks;
	     i = bitset_next(check->written, i + 1, check->nr_blocks))
		check_map_block(check, i);
	check_counts(check);
	if (check->result.unclean)
		tell_unclean(check);
	check->result.has_map = true;
	return 0;
}

const uint8_t *check_map_body(struct check *check, uint64_t index)
{
	struct check_pair pair = pair_at(check, BLOCK_MAP, index);
	struct block_identity id = identity_of(check, &pair);
	struct mac_ctx *mac = check->repair ? check->mac : NULL;
	unsigned int slot;

	if (check_read(check, pair.offset_bytes, check->pair, sizeof(check->pair)) < 0 ||
	    block_pick(check->pair, &id, mac, check->result.unclean, &slot) < 0)
		return NULL;
	return check->pair[slot].body;
}

bool check_map_is_bare(struct check *check, uint64_t index)
{
	struct check_pair pair = pair_at(check, BLOCK_MAP, index);

	return check_read(check, pair.offset_bytes, check->pair, sizeof(check->pair)) == 0 &&
	       !block_is_whole(&check->pair[0]) && !block_is_whole(&check->pair[1]);
}
