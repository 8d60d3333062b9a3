/* SPDX-License-Identifier: MIT */
/*
 * The sandbox: what the daemon gives up once it is set up, so that whoever takes it
 * over by way of a client can do little with it. docs/security.md says what each
 * layer stops. What a ring may be asked for is ring/uring.c's part of it.
 *
 * A build with a sanitizer has no sandbox: its run-time reads /proc, opens files and
 * traces itself. Nor has one with -DSANDBOX_LEFT_OUT (coverage, which writes at the end).
 */
#ifndef SANDBOX_H
#define SANDBOX_H

#include <stdbool.h>

#include "base/compiler.h"
#include "image/problem.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_LEFT_OUT 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
	__has_feature(memory_sanitizer)
#define SANDBOX_LEFT_OUT 1
#endif
#endif

/* What the daemon goes on doing. All is the caller's; folders must exist. */
struct sandbox_plan {
	const char *folder;	    /* in it files are made, read, written and removed */
	const char *const *sockets; /* are removed at the end; so may be what lies beside them */
	unsigned int nr_sockets;
	const int *listeners;	   /* descriptors: nobody turns them into something else */
	unsigned int nr_listeners; /* LISTENERS_MAX at most */
};

/* What sandbox_enter() found. */
struct sandbox_state {
	bool left_out;	       /* by the build: nothing was done */
	unsigned int nr_calls; /* system calls that are allowed */
	int landlock_version;  /* 0: this kernel has none, so paths are not restricted */
};

/*
 * Give up, for good: all capabilities; new privileges; being dumped and traced; what
 * Landlock can forbid, beside @plan; the system calls that are not on the list, each
 * of which from now on kills the process (SIGSYS). There is no way back, and after a
 * failure the process is to end. What was open stays open.
 *
 * Call while this is the only thread: those to come inherit it all, and are all there
 * can be: no process, no program. Blocks briefly. Returns 0, or a negative errno with *problem.
 */
int MUST_CHECK sandbox_enter(const struct sandbox_plan *plan, struct sandbox_state *ret_state,
			     struct problem *problem);

/*
 * The same for the helper process (keys/helper.c), which goes on opening files for
 * reading for the daemon: all capabilities but CAP_DAC_READ_SEARCH, and a shorter list
 * of system calls. Returns 0 or a negative errno.
 */
int MUST_CHECK sandbox_enter_helper(void);

#endif
