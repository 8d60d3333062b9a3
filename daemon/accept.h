/* SPDX-License-Identifier: MIT */
/*
 * Accepting connections, on worker 0's ring, and handing them to the workers in
 * turn. All on worker 0's thread.
 */
#ifndef ACCEPT_H
#define ACCEPT_H

#include <stdbool.h>

#include "ring/ring.h"

struct listener;
struct worker;

/* Waits for connections at one listener. */
struct acceptor {
	struct ring_op op;
	struct worker *worker;
	const struct listener *listener;
	bool waiting; /* @op is in flight */
	bool failing; /* the last accept failed: said once */
};

/* Wait for connections at every listener. */
void accept_start(struct worker *worker);

/*
 * Where accepting has failed, try once more. Without descriptors, say, it fails
 * at once, and would again: from the worker's tick, not more often.
 */
void accept_retry(struct worker *worker);

/* Accept no more; what is in flight still completes. */
void accept_stop(struct worker *worker);

#endif
