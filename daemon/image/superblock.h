/* SPDX-License-Identifier: MIT */
/*
 * Codec of the superblock (struct seal_superblock; docs/format.md 2 and 3):
 * laying out a new image, and judging one that somebody else may have written.
 * No I/O.
 */
#ifndef IMAGE_SUPERBLOCK_H
#define IMAGE_SUPERBLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "crypt/mac.h"
#include "sealblk/seal_format.h"

enum superblock_verdict {
	SUPERBLOCK_GOOD,
	SUPERBLOCK_NO_MAGIC, /* not an image */
	SUPERBLOCK_BAD_CRC,  /* damaged or torn */
	SUPERBLOCK_VERSION,  /* of a version we do not know */
	SUPERBLOCK_FEATURE,  /* an incompatible feature we do not know */
	SUPERBLOCK_GEOMETRY, /* numbers that contradict each other or limits.h */
	SUPERBLOCK_VERDICTS,
};

/* Needs no key. What is GOOD may be relied on to have sound numbers. */
enum superblock_verdict superblock_check(const struct seal_superblock *super);

/* "superblock is damaged (its checksum is wrong)" and the like. */
const char *superblock_verdict_text(enum superblock_verdict verdict);

/* Returns 0, -EBADMSG, or -EIO when OpenSSL fails. */
int MUST_CHECK superblock_check_mac(const struct seal_superblock *super, struct mac_ctx *mac);

/* Set MAC and CRC. Returns 0 or -EIO. */
int MUST_CHECK superblock_finish(struct seal_superblock *super, struct mac_ctx *mac);

/*
 * A superblock for a new disk: everything but keys, uuid, policy and MAC. One
 * sealed plane, map value 2. @disk_bytes: a multiple of 512 within limits.h.
 */
void superblock_layout(struct seal_superblock *super, uint64_t disk_bytes);

/* Where a plane number @nth (from 0) would begin, and so where an image with @nth planes ends. */
uint64_t superblock_plane_offset(const struct seal_superblock *super, unsigned int nth);

#endif
