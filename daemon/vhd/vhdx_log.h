/* SPDX-License-Identifier: MIT */
/*
 * The log of a VHDX: which of its entries are to be replayed, and what they would
 * write. The file stays as it is: see vhdx_overlay.h. Pure.
 */
#ifndef VHD_VHDX_LOG_H
#define VHD_VHDX_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "sealblk/vhdx_format.h"
#include "vhd/vhdx_overlay.h"
#include "vhd/vhdx_reason.h"

/* A log that has been read whole. */
struct vhdx_log {
	const uint8_t *bytes;
	size_t nr_bytes;       /* a multiple of its sectors, VHDX_LOG_BYTES_MAX at most */
	uint64_t offset_bytes; /* in the file, for messages */
	const uint8_t *log_id; /* the header's */
	uint64_t file_bytes;   /* as long as the file is now */
};

/*
 * Find the active sequence: the entries with the header's log GUID, sound, each
 * numbered one higher than the one before, of which the last one names the first;
 * if there are several, the one that ends with the highest number. A torn entry
 * behind it was never acknowledged and does not count.
 *
 * Returns 0 (vhdx_overlay_done() it); -EINVAL with *ret_problem: there is no such
 * sequence (the first unsound entry is named), the file was cut, or the headers
 * would be changed; -ENOMEM. Takes time in proportion to the log's length.
 */
int MUST_CHECK vhdx_log_replay(const struct vhdx_log *log, struct vhdx_overlay *ret_overlay,
			       struct vhdx_problem *ret_problem);

#endif
