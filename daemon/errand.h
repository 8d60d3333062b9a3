/* SPDX-License-Identifier: MIT */
/*
 * Errands: what the control thread, or the main one, wants done to what belongs to the
 * workers, such as an image's lanes.
 */
#ifndef ERRAND_H
#define ERRAND_H

#include "base/compiler.h"
#include "server.h"

/*
 * Call @run for the lane of @image on every worker, on its thread, and wait for all
 * of them. @run returns at once: 0 or a negative errno. What requests are started
 * there from now on come after it. With server->changes held, and only while the
 * workers run; of workers only on the thread of the one in the background. Returns the error of the first worker that had one, or 0.
 */
int errand_run(struct server *server, const struct image *image,
	       int (*run)(void *arg, struct lane *lane), void *arg);

/* The same for what is the worker's and no image's: @run is called once for each. */
int errand_run_on_workers(struct server *server, int (*run)(void *arg, struct worker *worker),
			  void *arg);

#endif
