/* SPDX-License-Identifier: MIT */
/*
 * Getting at an image for a report: the file itself when nobody serves it, else
 * the daemon that does. The lock on the file tells which.
 */
#ifndef TOOLS_REACH_H
#define TOOLS_REACH_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/compiler.h"
#include "control/report.h"
#include "image/image.h"
#include "image/problem.h"

/* What a report from the file of an unclean image must say beside it. */
#define UNCLEAN_TEXT                                                                         \
	"not closed cleanly; entries acknowledged since the last flush are not shown until " \
	"it is served again"

struct reach {
	const char *path; /* as the user gave it */
	uint64_t disk_bytes;

	/* Nobody serves it: loaded, and locked shared until reach_done(). */
	struct report report;	     /* @report.image NULL: a daemon serves it */
	bool base_found;	     /* or there is none */
	struct problem base_problem; /* if not @base_found */

	/* A daemon serves it. */
	FILE *daemon; /* its control socket */
};

/*
 * Waits up to a second for a daemon that is starting or dying. @path is
 * borrowed. Returns 0 (reach_done() it); -EBUSY with *problem: in use, but no
 * daemon answers; or as image_load().
 */
int MUST_CHECK reach_open(struct reach *reach, const char *path, struct problem *problem);

void reach_done(struct reach *reach);

/*
 * The superblock of an image that may be being written: at any moment one of the
 * two copies is whole, and neither UUID nor disk size ever changes. Takes no lock.
 * Returns 0, -EUCLEAN or what open() said, with *problem.
 */
int MUST_CHECK reach_read_super(const char *path, struct seal_superblock *ret_super,
				struct problem *problem);

/* Ask the daemon for @verb; the answer is then read line by line. 0, or -EIO with *problem. */
int MUST_CHECK reach_ask(struct reach *reach, const char *verb, struct problem *problem);

/* The same with a whole request: one line of JSON, as docs/control.md tells it. */
int MUST_CHECK reach_request(struct reach *reach, const char *line, struct problem *problem);

/* All of @secret, once the daemon has asked for it. 0, or -EIO with *problem. */
int MUST_CHECK reach_send_secret(struct reach *reach, const struct key_secret *secret,
				 struct problem *problem);

/*
 * The next line of the answer, which is an object: json_decref() it.
 * Returns 0, or -EIO with *problem: the answer makes no sense, or says that the
 * daemon could not answer. -EPIPE: it has ended before the answer did.
 * -EKEYREJECTED: the key was wrong.
 */
int MUST_CHECK reach_answer(struct reach *reach, json_t **ret_object, struct problem *problem);

/*
 * The two halves of that, for who reads lines himself: what @line holds, with results as
 * above; and there is none. @error: an errno, 0: the daemon has closed the connection.
 * Returns -EPIPE (it is gone) or -EIO, with *problem.
 */
int MUST_CHECK reach_take_answer(const struct reach *reach, const char *line, json_t **ret_object,
				 struct problem *problem);
int reach_lost(const struct reach *reach, int error, struct problem *problem);

/*
 * The object of `sealblk info`: json_decref() it. A daemon is asked once: @reach
 * is of no more use then. Returns 0, or a negative errno with *problem.
 */
int MUST_CHECK reach_info(struct reach *reach, json_t **ret_info, struct problem *problem);

#endif
