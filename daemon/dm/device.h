/* SPDX-License-Identifier: MIT */
/*
 * A device of dm-sealblk: its node, and what is mapped from there. The ABI is in
 * sealblk/shim_uapi.h.
 */
#ifndef DM_DEVICE_H
#define DM_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "image/problem.h"
#include "request/request.h"
#include "ring/ring.h"
#include "sealblk/shim_uapi.h"

struct dm_device;
struct server;
struct worker;

/* A place for one request at a time: with the kernel, or under way here. */
struct dm_tag {
	struct request request;
	struct ring_op op;
	struct shim_command command; /* what @op carries */
	struct dm_device *device;
	struct worker *worker; /* serves it, always the same */
	uint16_t number;
};

struct dm_device {
	/* Frozen before any worker runs. */
	const char *name;
	unsigned int export; /* its number */
	uint32_t queue_depth;
	uint32_t max_io_bytes;
	const struct shim_request *requests; /* mapped: written by the kernel */
	uint8_t *data;			     /* mapped: max_io_bytes for each tag */
	struct dm_tag *tags;		     /* queue_depth */

	int fd;		    /* by who runs dm_close_all() */
	_Atomic bool ended; /* the kernel has said so, and it was logged */
};

/*
 * Open the devices of the options, whose exports are open. Before any worker runs, on
 * the main thread. Returns 0, or a negative errno with *problem; dm_close_all() is due
 * in either case.
 */
int MUST_CHECK dm_open_all(struct server *server, struct problem *problem);

/*
 * Close the nodes: requests that have not been committed go to the next daemon, and
 * commands that wait complete. May be called again; by one thread at a time.
 */
void dm_close_all(struct server *server);

/* Behind dm_close_all(), when no command is under way: give back memory. */
void dm_free_all(struct server *server);

#endif
