/* SPDX-License-Identifier: MIT */
/*
 * The scratch file, opened by the code that the daemon opens images with, after
 * a power cut: nothing is left of what the host held in memory.
 */
#ifndef TESTS_TRACE_SUBJECT_H
#define TESTS_TRACE_SUBJECT_H

#include <stdbool.h>
#include <stdint.h>

#include "crypt/xts.h"
#include "image/image.h"
#include "keys/key_mem.h"
#include "trace/common.h"
#include "trace/media.h"

struct subject {
	const char *path;
	const char *base; /* NULL: none */
	struct key_secret *secret;
	const struct xts_ops *xts;
	struct ring *ring; /* in front of plain system calls; tells @media what is changed */
	struct media *media;
	struct image *image; /* NULL: closed */
	uint64_t nr_opens;   /* each is in another boot */
	struct problem problem;
};

void subject_init(struct subject *subject, const char *path, const char *key_file, const char *base,
		  struct media *media);

/*
 * Open, recover, begin a session. False: it is refused, *problem says why, and
 * it is closed again.
 */
bool subject_open(struct subject *subject);

/* @nr_sectors (512 at most) from @sector on into @ret_bytes. 0 or a negative errno. */
int subject_read(struct subject *subject, uint64_t sector, uint32_t nr_sectors, uint8_t *ret_bytes);

/*
 * Is there nothing in the places that the map does not name? If not: a sector
 * of the window, else UINT64_MAX.
 */
uint64_t subject_find_superseded(const struct subject *subject, const struct window *window);

/* The next power cut: the session is left as it is. */
void subject_abandon(struct subject *subject);

/* End the session cleanly. False: it could not be, *problem says why. Closed either way. */
bool subject_close(struct subject *subject);

#endif
