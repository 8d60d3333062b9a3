/* SPDX-License-Identifier: MIT */
/* A sealblkd of attach's own, from its command line to "ready". */
#ifndef TOOLS_ATTACH_SPAWN_H
#define TOOLS_ATTACH_SPAWN_H

#include "attach.h"
#include "attach_place.h"

/* As attach_daemon_start(), but what it leaves in its place is the caller's to remove. */
int MUST_CHECK attach_spawn(const struct attach_job *job, const char *dm_name, pid_t *ret_pid,
			    struct problem *problem);

#endif
