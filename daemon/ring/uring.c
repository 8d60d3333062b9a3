/* SPDX-License-Identifier: MIT */
/*
 * The io_uring engine (liburing 2.3, Linux 6.1 or newer).
 *
 *   ring_submit -> done at once, without the kernel's ring? finished
 *                  else a free slot?  yes: SQE in the ring    no: in line
 *   ring_wait   -> anything finished? its @done, this time
 *                  else one system call hands over all SQEs and waits
 *                  -> each CQE: slot -> advance -> again, or @done and next in line
 *
 * Each slot has at most one SQE of its operation and one that cancels it in the
 * submission ring, which is twice as long as the table: there is always room.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ring/queue.h"
#include "ring/ring.h"
#include "ring/tag.h"
#include "sealblk/units.h"

enum {
	ENTRIES_MAX = 1 << 14, /* twice this is the longest ring of the kernel */
	BATCH = 64,	       /* completions taken off the ring at a time */
	SLOT_NONE = UINT16_MAX,
};
#define ADVISE_BYTES_MAX ((uint64_t)1 << 30) /* the SQE's field has 32 bits */

_Static_assert(ENTRIES_MAX < SLOT_NONE, "a slot number is never SLOT_NONE");

enum cancel {
	CANCEL_NO,
	CANCEL_WANTED, /* the owner has asked, the kernel does not know */
	CANCEL_SENT,
};

struct slot {
	struct ring_op *op; /* NULL: free */
	uint32_t epoch;
	uint16_t next_free;
	bool polling; /* its SQE waits for the socket to be ready again */
	enum cancel cancel;
};

struct uring {
	struct ring ring;
	struct io_uring kernel;
	bool enabled;		    /* by the thread that waits */
	bool delivered;		    /* the last wait did not enter the kernel */
	struct ring_queue line;	    /* for a free slot */
	struct ring_queue finished; /* over without the kernel's ring, @done not yet called */
	unsigned int nr_cancels;    /* slots with CANCEL_WANTED */
	const uint8_t *kept;	    /* buffer 0 of the kernel's, @kept_bytes; NULL: none */
	size_t kept_bytes;
	uint16_t first_free;
	unsigned int nr_slots;
	struct slot slots[];
};

static struct uring *uring_of(struct ring *ring)
{
	return CONTAINER_OF(ring, struct uring, ring);
}

/* ---- submission ---- */

/* In @u->kept, and worth looking for there? */
static bool is_kept(const struct uring *u, const struct ring_op *op)
{
	return op->direct && u->kept && op->data >= u->kept && op->data < u->kept + u->kept_bytes;
}

static void prepare(const struct uring *u, struct io_uring_sqe *sqe, const struct ring_op *op)
{
	uint64_t at = op->offset_bytes + op->done_bytes;
	uint32_t left = op->bytes - op->done_bytes;
	off_t range = (off_t)op->range_bytes;

	switch (op->kind) {
	case RING_READ:
		io_uring_prep_read(sqe, op->fd, op->data + op->done_bytes, left, at);
		if (is_kept(u, op))
			sqe->opcode = IORING_OP_READ_FIXED;
		break;
	case RING_WRITE:
		io_uring_prep_write(sqe, op->fd, op->data + op->done_bytes, left, at);
		if (is_kept(u, op))
			sqe->opcode = IORING_OP_WRITE_FIXED;
		break;
	case RING_FDATASYNC:
		io_uring_prep_fsync(sqe, op->fd, IORING_FSYNC_DATASYNC);
		break;
	case RING_PUNCH:
		io_uring_prep_fallocate(sqe, op->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					(off_t)at, range);
		break;
	case RING_ALLOCATE:
		io_uring_prep_fallocate(sqe, op->fd, FALLOC_FL_KEEP_SIZE, (off_t)at, range);
		break;
	case RING_ADVISE:
		io_uring_prep_fadvise(sqe, op->fd, at,
				      (off_t)min_u64(op->range_bytes, ADVISE_BYTES_MAX),
				      POSIX_FADV_WILLNEED);
		break;
	case RING_ACCEPT:
		io_uring_prep_accept(sqe, op->fd, NULL, NULL, SOCK_CLOEXEC);
		break;
	case RING_RECV:
		io_uring_prep_recv(sqe, op->fd, op->data, op->bytes, 0);
		break;
	case RING_RECVMSG:
		io_uring_prep_recvmsg(sqe, op->fd, op->message, 0);
		break;
	case RING_SENDMSG:
		io_uring_prep_sendmsg(sqe, op->fd, op->message, MSG_NOSIGNAL);
		break;
	case RING_POLL:
		io_uring_prep_poll_add(sqe, op->fd, POLLIN);
		break;
	case RING_COMMAND:
		io_uring_prep_rw(IORING_OP_URING_CMD, sqe, op->fd, NULL, 0, 0);
		sqe->cmd_op = op->command;
		memcpy((uint8_t *)sqe + offsetof(struct io_uring_sqe, cmd), op->data,
		       RING_COMMAND_BYTES);
		break;
	}
}

