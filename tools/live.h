/* SPDX-License-Identifier: MIT */
/*
 * A source of copies that is the disk of an image in use: its daemon holds it still, as it
 * was when live_begin() returned, and reads it out (docs/control.md, "export").
 */
#ifndef TOOLS_LIVE_H
#define TOOLS_LIVE_H

#include <jansson.h>
#include <pthread.h>

#include "base/compiler.h"
#include "copy.h"
#include "image/origin.h"
#include "image/problem.h"
#include "reach.h"

enum { LIVE_LINE_BYTES = 16 << 10 }; /* the longest: a footer and 32 files */

struct live {
	struct copy_source source; /* what copy_run() sees */
	struct image_origin origin;
	json_t *files; /* those of the image and its base: device and inode of each */

	/*
	 * One conversation: whoever asks has it until he is answered. Read by hand: stdio
	 * loses a line that a signal (SIGCONT, too) falls into.
	 */
	pthread_mutex_t lock;
	char line[LIVE_LINE_BYTES]; /* what has come, from @at on */
	size_t at, nr;
	struct reach *reach;
	int error;		/* of it: nothing comes after that; 0: none */
	struct problem problem; /* ... in the daemon's words */
};

/*
 * @reach: at a daemon, not asked yet; borrowed. What clients overwrite meanwhile is kept
 * in a file without a name beside @destination. Returns 0 (live_done() it), or a negative
 * errno with *problem; -EKEYREJECTED: the keys are revoked.
 */
int MUST_CHECK live_begin(struct live *live, struct reach *reach, const char *destination,
			  struct problem *problem);

/* Accepts a zeroed struct. */
void live_done(struct live *live);

/* Is the file at @path one of them? */
bool live_has(const struct live *live, const char *path);

#endif
