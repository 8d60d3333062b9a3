/* SPDX-License-Identifier: MIT */
/* What the parts of a check share; for daemon/image/check*.c and repair*.c only. */
#ifndef IMAGE_CHECK_STATE_H
#define IMAGE_CHECK_STATE_H

#include <errno.h>

#include "image/base_identity.h"
#include "image/check.h"
#include "image/names.h"
#include "keys/keyring.h"
#include "map/block.h"
#include "map/map.h"
#include "sealblk/seal_format.h"

/* Of a structure that stands there twice: which copies are whole, and which one counts; -1: none. */
struct check_choice {
	bool whole[2];
	bool right[2]; /* with keys: its MAC is good too, and it holds all that it must */
	int best;
};

/* A pair of slots on its way through the judges. */
struct check_pair {
	enum block_kind kind;
	uint64_t index;
	uint64_t offset_bytes;
};

struct check {
	const struct check_order *order;
	struct repair *repair; /* NULL: nothing is changed */
	struct problem *problem;
	struct check_result result;

	struct seal_superblock supers[2];
	struct seal_keyring keyrings[2];
	struct seal_names names[2];
	struct check_choice super_choice;
	struct check_choice keyring_choice;
	struct check_choice names_choice;
	const struct seal_superblock *super; /* the one that counts */

	struct keyring_keys *keys; /* NULL: locked */
	struct mac_ctx mac_ctx;
	struct mac_ctx *mac; /* NULL: MACs are not checked */

	/* Of the superblock, once it is known to be sound. */
	uint64_t nr_sectors;
	uint64_t nr_blocks;		 /* of the map */
	uint64_t plane_born[MAP_VALUES]; /* as in struct block_identity */
	uint64_t *written;		 /* a bit per map block; from the bitmap */
	uint64_t *damaged;		 /* a bit per map block */
	uint64_t counted[MAP_VALUES];	 /* sectors by their entry, of blocks that are right ... */
	uint64_t nr_counted;		 /* ... and all of these */
	bool bits_missing;   /* a bitmap block is damaged: what was written is unknown */
	uint64_t nr_lagging; /* pairs of an unclean image that recovery will make equal */
	bool keys_missing;   /* somebody names one that the keyring does not hold */
	bool base_broken;    /* it is missing, or has changed */
	bool base_known;     /* an earlier pass found it right: hashing it takes long */

	int error; /* the first MAC that could not be computed: want of memory accuses nobody */

	/* The map block last looked at. */
	struct seal_block pair[2];
};

/* @r: of a check of a MAC. Is it wrong? Notes down when that cannot be told. */
static inline bool check_is_forged(struct check *check, int r)
{
	if (r < 0 && r != -EBADMSG && check->error == 0)
		check->error = r;
	return r == -EBADMSG;
}

/* ---- check.c ---- */

/*
 * Check everything, as check_image() says; @check is zeroed but for order, repair,
 * problem and base_known. Ends with check_done(), on failure too.
 */
int MUST_CHECK check_run(struct check *check);
void check_done(struct check *check);

/* Fill in where @finding lies; its subject is the formatted text. */
void check_locate(struct check_finding *finding, uint64_t offset_bytes, uint64_t nr_bytes,
		  const char *fmt, ...) PRINTF_LIKE(4, 5);

/* What it means for the data, and what to do about it. */
void check_means(struct check_finding *finding, const char *fmt, ...) PRINTF_LIKE(2, 3);
void check_advise(struct check_finding *finding, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define CHECK_RESTORE "restore the image from a copy"
#define CHECK_REPAIR  "sealblk check --repair, with the key,"

/* Count and tell it; the text says what is wrong. Reusable afterwards. */
void check_tell(struct check *check, struct check_finding *finding, enum check_level level,
		const char *fmt, ...) PRINTF_LIKE(4, 5);

/* Blocks. 0 or a negative errno; the end of the file is -EIO. */
int MUST_CHECK check_read(struct check *check, uint64_t offset_bytes, void *ret_bytes,
			  uint32_t nr_bytes);

/* ---- the parts; 0 or, with *check->problem, as check_image() ---- */

/* check_keys.c: rows of the keyring; with a secret, wrapped keys and MACs of what is not a block. */
int MUST_CHECK check_keys(struct check *check);

/* check_base.c */
int MUST_CHECK check_base(struct check *check);

/* check_map.c: bitmap and map blocks. */
int MUST_CHECK check_map(struct check *check);

/* "map block 17" or "map block 17, slot 0"; @slot -1: both. */
void check_locate_pair(struct check_finding *finding, const struct check_pair *pair, int slot);

/*
 * Reads block @index of the map, which has been checked, into check->pair. Its
 * MAC is checked once more when something is to be changed. Returns its body or NULL.
 */
const uint8_t *check_map_body(struct check *check, uint64_t index);

/* Is neither slot of block @index whole? Said of one that was never written. */
bool check_map_is_bare(struct check *check, uint64_t index);

/* check_counts.c: count what a block of the map says; and hold all of it against the superblock. */
void check_count_block(struct check *check, uint64_t index,
		       const uint8_t body[SEAL_BLOCK_BODY_BYTES]);
void check_counts(struct check *check);

/* check_dirty.c: the dirty file, if the image was not closed. */
void check_dirty(struct check *check);

/* check_places.c: what lies in the planes against what the map says. */
int MUST_CHECK check_places(struct check *check);

/* ---- repair.c: what may be changed, and why that is safe, is said in repair.h ---- */

/* Superblocks, keyrings and names, when all of them and the base have been judged. */
void repair_headers(struct check *check);

/*
 * Give a pair that does not count what its right slot holds. @id: of the pair, in
 * check->pair. Returns the slot that counts now, or -1: left as it is.
 */
int repair_pair(struct check *check, const struct check_pair *pair,
		const struct block_identity *id);

/*
 * Punch [@offset_bytes, +@nr_bytes) of a plane, which no entry names; then, for
 * all of the plane at once, make that durable and tell @nr_sectors. The former
 * returns false when they are left.
 */
bool repair_punch(struct check *check, uint64_t offset_bytes, uint64_t nr_bytes);
void repair_punched(struct check *check, const struct check_finding *where, uint64_t nr_sectors);

#endif