static uint64_t tag_of(const struct uring *u, const struct slot *slot)
{
	return ring_tag_pack((struct ring_tag){
		.slot = (uint32_t)(slot - u->slots),
		.epoch = slot->epoch,
	});
}

static void queue_sqe(struct uring *u, const struct slot *slot)
{
	const struct ring_op *op = slot->op;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->kernel);

	assert(sqe);
	if (slot->polling)
		io_uring_prep_poll_add(sqe, op->fd, op->kind == RING_SENDMSG ? POLLOUT : POLLIN);
	else
		prepare(u, sqe, op);
	sqe->user_data = tag_of(u, slot);
}

/* Give free slots to those who wait longest. */
static void start_line(struct uring *u)
{
	while (u->line.head && u->first_free != SLOT_NONE) {
		struct ring_op *op = ring_queue_pop(&u->line);
		struct slot *slot = &u->slots[u->first_free];

		op->slot = u->first_free;
		u->first_free = slot->next_free;
		slot->op = op;
		queue_sqe(u, slot);
	}
}

/*
 * A reply seldom has to wait for its client: one system call, where an SQE is
 * followed by a completion. What cannot be sent, for whatever reason, is the
 * kernel ring's to judge.
 */
static bool send_at_once(struct ring_op *op)
{
	ssize_t sent = sendmsg(op->fd, op->message, MSG_NOSIGNAL | MSG_DONTWAIT);

	op->result = (int)sent;
	return sent >= 0;
}

static void submit(struct ring *ring, struct ring_op *op)
{
	struct uring *u = uring_of(ring);

	op->slot = SLOT_NONE;
	if (op->kind == RING_SENDMSG ? send_at_once(op) : ring_op_at_once(op)) {
		ring_queue_push(&u->finished, op);
		return;
	}
	ring_queue_push(&u->line, op);
	start_line(u);
}

static void cancel(struct ring *ring, struct ring_op *op)
{
	struct uring *u = uring_of(ring);

	if (ring_kind_is_for_files(op->kind))
		return;
	if (op->slot != SLOT_NONE) {
		struct slot *slot = &u->slots[op->slot];

		assert(slot->op == op);
		if (slot->cancel == CANCEL_NO) {
			slot->cancel = CANCEL_WANTED;
			u->nr_cancels++;
		}
	} else if (ring_queue_remove(&u->line, op)) {
		op->result = -ECANCELED;
		ring_queue_push(&u->finished, op);
	}
}

/* Should the kernel have left SQEs of an earlier wait, some keep for the next. */
static void queue_cancels(struct uring *u)
{
	for (unsigned int i = 0; u->nr_cancels > 0 && i < u->nr_slots; i++) {
		struct slot *slot = &u->slots[i];
		struct io_uring_sqe *sqe;

		if (slot->cancel != CANCEL_WANTED)
			continue;
		if (io_uring_sq_space_left(&u->kernel) <= u->nr_slots)
			return;
		sqe = io_uring_get_sqe(&u->kernel);
		io_uring_prep_cancel64(sqe, tag_of(u, slot), 0);
		sqe->user_data = RING_TAG_NONE;
		slot->cancel = CANCEL_SENT;
		u->nr_cancels--;
	}
}

/* ---- completion ---- */

/* The slot a completion belongs to, or NULL when it is stale or nobody's. */
static struct slot *slot_find(struct uring *u, uint64_t user_data)
{
	struct ring_tag tag = ring_tag_unpack(user_data);
	struct slot *slot;

