/* SPDX-License-Identifier: MIT */
/*
 * sealblk attach and detach: an image's disk as a block device of this host.
 *
 * Nothing is written down about a device: the kernel keeps with it whose disk it is
 * (control/attachment.h), and it is found by that. What attach does not leave to the
 * kernel, a daemon that it has started itself, has a folder (attach_place.h).
 *
 *   attach.c -> attach_nbd.c -> attach_daemon.c, nbd_dial.c, nbd_link.c
 *            -> attach_dm.c  -> attach_daemon.c, libdevmapper
 */
#ifndef TOOLS_ATTACH_H
#define TOOLS_ATTACH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/compiler.h"
#include "control/attachment.h"
#include "image/problem.h"
#include "options.h"

struct attach_place;

enum { ATTACH_DEVICE_BYTES = 16 + ATTACH_NAME_BYTES_MAX };

/* A device that is there. */
struct attached {
	struct attachment who;
	const struct attach_via *via;
	dev_t number;
	char device[ATTACH_DEVICE_BYTES]; /* its path */
};

/* What attach has found out before anything is done. */
struct attach_job {
	const struct tool_options *options;
	const struct attach_place *place;
	char path[PATH_BYTES_MAX]; /* of the image, absolute */
	uint64_t disk_bytes;
	struct attachment who;
};

/*
 * A way to a device. All calls block; they return 0 or a negative errno with *problem,
 * and what is said of errors in tool_exit_of() holds.
 */
struct attach_via {
	const char *name; /* as --via has it */

	/*
	 * Show each of our devices to @see, until that returns other than 0. Returns
	 * what @see returned, 0 for no more, or a negative errno with *problem.
	 */
	int (*list)(int (*see)(void *arg, const struct attached *attached), void *arg,
		    struct problem *problem);

	/*
	 * Make the device of @job and wait until it can be used. ret_attached->who is set.
	 * @before: as list() found it, when it is there already; then see to it that
	 * somebody serves it. NULL: it is not there. Whoever fails leaves nothing behind.
	 */
	int (*attach)(const struct attach_job *job, const struct attached *before,
		      struct attached *ret_attached, struct problem *problem);

	/*
	 * Take it away and wait until it is gone. -EBUSY: it is in use, unless @force;
	 * nothing has happened then.
	 */
	int (*detach)(const struct attached *attached, bool force, struct problem *problem);
};

extern const struct attach_via attach_via_nbd;
extern const struct attach_via attach_via_dm;

#endif
