/* SPDX-License-Identifier: MIT */
/*
 * What an image says of itself: `sealblk info` and `sealblk map`, from the file
 * when nobody serves it, and from the daemon's memory when one does.
 *
 * Reports change nothing and may run beside the workers: they read atomic
 * words, take the map's lock for the copy of one block, and read blocks that are
 * not in memory by a ring of their own. A disk in use is seen block by block,
 * not at one moment. All calls block, on any thread; several may report at once.
 */
#ifndef CONTROL_REPORT_H
#define CONTROL_REPORT_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "image/image.h"
#include "ring/ring.h"

/* DESIGN's words for a sector; the first four as in x-sealblk:encryption. */
enum report_state {
	REPORT_BASE,
	REPORT_ZERO, /* unwritten, zeroed, or a hole of the base */
	REPORT_PLAIN,
	REPORT_SEALED,
	REPORT_DAMAGED, /* its map block is damaged: reads answer EIO */
	REPORT_STATES,
};

struct report {
	struct image *image;
	struct ring *ring;	  /* of the calling thread */
	bool live;		  /* this process serves the image */
	const _Atomic bool *stop; /* or NULL. Set: a walk ends with -ECANCELED */

	/*
	 * Held by whoever changes superblock, keyring or keys; NULL: nobody does.
	 * report_walk() and report_info_json() take it, briefly; of the others the
	 * caller holds it.
	 */
	pthread_mutex_t *changes;
};

static inline void report_lock(const struct report *report)
{
	if (report->changes)
		pthread_mutex_lock(report->changes);
}

static inline void report_unlock(const struct report *report)
{
	if (report->changes)
		pthread_mutex_unlock(report->changes);
}

/* "base", "zero", "plain", "sealed", "damaged". */
const char *report_state_name(enum report_state state);

/* Returns 0, or -EINVAL when no state has that name. */
int MUST_CHECK report_state_of(const char *name, enum report_state *ret_state);

/* Of sectors with that entry; holes of a base not taken into account. */
enum report_state report_state_of_entry(const struct map *map, uint8_t entry);

/* Returns 0 to go on; anything else ends the walk, which returns it. */
typedef int (*report_extent_fn)(void *arg, uint64_t first_sector, uint64_t nr_sectors,
				enum report_state state);

/*
 * Call @extent for the whole disk, in ascending order, neighbours of one state
 * joined. Nothing is held in memory. Where the image has a base that is not
 * open, all that the base would supply counts as base.
 * Returns 0, what @extent returned, -ECANCELED, or a negative errno.
 */
int MUST_CHECK report_walk(const struct report *report, report_extent_fn extent, void *arg);

/*
 * The object that `sealblk info --json` prints. Its counts are the map's, of one
 * moment; where that has none, or damage was found, they cost a walk.
 * @base_problem: why the base is not open, or NULL.
 * Returns 0 and the caller's reference, or as report_walk(), or -ENOMEM.
 */
int MUST_CHECK report_info_json(const struct report *report, const char *base_problem,
				json_t **ret_info);

/*
 * Its part "encryption", which costs no walk: the caller's reference, or NULL
 * when there is no memory.
 */
json_t *report_encryption_json(const struct report *report);

/* How far its background rewrites are; likewise, and on any thread. */
json_t *report_rewrite_json(const struct image *image);

/* The key slots, as `sealblk key list --json` prints them; likewise. */
json_t *report_keys_json(const struct report *report);

/* Values in all of them; the caller's reference, or NULL when there is no memory. */

/* Paths are bytes and JSON is UTF-8: what is not UTF-8 loses its foreign bytes. */
json_t *report_text_json(const char *bytes);

/* RFC 3339 in UTC; null for 0, "never", and for what no calendar has. */
json_t *report_time_json(uint64_t seconds);

#endif
