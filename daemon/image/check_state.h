/* SPDX-License-Identifier: MIT */
/* What the parts of a check share; for daemon/image/check*.c only. */
#ifndef IMAGE_CHECK_STATE_H
#define IMAGE_CHECK_STATE_H

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
	int best;
};

struct check {
	const struct check_order *order;
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
	bool bits_missing;   /* a bitmap block is damaged: what was written is unknown */
	uint64_t nr_lagging; /* pairs of an unclean image that recovery will make equal */

	/* The map block last looked at. */
	struct seal_block pair[2];
};

/* ---- check.c ---- */

/* Fill in where @finding lies; its subject is the formatted text. */
void check_locate(struct check_finding *finding, uint64_t offset_bytes, uint64_t nr_bytes,
		  const char *fmt, ...) PRINTF_LIKE(4, 5);

void check_advise(struct check_finding *finding, const char *fmt, ...) PRINTF_LIKE(2, 3);

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

/* Reads block @index of the map, which has been checked, into check->pair. Returns its body or NULL. */
const uint8_t *check_map_body(struct check *check, uint64_t index);

/* check_places.c: what lies in the planes against what the map says. */
int MUST_CHECK check_places(struct check *check);

#endif
