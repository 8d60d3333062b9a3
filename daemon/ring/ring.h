/* SPDX-License-Identifier: MIT */
/*
 * The engine seam: everything asynchronous goes through here.
 *
 * An operation is a struct ring_op inside its owner's memory. The owner fills
 * it in, submits it, and must keep it and its bytes in place until @done is
 * called, exactly once, from ring_wait() on the ring's own thread, never from
 * inside ring_submit(). Operations in flight at the same time have no order:
 * an fdatasync covers only writes whose @done has been called before it was
 * submitted (io_uring_enter(2)).
 *
 * Implementations: ring_uring_new() (liburing), ring_aio_new() (libaio and epoll,
 * where io_uring is refused), ring_sync_new() (plain system calls, for tools and
 * for opening an image), and the simulator of the tests.
 * A ring belongs to one thread; nothing here may be called from another.
 */
#ifndef RING_RING_H
#define RING_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/compiler.h"

/* First those for files. */
enum ring_kind {
	RING_READ,	/* @bytes at @offset_bytes into @data; the end of the file is -EIO */
	RING_WRITE,	/* @bytes at @offset_bytes from @data */
	RING_FDATASYNC, /* the whole file */
	RING_PUNCH,	/* deallocate [@offset_bytes, +@range_bytes); reads as zeros after */
	RING_ALLOCATE,	/* reserve [@offset_bytes, +@range_bytes), the file does not grow */
	RING_ADVISE,	/* read [@offset_bytes, +@range_bytes) ahead; a hint, never fails */
	RING_ACCEPT,	/* @fd in non-blocking mode; result: the new socket, close-on-exec */
	RING_RECV,	/* up to @bytes into @data; result: bytes, 0 at the end of the stream */
	RING_RECVMSG,	/* into @message, in order; the same result */
	RING_SENDMSG,	/* @message, without SIGPIPE; result: bytes taken, may be short */
	RING_POLL,	/* until @fd is readable; result: 0 */
	RING_COMMAND, /* of @fd's driver: @command, with RING_COMMAND_BYTES at @data; its result */
};

enum { RING_COMMAND_BYTES = 16 }; /* what an ordinary SQE has room for */

/* Else it is for sockets and the like, and may wait for a peer for ever. */
static inline bool ring_kind_is_for_files(enum ring_kind kind)
{
	return kind <= RING_ADVISE;
}

struct ring_op {
	/* Filled in by the owner before ring_submit(). */
	enum ring_kind kind;
	int fd;
	bool in_memory; /* the file is (struct store): no call on it waits for a device */
	bool direct;	/* @fd is O_DIRECT, or as slow: each READ and WRITE waits for a device */
	uint64_t offset_bytes;
	uint64_t range_bytes;	/* PUNCH, ALLOCATE, ADVISE */
	uint8_t *data;		/* READ, WRITE, RECV, COMMAND */
	uint32_t bytes;		/* READ, WRITE, RECV: length of @data */
	struct msghdr *message; /* RECVMSG, SENDMSG: the owner's, with what it points to */
	uint32_t command;	/* COMMAND */

	/*
	 * READ and WRITE are whole or failed: short transfers are continued below
	 * the seam. @result: 0 or a count as said above, or a negative errno.
	 */
	void (*done)(struct ring_op *op, int result);

	/* The ring's own, from ring_submit() to @done. */
	uint32_t done_bytes;
	uint16_t slot;
	int result; /* of an operation that waits for ring_wait() */
	struct ring_op *next;
};

struct ring;

struct ring_ops {
	void (*submit)(struct ring *ring, struct ring_op *op);
	int (*wait)(struct ring *ring, int timeout_ms);
	void (*cancel)(struct ring *ring, struct ring_op *op); /* NULL: nothing ever lasts */
	/* NULL: there is nothing to gain. */
	int (*keep_in_place)(struct ring *ring, uint8_t *memory, size_t bytes);
	void (*free)(struct ring *ring);
};

/* The first member of every implementation. */
struct ring {
	const struct ring_ops *ops;
	uint32_t nr_in_flight; /* submitted, @done not yet called */
};

/* Never fails: what cannot be started completes with an error. */
static inline void ring_submit(struct ring *ring, struct ring_op *op)
{
	op->done_bytes = 0;
	ring->nr_in_flight++;
	ring->ops->submit(ring, op);
}

