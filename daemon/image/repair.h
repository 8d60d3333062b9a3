/* SPDX-License-Identifier: MIT */
/*
 * Repairing an image that nobody serves, as `sealblk check --repair` does: a
 * check (check.h) that mends on its way what can be mended without a guess, and
 * then a second one that tells what is left.
 *
 * It writes nothing that was not in the image before, authenticated by the key.
 * It never changes what counts: an open before, between and after any two of
 * its writes takes the same superblock, keyring, names and entries, so no policy
 * changes and no plaintext comes into being. Four things are done, each only
 * when the copy that counts is whole and its MAC is good:
 *
 * - A superblock, keyring or name/value area that is damaged, or older than its
 *   twin, is overwritten with its twin. Safe: it does not count. (The twin must
 *   hold all that is named, too: the damaged one may be the last to have a key.)
 * - In a clean image, where both slots of a pair were the same, a slot that is
 *   damaged is overwritten with the right one, and an older one with the newer.
 *   Safe: as long as they differ the block is damaged, whichever is touched, and
 *   the right one is not touched. It is left when the damaged slot says that it
 *   was newer, and so perhaps no copy of the other.
 * - In a clean image, what a plane holds in a place that no entry names is
 *   punched. Safe: nothing can read it through the disk. The map block has been
 *   authenticated; one that was never written must have no whole slot.
 * - Nothing else. What is whole with a wrong MAC was changed by somebody without
 *   the key: it is left, and so is its twin. Neither are entries of damaged
 *   blocks made up, nor the dirty file touched.
 *
 * Of an image that was not closed only the first is done. Slots that differ and
 * places that nobody names are normal there: opening the image recovers them.
 * And when it was not closed in this very boot nothing is done: what a killed
 * daemon wrote may still be in the cache only. Were an fdatasync of ours to fail,
 * it would be lost, and the dirty file would name what is not there. Opening
 * knows how to go about that, and opens in spite of all that is repaired here.
 *
 * Order: all that a dead daemon left in the cache is brought to the disk and read
 * again from there, before anything is believed. Then one write, of the bad copy
 * only, and its fdatasync; then the next. A crash leaves a bad copy, as before,
 * or a good one; what it was copied from is never written. After the first
 * write or fdatasync that fails nothing more is written.
 */
#ifndef IMAGE_REPAIR_H
#define IMAGE_REPAIR_H

#include "image/check.h"

/* One thing that was repaired. */
struct repair_deed {
	char subject[48]; /* as in struct check_finding, and so are: */
	uint64_t offset_bytes;
	uint64_t nr_bytes;
	char what[128]; /* "copied from superblock A" */
};

struct repair_order {
	/*
	 * check.store: open for reading and writing, locked exclusively. check.secret
	 * is not NULL. check.tell() hears of what is found before it is repaired.
	 */
	struct check_order check;
	void (*tell_deed)(void *arg, const struct repair_deed *deed);
	check_tell_fn tell_left; /* what is found afterwards, if anything was repaired */
	void *arg;		 /* of these two */
};

struct repair_result {
	struct check_result found; /* before */
	struct check_result left;  /* after */
	uint64_t nr_repairs;
	bool recover_first; /* not closed in this boot: nothing was done */
};

/*
 * Returns 0 when it came to an end, whatever is left: ret_result->left says. Or,
 * with *problem, as check_image(); and -EIO, -ENOSPC or what else the file
 * answered to a write or an fdatasync: the repairs told until then are durable.
 */
int MUST_CHECK repair_image(const struct repair_order *order, struct repair_result *ret_result,
			    struct problem *problem);

#endif
