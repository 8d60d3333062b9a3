/* SPDX-License-Identifier: MIT */
/*
 * What the sectors of the windows may read as after a power cut at a given
 * moment, from the logs of the loads.
 *
 * A sector has versions: the one it began with, and one for each request that
 * changes it. Version a comes before b when a was answered before b was issued.
 * A version is certain once a FLUSH that was issued after its answer, or the
 * version's own FUA request, was answered with success. Allowed is what had been
 * issued by then and does not come before a certain one.
 *
 * Both ends err on the safe side, never to the daemon's harm: a client notes an
 * answer after it was given, so what is certain is known a little late, and a
 * question before it was asked, so what is possible is known a little early.
 */
#ifndef TESTS_TRACE_EXPECT_H
#define TESTS_TRACE_EXPECT_H

#include <stdbool.h>
#include <stdint.h>

#include "trace/common.h"

struct version {
	struct log_request request;
	unsigned int session;
	uint64_t over_ns;    /* nothing of it happens after this; 0: who knows */
	uint64_t certain_ns; /* from here on a power cut does not lose it; UINT64_MAX: never */
};

struct cell {
	uint32_t *versions; /* indices */
	uint32_t nr;
	uint64_t certain_issued_ns; /* of the newest certain one; 0: none */
};

struct expect {
	uint64_t seed;
	struct window windows[WINDOWS_MAX];
	unsigned int nr_windows;
	const uint8_t *base; /* what a sector that was never written reads as; zeros after it */
	size_t base_bytes;

	struct version *versions; /* by session, then as issued */
	uint32_t nr_versions;
	unsigned int nr_sessions;
	uint32_t *by_certain; /* the certain ones, in the order in which they become so */
	uint32_t nr_certain;
	uint32_t at;	    /* of these, this many are */
	uint32_t epoch;	    /* changes when anything becomes certain */
	struct cell *cells; /* of all windows, one after another */
	uint32_t nr_cells;
};

/* @base: path, or NULL: none. */
void expect_init(struct expect *expect, const char *base);
/* The log at @path, of the session that followed. */
void expect_add(struct expect *expect, const char *path);
/* When all logs are there. */
void expect_settle(struct expect *expect);

/* The moment is @time_ns, not before an earlier one. What is certain by then is certain. */
void expect_advance(struct expect *expect, uint64_t time_ns);

/* The daemon of @session has closed the image and ended well: all it answered is certain. */
void expect_closed(struct expect *expect, unsigned int session);

/*
 * May @bytes be what cell @number, disk sector @sector, reads as at @time_ns?
 * If not, @ret_text says so.
 */
enum { EXPECT_TEXT_BYTES = 512 };
bool expect_allows(const struct expect *expect, uint32_t number, uint64_t sector, uint64_t time_ns,
		   const uint8_t bytes[SECTOR_BYTES], char ret_text[EXPECT_TEXT_BYTES]);

#endif
