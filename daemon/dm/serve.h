/* SPDX-License-Identifier: MIT */
/*
 * Requests of dm-sealblk's devices, on a worker's thread:
 *
 * fetched -> gate_check -> req_start -> ... -> finished -> commit, and fetch
 *
 * Each tag of a device belongs to one worker, in turn. The data lies in what is
 * mapped, and is encrypted and decrypted there: the kernel has its own copy.
 */
#ifndef DM_SERVE_H
#define DM_SERVE_H

#include <stdbool.h>

#include "base/compiler.h"

struct worker;

/* Fetch for each tag of this worker's. One in the background has none. */
void dm_start(struct worker *worker);

/*
 * The server stops: no request is begun any more, and those under way are committed.
 * Returns true when none is. May be called again.
 */
bool MUST_CHECK dm_stop(struct worker *worker);

#endif
