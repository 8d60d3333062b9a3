/* SPDX-License-Identifier: MIT */
/*
 * The daemon behind an attached image: one that serves it already, or one that attach
 * starts, which then belongs to attach alone and ends with detach.
 */
#ifndef TOOLS_ATTACH_DAEMON_H
#define TOOLS_ATTACH_DAEMON_H

#include "attach.h"
#include "attach_place.h"

/* Where its NBD clients find an image's disk. */
struct attach_endpoint {
	char socket[PATH_BYTES_MAX];
	char export[EXPORT_NAME_BYTES_MAX + 1];
};

/*
 * Ask the daemon that serves @path. Returns 1; 0: nobody serves it; or a negative errno
 * with *problem, -EADDRNOTAVAIL: it listens at no unix socket.
 */
int MUST_CHECK attach_daemon_find(const char *path, struct attach_endpoint *ret_endpoint,
				  struct problem *problem);

/*
 * Start a sealblkd for the image of @job and wait until it is ready. It has a session of
 * its own, and its key from the KEYSOURCE of the command line. @dm_name: serve that
 * device, too; NULL: none. *ret_pid: of the daemon, which is this process's child.
 * Returns 0; or, and it is gone, with *problem what it said: -EUCLEAN: it refused the
 * image; -EKEYREJECTED: the key; -EINVAL: the KEYSOURCE is missing; or another errno.
 */
int MUST_CHECK attach_daemon_start(const struct attach_job *job, const char *dm_name,
				   pid_t *ret_pid, struct problem *problem);

/*
 * End the daemon that attach has started in @place: it closes the image first, for
 * which this waits. Returns 1; 0: there is none; or a negative errno with *problem.
 */
int attach_daemon_stop(const struct attach_place *place, struct problem *problem);

/* The process that listens in @place; 0: none. */
pid_t attach_daemon_pid(const struct attach_place *place);

#endif
