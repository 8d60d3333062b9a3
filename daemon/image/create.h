/* SPDX-License-Identifier: MIT */
/* Making an image. */
#ifndef IMAGE_CREATE_H
#define IMAGE_CREATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "image/base_identity.h"
#include "image/problem.h"
#include "keys/key_source.h"
#include "ring/ring.h"
#include "sealblk/seal_format.h"

struct image_recipe {
	uint64_t disk_bytes; /* a multiple of 512, within limits.h */
	bool encryption;     /* what the first plane is: sealed or plain */
	uint64_t now_s;
	const uint8_t *uuid;		 /* of uuid_make(); an owned base has it; NULL: a new one */
	const struct key_secret *secret; /* of the first key slot */
	const struct base_identity *base; /* or NULL */
	/* Of the VHD that the disk's content is to be copied from: kept; or NULL. */
	const uint8_t *source_footer; /* VHD_FOOTER_BYTES */
};

/*
 * Write a new image into the empty file @fd, which is @image_bytes long by now
 * (image_bytes_of()). Not yet synced. Returns 0 or a negative errno.
 */
int MUST_CHECK image_format(struct ring *ring, int fd, const struct image_recipe *recipe);

/* How long the file of a disk with @nr_planes planes is. */
uint64_t image_bytes_of(uint64_t disk_bytes, unsigned int nr_planes);

/*
 * Make the file @path: it appears whole and durable, or not at all.
 * Returns 0; with *problem -EEXIST: there is something already; -EFBIG: the
 * file system's largest file cannot hold two planes; or a negative errno.
 */
int MUST_CHECK image_create(struct ring *ring, const char *path, const struct image_recipe *recipe,
			    struct problem *problem);

#endif
