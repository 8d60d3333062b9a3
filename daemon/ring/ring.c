/* SPDX-License-Identifier: MIT */
/* What every engine does the same way: judging results, running one operation. */
#include "ring/ring.h"

#include <assert.h>
#include <errno.h>

/* One kernel result of a READ or WRITE. */
static bool transfer_advance(struct ring_op *op, int res, int *ret_result)
{
	if (res < 0) {
		*ret_result = res;
		return true;
	}
	/* Nothing moved: the end of the file, or a device that takes no more. */
	if (res == 0 && op->bytes > 0) {
		*ret_result = -EIO;
		return true;
	}

	assert((uint32_t)res <= op->bytes - op->done_bytes);
	op->done_bytes += (uint32_t)res;
	if (op->done_bytes < op->bytes)
		return false;
	*ret_result = 0;
	return true;
}

bool ring_op_advance(struct ring_op *op, int res, int *ret_result)
{
	bool turned_away = res == -EINTR || res == -EAGAIN;

	switch (op->kind) {
	case RING_READ:
	case RING_WRITE:
		return !turned_away && transfer_advance(op, res, ret_result);
	case RING_FDATASYNC:
		break;
	case RING_ADVISE:
		res = 0;
		break;
	case RING_PUNCH:
	case RING_ALLOCATE:
	case RING_ACCEPT:
	case RING_RECV:
	case RING_SENDMSG:
		if (turned_away)
			return false;
		break;
	case RING_POLL:
		if (turned_away)
			return false;
		if (res > 0) /* the events found */
			res = 0;
		break;
	}
	*ret_result = res;
	return true;
}

/* The stand-in that ring_run() submits, so that the caller's @done stays unused. */
struct run {
	struct ring_op op;
	bool over;
	int result;
};

static void run_done(struct ring_op *op, int result)
{
	struct run *run = CONTAINER_OF(op, struct run, op);

	run->over = true;
	run->result = result;
}

int ring_run(struct ring *ring, struct ring_op *op)
{
	struct run run = { .op = *op };

	run.op.done = run_done;
	ring_submit(ring, &run.op);
	while (!run.over) {
		int r = ring_wait(ring, -1);

		if (r < 0)
			return r;
	}
	return run.result;
}