	if (tag.slot >= u->nr_slots)
		return NULL;
	slot = &u->slots[tag.slot];
	return slot->op && slot->epoch == tag.epoch ? slot : NULL;
}

static void slot_put(struct uring *u, struct slot *slot)
{
	if (slot->cancel == CANCEL_WANTED)
		u->nr_cancels--;
	*slot = (struct slot){
		.epoch = slot->epoch + 1,
		.next_free = u->first_free,
	};
	u->first_free = (uint16_t)(slot - u->slots);
}

/*
 * As ring_op_advance(). A socket in non-blocking mode turns a request away
 * instead of queuing it; trying again at once would spin, so it is polled first.
 */
static bool slot_advance(struct slot *slot, int res, int *ret_result)
{
	if (slot->polling) {
		slot->polling = false;
		if (res >= 0)
			return false;
	} else if (res == -EAGAIN && !ring_kind_is_for_files(slot->op->kind)) {
		slot->polling = true;
	}
	return ring_op_advance(slot->op, res, ret_result);
}

static void complete(struct uring *u, uint64_t user_data, int res)
{
	struct slot *slot = slot_find(u, user_data);
	struct ring_op *op;
	int result;

	if (!slot)
		return;
	op = slot->op;
	if (!slot_advance(slot, res, &result)) {
		if (slot->cancel == CANCEL_NO) {
			queue_sqe(u, slot);
			return;
		}
		/* The cancel may have missed it between two tries. */
		result = -ECANCELED;
	}

	slot_put(u, slot);
	start_line(u);
	u->ring.nr_in_flight--;
	op->done(op, result);
}

/* Copied off the ring first, so that a @done may wait for others. */
static void reap(struct uring *u)
{
	UNINITIALIZED struct io_uring_cqe *cqes[BATCH];
	UNINITIALIZED struct io_uring_cqe copies[BATCH];
	unsigned int nr;

	do {
		nr = io_uring_peek_batch_cqe(&u->kernel, cqes, BATCH);
		for (unsigned int i = 0; i < nr; i++) {
			copies[i].user_data = cqes[i]->user_data;
			copies[i].res = cqes[i]->res;
		}
		io_uring_cq_advance(&u->kernel, nr);
		for (unsigned int i = 0; i < nr; i++)
			complete(u, copies[i].user_data, copies[i].res);
	} while (nr == BATCH);
}

/* ---- waiting ---- */

/* DEFER_TASKRUN binds the ring to the thread that enables it. */
static int enable(struct uring *u)
{
	int r;

	if (u->enabled)
		return 0;
	/* liburing 2.3 declares io_uring_enable_rings(), but does not export it. */
	r = io_uring_register((unsigned int)u->kernel.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL,
			      0);
	if (r < 0)
		return r;
	u->enabled = true;
	return 0;
}

static int enter(struct uring *u, int timeout_ms)
{
	struct __kernel_timespec timeout = {
		.tv_sec = timeout_ms / 1000,
		.tv_nsec = timeout_ms % 1000 * 1000000LL,
	};
	struct io_uring_cqe *unused;
	int r;

	if (timeout_ms == 0)
		r = io_uring_submit_and_get_events(&u->kernel);
	else
		r = io_uring_submit_and_wait_timeout(&u->kernel, &unused, 1,
						     timeout_ms < 0 ? NULL : &timeout, NULL);

	/* The last two: short of memory, or of room for completions until some are reaped. */
	if (r == -ETIME || r == -EINTR || r == -EAGAIN || r == -EBUSY)
		return 0;
	return r < 0 ? r : 0;
}

static int wait(struct ring *ring, int timeout_ms)
{
	struct uring *u = uring_of(ring);
	int r = enable(u);

	if (r < 0)
		return r;
	/* What this leads to may go to the kernel together; but next time it is entered. */
	if (u->finished.head && !u->delivered) {
		u->delivered = true;
		ring_queue_deliver(ring, &u->finished);
		return 0;
	}
	queue_cancels(u);
	r = enter(u, u->finished.head ? 0 : timeout_ms);
	if (r < 0)
		return r;
	u->delivered = false;
	ring_queue_deliver(ring, &u->finished);
	reap(u);
	return 0;
}

