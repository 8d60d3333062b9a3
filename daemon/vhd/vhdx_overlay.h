/* SPDX-License-Identifier: MIT */
/*
 * What a VHDX's log would write to the file, which is not written: pieces that
 * replace what is read from it. Pure.
 */
#ifndef VHD_VHDX_OVERLAY_H
#define VHD_VHDX_OVERLAY_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "sealblk/vhdx_format.h"

/* A later one of two over the same bytes wins. */
struct vhdx_update {
	uint64_t offset_bytes;
	uint64_t nr_bytes;
	const uint8_t *data; /* @nr_bytes, or NULL: zeros */
};

/* All zero: nothing is replaced. Frozen once made. */
struct vhdx_overlay {
	struct vhdx_update *updates;
	size_t nr_updates;
	uint8_t *pieces;    /* the data of all updates */
	uint64_t end_bytes; /* the file is to be at least so long; what it has not, is zeros */
	size_t nr_entries;  /* of the log, that were replayed */
};

/* Put into @bytes, which were read at @offset_bytes, what replaces them. */
void vhdx_overlay_patch(const struct vhdx_overlay *overlay, uint64_t offset_bytes, uint8_t *bytes,
			size_t nr_bytes);

/* Accepts a zeroed struct, and leaves one. */
void vhdx_overlay_done(struct vhdx_overlay *overlay);

#endif
