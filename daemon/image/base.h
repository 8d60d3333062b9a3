/* SPDX-License-Identifier: MIT */
/*
 * The base: the plaintext disk below an image. A raw file, a VHD or a VHDX: fixed,
 * dynamic, or differencing with its chain of parents. Never written, unless it is
 * owned (base_own.h).
 *
 * Data is read by the caller through the ring, where base_locate() says.
 */
#ifndef IMAGE_BASE_H
#define IMAGE_BASE_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "image/layer.h"
#include "image/parent.h"
#include "image/problem.h"
#include "request/base_place.h"
#include "sealblk/limits.h"

/* Frozen once open: may be used from any thread. */
struct base {
	enum base_format format;	       /* of the top layer */
	uint64_t disk_bytes;		       /* a multiple of 512, not 0 */
	unsigned int nr_layers;		       /* 0: not open */
	struct layer *layers[BASE_LAYERS_MAX]; /* the top one first, each the child of the next */
};

/* "auto", "raw", "vhd", "vhdx". */
const char *base_format_name(enum base_format format);

/* Returns 0 and the format called @name, or -EINVAL. */
int MUST_CHECK base_format_of(const char *name, enum base_format *ret_format);

/*
 * Open the base in @fd (a file or block device, readable), and its parents;
 * all locked shared. A writable @fd is that of a base to be owned: locked
 * exclusively.
 * @fd: owned by the base from here, closed on failure too.
 * @path: for messages, and the folder where a relative path to a parent begins.
 * @wanted: BASE_AUTO takes a file for a VHD when it is called *.vhd, or its last
 *     512 bytes begin with the cookie, or its last 511 (refused: too old), or
 *     its first bytes; for a VHDX when it is called *.vhdx, or begins with its
 *     signature; if it looks like both and the name tells neither, it is refused;
 *     else it is raw. Only for the first look at a file: whoever opens a known
 *     base again says the recorded format, since a guest that could write a raw
 *     disk could make it look like a VHD.
 *
 * A raw file whose length is no multiple of 512 is a disk rounded up. Blocks:
 * waits LOCK_WAIT_MS for each lock. Returns 0 (base_close() it) or, with
 * *ret_problem: -EINVAL: damaged, lying or empty, a chain that is too long or
 * comes back to itself; -EFBIG: above DISK_BYTES_MAX; -ENOENT: a parent is
 * missing; -ESTALE: it is another file, or changed; -EBUSY: somebody writes one
 * of the files; -ENOMEM; or the negative errno of opening a parent or reading.
 */
int MUST_CHECK base_open(struct base *ret_base, int fd, const char *path, enum base_format wanted,
			 const struct base_opener *opener, struct problem *ret_problem);

/*
 * Does @error of base_open() or base_identity_check() say that the base itself is
 * refused? What else goes wrong may not, the next time. (-ENOENT: of a parent.)
 */
static inline bool base_is_refused(int error)
{
	return error == -ESTALE || error == -EINVAL || error == -EFBIG || error == -ENOENT;
}

/* Accepts a zeroed struct, and leaves one that is not open. */
void base_close(struct base *base);

static inline bool base_is_open(const struct base *base)
{
	return base->nr_layers > 0;
}

/* The top layer's file. */
static inline const struct store *base_store(const struct base *base)
{
	return &base->layers[0]->store;
}

/*
 * Is disk sector n at byte 512 n of base_store()? *ret_data_bytes: up to where;
 * what follows in the file is not the disk's (a VHD's footer) and reads as zeros.
 */
bool base_is_flat(const struct base *base, uint64_t *ret_data_bytes);

/*
 * Where the sectors from @first_sector on are, and how many of @limit_sectors
 * (at least 1) lie there in one piece. Sectors at and past the base's end, and
 * those that no layer has, are a hole. Any thread; the first look at a block of
 * a differencing layer blocks for its bitmap. Returns 0, or -EIO: that bitmap could
 * not be read; the next call tries again.
 */
int MUST_CHECK base_locate(const struct base *base, uint64_t first_sector, uint64_t limit_sectors,
			   struct base_place *ret_place);

/*
 * Do the sectors from @first_sector on read as zeros because nothing is stored
 * (*ret_hole), and how far does that (or the data) reach? Beside base_locate()'s
 * holes those of the files count, where they cover whole sectors.
 *
 * @limit_sectors: at least 1. *ret_sectors is 1..@limit_sectors; what follows
 * may be of the same kind. May block. Returns 0 or a negative errno.
 */
int MUST_CHECK base_extent(const struct base *base, uint64_t first_sector, uint64_t limit_sectors,
			   bool *ret_hole, uint64_t *ret_sectors);

#endif
