/* SPDX-License-Identifier: MIT */
/*
 * The daemon under test: starting it, and the ways in which it ends.
 *
 * For DEATH_OOM it runs in a memory cgroup (either version) that is given no more
 * than it uses, and a neighbour that takes some of it; in the end the kernel
 * kills the daemon.
 */
#ifndef TESTS_MODEL_DAEMON_H
#define TESTS_MODEL_DAEMON_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum death { DEATH_TERM, DEATH_KILL, DEATH_SEGV, DEATH_OOM, DEATHS };

struct daemon {
	char **argv;
	const char *cgroup; /* folder of its own cgroup, or NULL */
	pid_t pid;	    /* 0: not running */
	pid_t helper;	    /* its child, from daemon_strike() on; 0: not seen */
	uint64_t oom_kills; /* of the cgroup, when it was struck */
	pid_t eater;	    /* the neighbour; 0: not there */
};

/* "term", "kill", "segv" or "oom". False: another word. */
bool death_of_name(const char *name, enum death *ret_death);

/* These say what is wrong, or return NULL when all went well. */
const char *daemon_start(struct daemon *daemon);

/* Bring it about; does not wait. */
const char *daemon_strike(struct daemon *daemon, enum death how);

/*
 * Wait for its end, at most some seconds, and see that it was the one meant: by
 * the signal, without a core, and with its helper gone as well.
 */
const char *daemon_bury(struct daemon *daemon, enum death how);

/* The next start has this much memory, if the cgroup can be made so small; 0: no limit. */
const char *daemon_limit_memory(struct daemon *daemon, uint64_t nr_bytes);

#endif
