/* SPDX-License-Identifier: MIT */
/* The path that a parent locator of a differencing VHD holds. Pure. */
#ifndef VHD_LOCATOR_H
#define VHD_LOCATOR_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "sealblk/limits.h"

enum {
	VHD_LOCATOR_BYTES_MAX = 2 * PATH_BYTES_MAX, /* a longer path cannot be opened */
};

/*
 * Turn the data of a "W2ru" or "W2ku" locator (UTF-16, little-endian) into a
 * path of this system: UTF-8, with slashes for backslashes. A byte order mark
 * and NULs at the end, which some writers add, are dropped; so is ".\" at the
 * head. Returns 0; -EINVAL: empty, an odd length, a NUL inside, not UTF-16, or
 * longer than PATH_BYTES_MAX.
 */
int MUST_CHECK vhd_locator_path(const uint8_t *bytes, size_t nr_bytes,
				char ret_path[PATH_BYTES_MAX]);

#endif
