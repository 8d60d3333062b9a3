/* SPDX-License-Identifier: MIT */
/*
 * The engine without an engine: plain system calls, one after another. For the
 * tools, and for opening an image before any worker runs.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "ring/queue.h"
#include "ring/ring.h"

struct sync_ring {
	struct ring ring;
	struct ring_queue finished; /* run, @done not yet called */
};

static struct sync_ring *sync_of(struct ring *ring)
{
	return CONTAINER_OF(ring, struct sync_ring, ring);
}

static int result_of(ssize_t res)
{
	return res < 0 ? -errno : (int)res;
}

/* One system call for what is left of @op; the result as in cqe->res. */
static int call_once(const struct ring_op *op)
{
	off_t at = (off_t)(op->offset_bytes + op->done_bytes);
	off_t range = (off_t)op->range_bytes;
	size_t left = op->bytes - op->done_bytes;

	switch (op->kind) {
	case RING_READ:
		return result_of(pread(op->fd, op->data + op->done_bytes, left, at));
	case RING_WRITE:
		return result_of(pwrite(op->fd, op->data + op->done_bytes, left, at));
	case RING_FDATASYNC:
		return result_of(fdatasync(op->fd));
	case RING_PUNCH:
		return result_of(
			fallocate(op->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, range));
	case RING_ALLOCATE:
		return result_of(fallocate(op->fd, FALLOC_FL_KEEP_SIZE, at, range));
	case RING_ADVISE:
		return -posix_fadvise(op->fd, at, range, POSIX_FADV_WILLNEED);
	case RING_ACCEPT:
	case RING_RECV:
	case RING_SENDMSG:
	case RING_POLL:
		break;
	}
	return -ENOTSUP;
}

static void submit(struct ring *ring, struct ring_op *op)
{
	while (!ring_op_advance(op, call_once(op), &op->result))
		;
	ring_queue_push(&sync_of(ring)->finished, op);
}

static int wait(struct ring *ring, int timeout_ms)
{
	(void)timeout_ms; /* whatever was submitted is finished */
	ring_queue_deliver(ring, &sync_of(ring)->finished);
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
