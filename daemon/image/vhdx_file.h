/* SPDX-License-Identifier: MIT */
/*
 * A VHDX file, read: its headers, its log (replayed in memory: the file stays as
 * it is), region table, metadata and BAT. What they may hold is judged by vhd/.
 */
#ifndef IMAGE_VHDX_FILE_H
#define IMAGE_VHDX_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "store/store.h"
#include "vhd/vhdx_bat.h"
#include "vhd/vhdx_header.h"
#include "vhd/vhdx_locator.h"
#include "vhd/vhdx_metadata.h"
#include "vhd/vhdx_overlay.h"
#include "vhd/vhdx_reason.h"

/* Frozen once read. */
struct vhdx {
	uint64_t file_bytes; /* with what the log appends, which is zeros */
	struct vhdx_info info;
	struct vhdx_overlay overlay;
	struct vhdx_regions regions;
	struct vhdx_metadata metadata;
	struct vhdx_parent parent; /* with metadata.has_parent */
	struct vhdx_layout layout;
	le64 *bat; /* layout.nr_entries */
};

/*
 * Read the VHDX in @store. Allocates as much as the file justifies: its BAT,
 * which must lie in it (VHDX_BLOCKS_MAX blocks at most), and of a log that is to
 * be replayed (VHDX_LOG_BYTES_MAX at most) the data. Blocks.
 * Returns 0 (vhdx_free() it); -EINVAL with *ret_problem: damaged or lying, or not
 * a VHDX; or with VHDX_FINE in it -ENOMEM or the negative errno of reading.
 */
int MUST_CHECK vhdx_read(const struct store *store, struct vhdx **ret_vhdx,
			 struct vhdx_problem *ret_problem);

/* Accepts NULL; always returns NULL. */
struct vhdx *vhdx_free(struct vhdx *vhdx);

/*
 * Read bytes of the file as they are after the log's replay. Blocks.
 * Returns 0; -EIO: they end behind @vhdx->file_bytes; or a negative errno.
 */
int MUST_CHECK vhdx_read_at(const struct vhdx *vhdx, const struct store *store,
			    uint64_t offset_bytes, void *ret_bytes, size_t nr_bytes);

#endif
