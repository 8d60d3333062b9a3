/* SPDX-License-Identifier: MIT */
/* What the system must let the daemon have, for all that it is to serve. */
#ifndef RESOURCES_H
#define RESOURCES_H

#include <stdbool.h>

/*
 * Raise the soft limits of open files and of locked memory to what @nr_exports
 * and as many connections as @nr_workers take may need (@keeps_arenas: and arenas that
 * are kept in place, ring.h, which is worth no line), as far as the hard limits
 * let us. Logs a line for each of those that is too low: the daemon then starts
 * all the same, and what goes beyond it is refused when it comes. Main thread,
 * after the helper has been forked: what that runs keeps the limits it knows.
 */
void resources_reserve(unsigned int nr_exports, unsigned int nr_workers, bool keeps_arenas);

#endif
