/* SPDX-License-Identifier: MIT */
/*
 * Checking all of an image that nobody serves, as `sealblk check` does: every
 * rule of docs/format.md that can be checked without a session, one finding for
 * each that is broken: what, what it means for the data, and what to do. Unlike
 * image_load() it does not stop at the first one, and unlike image_start() it
 * changes nothing. What can be repaired, image/repair.h does.
 *
 * Superblocks -> length of the file -> keyrings -> names -> base -> bitmap ->
 * map blocks -> dirty file -> places in the planes. With a secret, every MAC and
 * wrapped key on the way. Blocks, on the calling thread.
 */
#ifndef IMAGE_CHECK_H
#define IMAGE_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "image/dirty_store.h"
#include "image/problem.h"
#include "keys/key_source.h"
#include "ring/ring.h"
#include "store/store.h"

enum check_level {
	CHECK_NOTE,    /* worth knowing, and nothing is wrong: what a crash may leave behind */
	CHECK_PROBLEM, /* the image breaks a rule */
};

/* Of a finding that lies outside the image: in its base, or in its dirty file. */
#define CHECK_NOWHERE UINT64_MAX

/* The texts are sentence parts in English and hold no newline, but may hold a path. */
struct check_finding {
	enum check_level level;
	char subject[48];      /* "keyring B", "map block 17, slot 0" */
	uint64_t offset_bytes; /* in the image's file, or CHECK_NOWHERE */
	uint64_t nr_bytes;
	char what[PATH_BYTES_MAX + 256]; /* "has a wrong checksum" */
	char means[256];		 /* "copy B counts, so nothing is lost" */
	char advice[256];		 /* "restore the image from a copy" */
};

typedef void (*check_tell_fn)(void *arg, const struct check_finding *finding);

struct check_order {
	const char *path;		 /* of the image; for messages and for finding its base */
	const struct store *store;	 /* open for reading, locked shared */
	struct ring *ring;		 /* of the calling thread */
	const struct key_secret *secret; /* NULL: checksums only, no MACs and no keys */

	/* Where the dirty file of an image that was not closed is; NULL: not looked for. */
	struct dirty_store *dirty_store;
	const char *dirty_place;	  /* of @dirty_store, for messages: "/run/sealblk" */
	uint8_t boot_id[SEAL_UUID_BYTES]; /* of this boot */

	check_tell_fn tell;
	void *arg; /* of @tell */
};

struct check_result {
	uint64_t nr_problems;
	uint64_t nr_notes;
	uint64_t nr_bitmap_blocks; /* looked at */
	uint64_t nr_map_blocks;
	uint64_t nr_planes;
	bool unclean;	 /* not closed: recovery is still to run */
	bool has_macs;	 /* MACs and wrapped keys were checked */
	bool has_map;	 /* the map was checked: nothing before it kept from that */
	bool has_places; /* the planes were */
};

/*
 * Check the whole image; order->tell() hears of everything found, in the order
 * above, on this thread.
 * Returns 0 when the check came to an end, whatever it found; -EKEYREJECTED with
 * *problem: the secret opens no key slot, or the keys are revoked; -ENOMEM, -EIO
 * (OpenSSL) with *problem. *ret_result counts what was told, on failure too.
 */
int MUST_CHECK check_image(const struct check_order *order, struct check_result *ret_result,
			   struct problem *problem);

#endif