/* ---- life ---- */

/*
 * What prepare() and the two beside it use, and nothing else: no seccomp filter sees
 * what a ring is asked to do, so this is all that keeps whoever has taken over the
 * process from open(2), connect(2) and their like. Holds from enable() on, for good.
 * No SQE flag is allowed, and no registering.
 */
static const enum io_uring_op allowed_ops[] = {
	IORING_OP_READ,		IORING_OP_WRITE,     IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED,
	IORING_OP_FSYNC,	IORING_OP_FALLOCATE, IORING_OP_FADVISE,	   IORING_OP_ACCEPT,
	IORING_OP_RECV,		IORING_OP_RECVMSG,   IORING_OP_SENDMSG,	   IORING_OP_POLL_ADD,
	IORING_OP_ASYNC_CANCEL, IORING_OP_URING_CMD, /* the last one: of a commanding ring alone */
};

static int restrict_ring(struct io_uring *kernel, bool commanding)
{
	const unsigned int nr = ARRAY_LEN(allowed_ops) - !commanding;
	struct io_uring_restriction allowed[ARRAY_LEN(allowed_ops)] = { 0 };

	for (unsigned int i = 0; i < nr; i++) {
		allowed[i].opcode = IORING_RESTRICTION_SQE_OP;
		allowed[i].sqe_op = (uint8_t)allowed_ops[i];
	}
	/* As in enable(): liburing 2.3 does not export io_uring_register_restrictions(). */
	return io_uring_register((unsigned int)kernel->ring_fd, IORING_REGISTER_RESTRICTIONS,
				 allowed, nr);
}

/* From the best for one thread per ring down to what every kernel has. */
static int kernel_ring_init(struct io_uring *kernel, unsigned int entries)
{
	static const unsigned int flag_sets[] = {
		IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN,
		0,
	};
	int r = -EINVAL;

	for (size_t i = 0; i < ARRAY_LEN(flag_sets) && r == -EINVAL; i++) {
		struct io_uring_params params = { .flags = flag_sets[i] | IORING_SETUP_R_DISABLED };

		r = io_uring_queue_init_params(entries, kernel, &params);
	}
	return r;
}

static int keep_in_place(struct ring *ring, uint8_t *memory, size_t bytes)
{
	struct uring *u = uring_of(ring);
	const struct iovec buffer = { .iov_base = memory, .iov_len = bytes };
	int r = io_uring_register_buffers(&u->kernel, &buffer, 1);

	if (r < 0)
		return r;
	u->kept = memory;
	u->kept_bytes = bytes;
	return 0;
}

static void free_ring(struct ring *ring)
{
	struct uring *u = uring_of(ring);

	assert(ring->nr_in_flight == 0);
	io_uring_queue_exit(&u->kernel);
	free(u);
}

static const struct ring_ops uring_ops = {
	.submit = submit,
	.wait = wait,
	.cancel = cancel,
	.keep_in_place = keep_in_place,
	.free = free_ring,
};

static int new_ring(unsigned int entries, bool commanding, struct ring **ret_ring)
{
	struct uring *u;
	int r;

	assert(entries >= 1 && entries <= ENTRIES_MAX);
	u = calloc(1, sizeof(*u) + entries * sizeof(u->slots[0]));
	if (!u)
		return -ENOMEM;
	r = kernel_ring_init(&u->kernel, 2 * entries);
	if (r < 0) {
		free(u);
		return r;
	}

	r = restrict_ring(&u->kernel, commanding);
	if (r < 0) {
		io_uring_queue_exit(&u->kernel);
		free(u);
		return r;
	}

	u->ring.ops = &uring_ops;
	u->nr_slots = entries;
	for (unsigned int i = 0; i < entries; i++)
		u->slots[i].next_free = i + 1 < entries ? (uint16_t)(i + 1) : SLOT_NONE;
	*ret_ring = &u->ring;
	return 0;
}

int ring_uring_new(unsigned int entries, struct ring **ret_ring)
{
	return new_ring(entries, false, ret_ring);
}

int ring_uring_new_commanding(unsigned int entries, struct ring **ret_ring)
{
	return new_ring(entries, true, ret_ring);
}
