/* SPDX-License-Identifier: MIT */
/* What both ways to attach do with a block device that is there. */
#ifndef TOOLS_ATTACH_DEVICE_H
#define TOOLS_ATTACH_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "attach.h"

/* Until it opens and has this size; the first to open it looks for partitions. 10 s at most. */
bool attach_device_wait_usable(const struct attached *attached, uint64_t wanted_bytes);

/* Until @is_so says so: false after 10 s. */
bool attach_device_wait(bool (*is_so)(const struct attached *attached, uint64_t arg),
			const struct attached *attached, uint64_t arg);

/*
 * Open it for ourselves alone: *ret_fd is the caller's to close. Returns 0, or -EBUSY: it
 * is mounted, or below another device; or another negative errno, with *problem.
 */
int MUST_CHECK attach_device_claim(const struct attached *attached, int *ret_fd,
				   struct problem *problem);

#endif
