/* SPDX-License-Identifier: MIT */
/*
 * The engine without an engine: plain system calls, one after another. For the
 * tools, and for opening an image before any worker runs. They are made by
 * ring_wait(): who submits may hold a lock, and a call may take long.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "ring/queue.h"
#include "ring/ring.h"

struct sync_ring {
	struct ring ring;
	struct ring_queue line;
};

static struct sync_ring *sync_of(struct ring *ring)
{
	return CONTAINER_OF(ring, struct sync_ring, ring);
}

static void submit(struct ring *ring, struct ring_op *op)
{
	ring_queue_push(&sync_of(ring)->line, op);
}

/* What a @done adds waits for the next call. */
static int wait(struct ring *ring, int timeout_ms)
{
	struct ring_queue batch = sync_of(ring)->line;
	struct ring_op *op;

	(void)timeout_ms; /* nothing lasts beyond its call */
	sync_of(ring)->line.head = NULL;
	while ((op = ring_queue_pop(&batch))) {
		while (!ring_op_advance(op, ring_op_call(op), &op->result))
			;
		ring->nr_in_flight--;
		op->done(op, op->result);
	}
	return 0;
}

static void free_ring(struct ring *ring)
{
	assert(ring->nr_in_flight == 0);
	free(sync_of(ring));
}

static const struct ring_ops sync_ops = {
	.submit = submit,
	.wait = wait,
	.free = free_ring,
};

int ring_sync_new(struct ring **ret_ring)
{
	struct sync_ring *sync = malloc(sizeof(*sync));

	if (!sync)
		return -ENOMEM;
	*sync = (struct sync_ring){ .ring.ops = &sync_ops };
	*ret_ring = (struct ring *)sync; /* its first member, in a form -fanalyzer follows */
	return 0;
}
