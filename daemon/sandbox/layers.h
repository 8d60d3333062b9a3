/* SPDX-License-Identifier: MIT */
/* The layers of the sandbox, for sandbox.c, which says in which order. 0 or a negative errno. */
#ifndef SANDBOX_LAYERS_H
#define SANDBOX_LAYERS_H

#include <stdint.h>

#include "sandbox/sandbox.h"

/* All but @kept (a mask by number) leave all sets. Without the right to, the bounding set stays. */
int MUST_CHECK capabilities_drop(uint64_t kept);

/*
 * Files by path, TCP, abstract sockets and signals to others, as far as this kernel's
 * Landlock goes. *ret_version: 0: it has none, or it is switched off; nothing is done.
 */
int MUST_CHECK landlock_enter(const struct sandbox_plan *plan, int *ret_version);

/* The list of the daemon, or that of the helper. */
int MUST_CHECK seccomp_enter(const struct sandbox_plan *plan, unsigned int *ret_nr_calls);
int MUST_CHECK seccomp_enter_helper(void);

#endif
