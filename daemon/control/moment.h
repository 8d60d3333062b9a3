/* SPDX-License-Identifier: MIT */
/*
 * What the verb "export" wants of whoever serves the image: its disk as it was at one
 * instant, held while clients go on. All calls block, on the client's thread.
 */
#ifndef CONTROL_MOMENT_H
#define CONTROL_MOMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "image/image.h"
#include "image/origin.h"
#include "image/problem.h"

struct control_moment {
	struct image *image;
	struct image_origin origin; /* as it was then */
};

struct control_moments {
	/*
	 * With struct control_actions's changes held. The instant is before this returns
	 * and after it was called. @scratch_fd: an empty file, open for reading and
	 * writing, for what clients overwrite; owned, also on failure. Returns 0 (end it),
	 * or with *problem: -EKEYREJECTED: the keys are revoked; -EBUSY: it is being
	 * exported already; or another negative errno.
	 */
	int (*begin)(void *arg, struct image *image, int scratch_fd,
		     struct control_moment **ret_moment, struct problem *problem);
	/*
	 * Are the sectors from @first_sector on stored, or a hole that reads as zeros?
	 * For *ret_sectors, at least one. Both in whole chunks, but for the disk's end.
	 */
	int (*extent)(struct control_moment *moment, uint64_t first_sector, bool *ret_hole,
		      uint64_t *ret_sectors);
	/*
	 * Whole chunks, MOMENT_READ_BYTES_MAX at most, each of them once. *ret_data: until
	 * the next call. Both return 0; -EPERM: the keys were revoked; -ENOSPC, -EFBIG: the
	 * scratch file is full; -ETIME: it is too slow; -ENODATA: it was read before; or another negative errno.
	 */
	int (*read)(struct control_moment *moment, uint64_t first_sector, uint32_t nr_sectors,
		    const uint8_t **ret_data);
	/* Can it be held no longer? 0, or why as above. */
	int (*check)(struct control_moment *moment);
	/* With no lock held. Accepts NULL. */
	void (*end)(struct control_moment *moment);
};

#endif
