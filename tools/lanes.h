/* SPDX-License-Identifier: MIT */
/*
 * Lanes for the threads of a tool, which read and write the disk of an image by the
 * road of requests, each waiting for its own. The image is open: its session has
 * begun, or it is clean and only read.
 */
#ifndef TOOLS_LANES_H
#define TOOLS_LANES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "copy.h"
#include "image/image.h"
#include "image/problem.h"

struct lane_thread;

struct lanes {
	struct image *image;
	struct lane_thread *threads; /* COPY_THREADS */
	struct lane *of_threads[COPY_THREADS];
	_Atomic unsigned int nr_left;
};

/* Returns 0 (lanes_done() it) or a negative errno with *problem. */
int MUST_CHECK lanes_init(struct lanes *lanes, struct image *image, struct problem *problem);

/* Accepts a zeroed struct. All threads have left, or none has ever called. */
void lanes_done(struct lanes *lanes);

/*
 * @thread's own: 0 to COPY_THREADS - 1. @data: of a WRITE, it is encrypted in place.
 * Blocks. Return 0 or a negative errno, as the requests of clients do.
 */
int MUST_CHECK lanes_read(struct lanes *lanes, unsigned int thread, uint64_t first_sector,
			  uint32_t nr_sectors, uint8_t *ret_data);
int MUST_CHECK lanes_write(struct lanes *lanes, unsigned int thread, uint64_t first_sector,
			   uint32_t nr_sectors, uint8_t *data);

/* Let them read as zeros; those that do already are left alone. Any number of them. */
int MUST_CHECK lanes_zero(struct lanes *lanes, unsigned int thread, uint64_t first_sector,
			  uint64_t nr_sectors);

/* Do the sectors read as zeros because nothing is stored? As struct copy_source's extent(). */
int MUST_CHECK lanes_extent(struct lanes *lanes, unsigned int thread, uint64_t first_sector,
			    uint64_t limit_sectors, bool *ret_hole, uint64_t *ret_sectors);

/* As struct copy_source's leave(): what another lane needs of this one is done meanwhile. */
void lanes_leave(struct lanes *lanes, unsigned int thread, bool wait);

#endif
