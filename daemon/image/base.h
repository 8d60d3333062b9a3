/* SPDX-License-Identifier: MIT */
/*
 * The base: the read-only plaintext disk below an image, a raw file or a fixed VHD.
 *
 * Data is read by the caller through the ring: disk sector n lies at byte
 * n * 512 of @store.fd. Bytes from @data_bytes on are not the disk's (a VHD's
 * footer, or nothing) and must not be read: they are zeros.
 */
#ifndef IMAGE_BASE_H
#define IMAGE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "image/problem.h"
#include "sealblk/limits.h"
#include "store/store.h"
#include "vhd/footer.h"

enum base_format {
	BASE_AUTO, /* only asked for, never found */
	BASE_RAW,
	BASE_VHD,
	BASE_FORMATS,
};

/* Frozen once open: may be read from any thread. */
struct base {
	struct store store;
	enum base_format format;
	uint64_t disk_bytes; /* a multiple of 512, not 0 */
	uint64_t data_bytes; /* of the file's head that are the disk's; <= @disk_bytes */

	/* BASE_VHD. */
	struct vhd_info vhd;
	uint8_t footer[VHD_FOOTER_BYTES];
};

/* "auto", "raw", "vhd". */
const char *base_format_name(enum base_format format);

/* Returns 0 and the format called @name, or -EINVAL. */
int MUST_CHECK base_format_of(const char *name, enum base_format *ret_format);

/*
 * Open the base in @fd (a file or block device, readable), locked shared.
 * @fd: owned by the base from here, closed on failure too.
 * @path: only for messages.
 * @wanted: BASE_AUTO takes a file for a VHD when it is called *.vhd, or its last 512 bytes begin with
 *     the cookie, or its last 511 (refused: too old), or its first bytes
 *     (refused: dynamic), else for raw. Only for the first look at a file:
 *     whoever opens a known base again says the recorded format, since a guest
 *     that could write a raw disk could make it look like a VHD.
 *
 * A raw file whose length is no multiple of 512 is a disk rounded up. Blocks:
 * waits LOCK_WAIT_MS for the lock. Returns 0 (base_close() it) or, with
 * *ret_problem: -EINVAL: damaged, lying or empty; -EFBIG: above DISK_BYTES_MAX;
 * -EOPNOTSUPP: a dynamic or differencing VHD; -EBUSY: somebody writes it; or
 * the negative errno of reading.
 */
int MUST_CHECK base_open(struct base *ret_base, int fd, const char *path, enum base_format wanted,
			 struct problem *ret_problem);

/* Accepts a zeroed struct. */
void base_close(struct base *base);

/*
 * Is there a hole at @first_sector, and how far does it (or the data) reach?
 * A hole in the file counts where it covers whole sectors. Sectors at and past
 * the base's end are a hole.
 *
 * @limit_sectors: at least 1. *ret_sectors is 1..@limit_sectors; what follows
 * may be of the same kind. May block. Returns 0 or a negative errno.
 */
int MUST_CHECK base_extent(const struct base *base, uint64_t first_sector, uint64_t limit_sectors,
			   bool *ret_hole, uint64_t *ret_sectors);

/*
 * Read bytes of the file, a VHD's footer included, by blocking system calls: for
 * opening. Returns 0; -EIO when the file ends before; or a negative errno.
 */
int MUST_CHECK base_read(const struct base *base, uint64_t offset_bytes, void *ret_bytes,
			 size_t nr_bytes);

#endif
