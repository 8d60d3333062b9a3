/* SPDX-License-Identifier: MIT */
/*
 * Background rewrites of an image: what is to be moved to the current plane, how
 * far that is, and what comes after the last sector (docs/format.md 9).
 *
 * encrypt: plain sectors and data of the base become sealed; then the image has
 *          no base any more.
 * rekey:   sealed sectors move to the newest sealed plane; then the others, and
 *          their keys, are gone.
 *
 * Which of them are under way is durable in the superblock; how far they are is
 * what the map says. Moving the sectors is rewriter.h's.
 */
#ifndef IMAGE_REWRITE_H
#define IMAGE_REWRITE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "image/problem.h"
#include "sealblk/seal_format.h"

struct image;
struct key_secret;
struct ring;

/* Of one image. Any thread may read; each field has one writer at a time. */
struct rewrite {
	/* By whoever changes the image's policy. */
	_Atomic uint32_t started, paused; /* as in the superblock */
	_Atomic uint32_t jobs;		  /* bits of enum seal_rewrite: to be worked on now */
	_Atomic uint32_t entries;	  /* map values to be moved for them, a bit each */
	_Atomic uint64_t max_rate;	  /* bytes a second; 0: as fast as clients let it */
	_Atomic uint32_t nr_starts;	  /* counts: look at the disk from its beginning again */

	/* By the rewriter. */
	_Atomic uint64_t at_sector;	 /* all before has been looked at */
	_Atomic uint64_t moved_sectors;	 /* since it began, or went on */
	_Atomic uint64_t failed_sectors; /* could not be moved, in this pass or the last */
	_Atomic int error;		 /* why; 0: nothing has failed */
	_Atomic uint64_t sectors_s;	 /* looked at in a second, of late */
};

enum rewrite_action { REWRITE_START, REWRITE_PAUSE, REWRITE_RESUME };

/* What a user wants to be done about a rewrite. */
struct rewrite_order {
	enum seal_rewrite which;
	enum rewrite_action action;
	bool has_max_rate;
	uint64_t max_rate;		 /* bytes a second; 0: no limit */
	const struct key_secret *secret; /* start of a rekey: opens the image afterwards */
	bool drop_other_slots;		 /* likewise: what else opens it may go */
};

/* What is to be moved now goes to image->rewrite, after a change of policy or planes. */
void image_rewrite_look(struct image *image);

/*
 * Start, or go on with, @which (one bit), durably. For a rekey that is not under
 * way image_rekey_check(), image_switch(IMAGE_TARGET_NEW_PLANE) and
 * image_renew_key(), in this order, come first, and are the caller's. Nothing changes when it is so already.
 * Blocks, on the thread of the image's lane, as all below.
 * Returns 0; -EPERM: encryption is off; -EIO: the export has failed.
 */
int MUST_CHECK image_rewrite_start(struct image *image, enum seal_rewrite which,
				   struct problem *problem);

/* Pause or go on. Nothing changes when @which is not under way. 0 or -EIO. */
int MUST_CHECK image_rewrite_pause(struct image *image, enum seal_rewrite which, bool paused,
				   struct problem *problem);

/*
 * May a rekey begin, or go on? Nothing is changed. Returns 0; -EKEYREJECTED: the secret
 * opens no slot; -EBUSY: to begin, other slots are in use and may not be dropped; -EPERM:
 * encryption is off; -EIO: the export has failed.
 */
int MUST_CHECK image_rekey_check(const struct image *image, const struct rewrite_order *order,
				 struct problem *problem);

/*
 * A new image key that @secret opens, and nobody else: other key slots become
 * empty. Returns 0 or a negative errno; -EIO: the export has failed.
 */
int MUST_CHECK image_renew_key(struct image *image, const struct key_secret *secret,
			       struct problem *problem);

/*
 * Does a slot of a map block, the counting one or its twin, still name one of
 * @entries? Reads blocks from *@block on, REWRITE_LOOK_MAX at most, by @ring, which
 * is the calling thread's, and moves *@block on; all are done when it is
 * map.nr_blocks. Returns 0 (no), 1 (yes) or a negative errno.
 */
int MUST_CHECK image_names_entries(struct image *image, struct ring *ring, uint32_t entries,
				   uint64_t *block);

/*
 * Sectors of @entries, which @jobs wanted, are nowhere any more, durably, in no
 * slot, and all places are swept: end these rewrites. Their planes and keys go, or
 * the base. *ret_gone: planes that are no more, a bit each: lanes may forget their
 * keys. Returns 0; -EAGAIN: something else is wanted meanwhile, nothing has
 * changed; -EIO: the export has failed.
 */
int MUST_CHECK image_rewrite_finish(struct image *image, uint32_t jobs, uint32_t entries,
				    uint32_t *ret_gone, struct problem *problem);

#endif
