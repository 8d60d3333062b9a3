/* SPDX-License-Identifier: MIT */
/*
 * A destination that is not complete: the file DEST.part, and DEST.part.json, which
 * says of what it is a part, and how far it has come. When it is complete it gets its
 * own name; until then DEST is as it was.
 */
#ifndef TOOLS_PART_H
#define TOOLS_PART_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/compiler.h"
#include "image/problem.h"
#include "sealblk/limits.h"
#include "store/store.h"

struct part {
	const char *role; /* "destination", "image": for messages; borrowed */
	const char *path; /* DEST; borrowed */
	bool replaces;	  /* DEST may be there, and is then replaced */
	mode_t mode;	  /* of a new file */
	char temporary[PATH_BYTES_MAX];
	char state[PATH_BYTES_MAX];
	const json_t *identity; /* of the copy that is being made: source, sizes; borrowed */
	bool found;		/* an earlier run has come to @kept_sectors */
	bool found_other;	/* one of another source, or another state of it: is gone now */
	uint64_t kept_sectors;
	struct store store; /* DEST.part, if open: locked */
};

/*
 * Look what is there. Returns 0 (part_done() it), or with *problem: -EEXIST: DEST, or
 * a DEST.part that nobody knows; -EBUSY: another program writes DEST.part; or a
 * negative errno. @part: role, path, replaces, mode and identity are set.
 */
int MUST_CHECK part_init(struct part *part, struct problem *problem);

/* The file @part->store, new if not found. Returns 0 or a negative errno with *problem. */
int MUST_CHECK part_open(struct part *part, struct problem *problem);

/* Let go of the lock: somebody else here opens the file. */
void part_release(struct part *part);

/*
 * Say, durably, that the sectors before @kept_sectors are there, and durable. 0 (none)
 * goes before anything is written. Returns 0 or a negative errno with *problem.
 */
int MUST_CHECK part_note(const struct part *part, uint64_t kept_sectors, struct problem *problem);

/* DEST.part is complete and durable: it becomes DEST, durably. 0, or a negative errno with *problem. */
int MUST_CHECK part_commit(struct part *part, struct problem *problem);

/* DEST.part and what belongs to it go. */
void part_discard(struct part *part);

/* Accepts a zeroed struct. Removes nothing. */
void part_done(struct part *part);

#endif
