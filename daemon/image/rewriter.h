/* SPDX-License-Identifier: MIT */
/*
 * The rewriter: works on the rewrites of one image (rewrite.h), a piece at a time
 * through the road of requests, from one lane. It looks at the whole disk again
 * until there is nothing left to move, and then they end:
 *
 * PASS over the disk, until one moves nothing -> FLUSH -> SWEEP -> LOOK at every
 *   slot -> READY for image_rewrite_finish()
 *
 * Clients come first: while they send requests it takes a twentieth of the time. All
 * calls on the lane's thread; none blocks but rewriter_look().
 */
#ifndef IMAGE_REWRITER_H
#define IMAGE_REWRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "image/image.h"
#include "request/request.h"

enum rewriter_phase {
	REWRITER_IDLE,	/* nothing is to be done */
	REWRITER_PASS,	/* moving sectors */
	REWRITER_SWEEP, /* until that is durable, old places are punched, no slot is stale */
	REWRITER_LOOK,	/* rewriter_look() is due */
	REWRITER_READY, /* image_rewrite_finish() is due, with @jobs and @entries */
};

/* A piece of the disk, within one map block. */
struct rewriter_piece {
	struct request request;
	struct rewriter *rewriter;
	bool in_flight;
	uint64_t at_sector, end_sector; /* what is left of it */
	uint64_t begun_us;
	uint64_t charged_us; /* what max_rate makes of all its sectors */
};

/* What only an image under rewrite needs. */
struct rewriter_work {
	/* Plaintext; aligned for O_DIRECT. */
	uint8_t data[REWRITES_MAX][REWRITE_BYTES] __attribute__((aligned(4096)));
	struct rewriter_piece pieces[REWRITES_MAX];
	struct request flush;
	struct rewriter *rewriter; /* whose @flush it is; NULL: not set up */
};

struct rewriter {
	struct image *image;
	struct lane *lane;
	uint64_t (*now_us)(void); /* a clock that only goes forward */
	bool stopped;

	enum rewriter_phase phase;
	uint32_t nr_starts; /* of image->rewrite, when the first pass began */
	uint32_t jobs, entries;
	bool moved_any, failed_any; /* in this pass */
	bool is_first_pass;
	uint64_t next_sector;	/* where the next piece begins */
	uint64_t not_before_us; /* no piece is begun until then */
	uint64_t look_at_us;	/* then slots are looked at, stale or not */
	uint64_t look_block;	/* the next one to be looked at */

	uint64_t nr_requests_seen; /* of clients */
	uint64_t clients_seen_us;  /* when that last grew; 0: never */

	uint32_t nr_in_flight;
	bool flushing;
	struct rewriter_work *work;
};

/*
 * @rewriter: zeroed. @work: the caller's, zeroed; not touched before there is
 * something to do. @lane stays the caller's, who turns it. Nothing is begun yet.
 */
void rewriter_init(struct rewriter *rewriter, struct image *image, struct lane *lane,
		   uint64_t (*now_us)(void), struct rewriter_work *work);

/*
 * Begin what there is to begin now; in every turn of the lane's thread. Returns in
 * how many ms it wants to be called again at the latest. -1: when something has
 * completed, or image->rewrite has changed.
 */
int MUST_CHECK rewriter_turn(struct rewriter *rewriter);

/* Begin no more. */
void rewriter_stop(struct rewriter *rewriter);

/* Is anything under way? */
bool rewriter_is_busy(const struct rewriter *rewriter);

/*
 * In phase LOOK, again and again until it is another one. Blocks: reads some of the
 * written map blocks by @ring, of the calling thread. Then the phase is READY, or
 * SWEEP again: a slot is stale yet. Returns 0, or a negative errno: the phase is
 * SWEEP, it is tried again later.
 */
int MUST_CHECK rewriter_look(struct rewriter *rewriter, struct ring *ring);

#endif
