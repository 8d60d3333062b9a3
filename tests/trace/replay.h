/* SPDX-License-Identifier: MIT */
/* A run of the replayer: see the head of replay.c. */
#ifndef TESTS_TRACE_REPLAY_H
#define TESTS_TRACE_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "trace/expect.h"
#include "trace/media.h"
#include "trace/subject.h"
#include "trace/timeline.h"

/* Digests of states, and the epoch in which each was last looked at. */
struct seen {
	uint64_t digest; /* 0: free */
	uint32_t epoch;
};

struct replay {
	/* The command line. */
	const char *image, *key_file, *base, *scratch, *check, *keep;
	char **argv;
	uint64_t nr_states_wanted, check_every, seed;
	bool only; /* this state and no other: */
	uint32_t only_event;
	uint64_t only_sample;

	struct timeline timeline;
	struct expect expect;
	const uint8_t **afters; /* the image after each session */
	struct media media;
	struct subject subject;

	/* The state being looked at: which, and until when a cut may leave it. */
	uint32_t event;
	uint64_t sample;
	uint64_t time_ns;
	struct choice choice;
	uint8_t *contents, *contents_again; /* what all windows read as */

	struct seen *seen; /* a hash table */
	uint64_t nr_seen_places, nr_seen;
	uint64_t nr_moments, nr_moments_left; /* the latter: about */
	uint64_t nr_built, nr_opened, nr_checked;
};

/*
 * Build the state of @x->choice, open it twice and hold it against what is
 * expected at @x->time_ns. Returns when all is well: what is not is said, the
 * state is kept, and the process exits 1.
 */
void replay_look(struct replay *x);

#endif
