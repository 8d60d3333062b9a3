/* SPDX-License-Identifier: MIT */
/* What every engine does the same way: judging results, running one operation. */
#include "ring/ring.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	/*
	 * Of a buffered write at a time: the page cache takes a longer piece as one
	 * large folio, and ext4 then walks all its buffers at each later small write.
	 */
	PIECE_BYTES = 64 << 10,
};

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
	case RING_COMMAND:
		break;
	case RING_ADVISE:
		res = 0;
		break;
	case RING_PUNCH:
	case RING_ALLOCATE:
	case RING_ACCEPT:
	case RING_RECV:
	case RING_RECVMSG:
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

static int result_of(ssize_t res)
{
	return res < 0 ? -errno : (int)res;
}

int ring_op_call(const struct ring_op *op)
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
	case RING_RECVMSG:
	case RING_SENDMSG:
	case RING_POLL:
	case RING_COMMAND:
		break;
	}
	return -ENOTSUP;
}

static int write_piece(const struct ring_op *op)
{
	uint32_t left = op->bytes - op->done_bytes;
	ssize_t written = pwrite(op->fd, op->data + op->done_bytes,
				 left < PIECE_BYTES ? left : PIECE_BYTES,
				 (off_t)(op->offset_bytes + op->done_bytes));

	return written < 0 ? -errno : (int)written;
}

/* What the page cache has; the kernel's ring sees to the rest. */
static bool read_at_once(struct ring_op *op)
{
	struct iovec into = { .iov_base = op->data, .iov_len = op->bytes };
	ssize_t got = preadv2(op->fd, &into, 1, (off_t)op->offset_bytes, RWF_NOWAIT);

	return got > 0 && ring_op_advance(op, (int)got, &op->result);
}

/*
 * What never waits for a device is done sooner than it can be handed over.
 *
 * A buffered write is a copy into the page cache: no file system takes it without
 * blocking, so io_uring would give it to a kernel thread, and a file's writes to
 * one after another. It may wait when the host has too many dirty pages, as every
 * writer then does. On tmpfs io_uring has kernel threads for reads as well.
 */
static bool call_at_once(struct ring_op *op)
{
	int res;

	do {
		res = op->kind == RING_WRITE ? write_piece(op) : ring_op_call(op);
	} while (!ring_op_advance(op, res, &op->result));
	return true;
}

bool ring_op_at_once(struct ring_op *op)
{
	if (op->direct)
		return false;
	if (op->kind == RING_WRITE || (op->in_memory && ring_kind_is_for_files(op->kind)))
		return call_at_once(op);
	return op->kind == RING_READ && read_at_once(op);
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