/*
 * Hand everything submitted to the kernel, wait for at least one completion or
 * @timeout_ms (-1: for ever, 0: do not wait) and call the @done of each.
 * Returns 0, also on a timeout or a signal, so perhaps with nothing done; or a
 * negative errno: the ring is then unusable. A signal that arrives just before
 * the wait does not end it: poll a signalfd instead.
 */
static inline int MUST_CHECK ring_wait(struct ring *ring, int timeout_ms)
{
	return ring->ops->wait(ring, timeout_ms);
}

/*
 * Ask for an early end of @op, which must be in flight: its @done is called
 * from ring_wait() with -ECANCELED, or with its ordinary result when that came
 * first (an accepted socket is still the owner's to close). For the kinds that
 * wait for a peer; a read or write of a file is left to run. May be called
 * again, and from inside another operation's @done.
 */
static inline void ring_cancel(struct ring *ring, struct ring_op *op)
{
	if (ring->ops->cancel)
		ring->ops->cancel(ring, op);
}

/*
 * READs and WRITEs of struct ring_op's `direct` into and out of @memory, page-aligned,
 * cost less from here on: the kernel finds its pages once and keeps all of them in
 * memory until the ring is gone (io_uring_register(2), IORING_REGISTER_BUFFERS). Once,
 * before the first ring_wait(). Returns 0, or a negative errno, and all is as before:
 * -ENOMEM: they are more than RLIMIT_MEMLOCK lets this user keep.
 */
static inline int MUST_CHECK ring_keep_in_place(struct ring *ring, uint8_t *memory, size_t bytes)
{
	return ring->ops->keep_in_place ? ring->ops->keep_in_place(ring, memory, bytes) : 0;
}

/* Accepts NULL; nothing may be in flight. */
static inline void ring_free(struct ring *ring)
{
	if (ring)
		ring->ops->free(ring);
}

/*
 * Submit @op and wait until it is done; @op->done is not used. Other
 * operations may complete meanwhile. Returns the result of @op.
 */
int MUST_CHECK ring_run(struct ring *ring, struct ring_op *op);

/*
 * For implementations: take one kernel result of @op, which moved @res bytes or
 * failed. Returns true when the operation is over and *ret_result is what its
 * owner gets; false when it must be submitted again: the rest of a short READ or
 * WRITE (from @done_bytes on), or all of what -EINTR or -EAGAIN turned away.
 * An FDATASYNC is never repeated: the failed one may have used up the report of
 * a lost page.
 */
bool ring_op_advance(struct ring_op *op, int res, int *ret_result);

/*
 * For implementations: one system call for what is left of @op, a kind that is
 * for files. Returns what cqe->res would be.
 */
int MUST_CHECK ring_op_call(const struct ring_op *op);

/*
 * For implementations: do @op, of a kind that is for files, if that can be done
 * without waiting for a device. Returns true when it is over: @result. Otherwise
 * its rest is to be submitted.
 */
bool MUST_CHECK ring_op_at_once(struct ring_op *op);

/*
 * @entries: operations in flight at most, 1 to 16384; more wait in line below
 * the seam. The ring belongs to the thread that first calls ring_wait().
 * Returns 0, or -ENOSYS / -EPERM / -EACCES / -EINVAL when this kernel or its settings
 * refuse io_uring, -ENOMEM, -EMFILE. The caller owns *ret_ring: ring_free().
 */
int MUST_CHECK ring_uring_new(unsigned int entries, struct ring **ret_ring);

/* The same, and it takes RING_COMMAND, which all other rings answer with an error. */
int MUST_CHECK ring_uring_new_commanding(unsigned int entries, struct ring **ret_ring);

/*
 * The same without io_uring: libaio and epoll, see aio.c. Only operations of files are
 * counted and stand in line, 256 of them in flight at most, fewer where the host's
 * fs.aio-max-nr leaves no more. Returns 0, or -EAGAIN (nothing is left of that), -ENOSYS,
 * -ENOMEM, -EMFILE.
 */
int MUST_CHECK ring_aio_new(unsigned int entries, struct ring **ret_ring);

/*
 * ring_wait() makes ordinary system calls, one for each operation, in order: blocking.
 * Kinds that wait for a peer answer -ENOTSUP.
 * Returns 0 or -ENOMEM. The caller owns *ret_ring: ring_free().
 */
int MUST_CHECK ring_sync_new(struct ring **ret_ring);

#endif
