/* SPDX-License-Identifier: MIT */
/* What a differencing VHDX says of its parent. Pure. */
#ifndef VHD_VHDX_LOCATOR_H
#define VHD_VHDX_LOCATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "sealblk/limits.h"
#include "sealblk/vhdx_format.h"
#include "vhd/vhdx_reason.h"

/* About 8 KiB. Paths as vhd_locator_path() makes them, or "": there is none that can be read. */
struct vhdx_parent {
	uint8_t linkage[VHDX_GUID_BYTES];  /* the parent's data write id */
	uint8_t linkage2[VHDX_GUID_BYTES]; /* or this one */
	bool has_linkage2;
	char relative_path[PATH_BYTES_MAX]; /* from the folder of the child */
	char absolute_path[PATH_BYTES_MAX]; /* most often of another system: "//?/c:/..." */
};

/*
 * Read a parent locator of @nr_bytes, which lies at @at_bytes of the file.
 * Returns 0; -EINVAL with *ret_problem: it is not sound, of another kind than
 * VHDX, or names no parent.
 */
int MUST_CHECK vhdx_locator_decode(const uint8_t *bytes, size_t nr_bytes, uint64_t at_bytes,
				   struct vhdx_parent *ret_parent,
				   struct vhdx_problem *ret_problem);

#endif
