/* SPDX-License-Identifier: MIT */
/* `sealblk vhd info` of a VHDX. */
#ifndef TOOLS_VHDX_H
#define TOOLS_VHDX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "image/problem.h"
#include "image/vhdx_file.h"

/* What has been found out about a sound one. */
struct vhdx_findings {
	const char *path;
	uint64_t file_bytes;
	char creator[VHDX_CREATOR_BYTES * 2]; /* "": none that can be read */
	const struct vhdx *vhdx;
	uint32_t nr_stored;  /* payload blocks in the file, whole ... */
	uint32_t nr_partial; /* ... and in part */
	uint32_t nr_zero;    /* known to be zeros */
};

/* By its name, or if that says nothing by its first bytes; as base_open() does. */
bool vhdx_is_meant(int fd, const char *path);

/*
 * Tell what the VHDX in @fd, which stays open and is not changed, says of itself.
 * Returns 0, or with *problem: -EUCLEAN: it is not sound; or a negative errno.
 */
int MUST_CHECK vhdx_info_of(int fd, const char *path, bool json, struct problem *problem);

void vhdx_print_text(const struct vhdx_findings *found);

/* Returns 0 or -ENOMEM. */
int MUST_CHECK vhdx_print_json(const struct vhdx_findings *found);

#endif
