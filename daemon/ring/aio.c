/* SPDX-License-Identifier: MIT */
/*
 * The engine without io_uring: Linux AIO for files (io_submit(2), by libaio),
 * epoll for sockets. For kernels and containers that refuse io_uring.
 *
 *   ring_submit -> done at once, without waiting? finished
 *                  else a file: in line for io_submit   else: its descriptor is watched
 *   ring_wait   -> anything finished? its @done, this time
 *                  else io_submit what is in line, epoll_wait
 *                  -> completions of files; sockets that are ready: tried again
 *
 * Linux AIO is asynchronous for files opened with O_DIRECT. A buffered read of what
 * the page cache does not have, and punching, hold up the thread until they are done.
 */
#include <assert.h>
#include <errno.h>
#include <libaio.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ring/queue.h"
#include "ring/ring.h"
#include "sealblk/units.h"

enum {
	BATCH = 64,	       /* events, or completions, taken at a time */
	CALLS_MAX = 256,       /* in the kernel: each counts against the host's fs.aio-max-nr */
	CALLS_MIN = 16,	       /* where that is nearly used up */
	RETRY_MS = 10,	       /* after io_submit() had no room */
	WATCHES_MAX = 1 << 20, /* descriptors; Linux's default for fs.nr_open */
};

/* A file's operation as the kernel has it. */
struct call {
	struct iocb iocb;
	struct ring_op *op;
	struct call *next_free;
};

/* Who waits for a descriptor. */
struct watch {
	struct ring_queue readers;
	struct ring_queue writers;
};

struct aio {
	struct ring ring;
	io_context_t context;
	int epoll_fd;
	int event_fd;		    /* counts completions of files */
	bool delivered;		    /* the last wait did not enter the kernel */
	struct ring_queue finished; /* @done not yet called */
	struct ring_queue line;	    /* files' operations that wait for a call */
	struct iocb **queued;	    /* to be handed over, in order; see submit_calls() */
	unsigned int nr_queued;
	struct watch *watches; /* by descriptor */
	unsigned int nr_watches;
	struct call *calls; /* as many as the kernel takes; more wait in line */
	struct call *free_calls;
};

static struct aio *aio_of(struct ring *ring)
{
	return CONTAINER_OF(ring, struct aio, ring);
}

static void finish(struct aio *aio, struct ring_op *op, int result)
{
	op->result = result;
	ring_queue_push(&aio->finished, op);
}

/* ---- files ---- */

static void prepare(struct aio *aio, struct call *call)
{
	const struct ring_op *op = call->op;

	if (op->kind == RING_READ)
		io_prep_pread(&call->iocb, op->fd, op->data + op->done_bytes,
			      op->bytes - op->done_bytes,
			      (long long)(op->offset_bytes + op->done_bytes));
	else
		io_prep_fdsync(&call->iocb, op->fd);
	io_set_eventfd(&call->iocb, aio->event_fd);
	aio->queued[aio->nr_queued++] = &call->iocb;
}

/* Give free calls to those who wait longest. */
static void start_line(struct aio *aio)
{
	while (aio->line.head && aio->free_calls) {
		struct call *call = aio->free_calls;

		aio->free_calls = call->next_free;
		call->op = ring_queue_pop(&aio->line);
		prepare(aio, call);
	}
}

static void call_over(struct aio *aio, struct call *call, int res)
{
	struct ring_op *op = call->op;
	int result;

	if (!ring_op_advance(op, res, &result)) {
		prepare(aio, call);
		return;
	}
	call->next_free = aio->free_calls;
	aio->free_calls = call;
	finish(aio, op, result);
	start_line(aio);
}

/* io_submit() refused it. */
static void call_refused(struct aio *aio, struct call *call, int error)
{
	/* A file system without asynchronous fdatasync; none has been begun. */
	if (call->op->kind == RING_FDATASYNC && error == -EINVAL)
		error = ring_op_call(call->op);
	call_over(aio, call, error);
}

/* Hand over what is in line. What there is no room for stays. */
static void submit_calls(struct aio *aio)
{
	unsigned int nr = aio->nr_queued, done = 0;

	while (done < nr) {
		int r = io_submit(aio->context, (long)(nr - done), aio->queued + done);

		if (r > 0) {
			done += (unsigned int)r;
			continue;
		}
		if (r == -EAGAIN || r == 0)
			break;
		if (r == -EINTR)
			continue;
		/* It says this of the first one; call_refused() may queue behind @nr. */
		call_refused(aio, CONTAINER_OF(aio->queued[done++], struct call, iocb), r);
	}
	for (unsigned int i = done; i < aio->nr_queued; i++)
		aio->queued[i - done] = aio->queued[i];
	aio->nr_queued -= done;
}

static void reap_calls(struct aio *aio)
{
	struct timespec at_once = { 0 };
	UNINITIALIZED struct io_event events[BATCH];
	uint64_t count;
	int nr;

	/* Its number says nothing: what is there now is taken. */
	if (read(aio->event_fd, &count, sizeof(count)) < 0)
		count = 0;
	do {
		nr = io_getevents(aio->context, 0, BATCH, events, &at_once);
		for (int i = 0; i < nr; i++)
			call_over(aio, CONTAINER_OF(events[i].obj, struct call, iocb),
				  (int)(long)events[i].res);
	} while (nr == BATCH);
}

/* Kinds that Linux AIO does not have. */
static void call_now(struct aio *aio, struct ring_op *op)
{
	while (!ring_op_advance(op, ring_op_call(op), &op->result))
		;
	ring_queue_push(&aio->finished, op);
}

/* ---- sockets ---- */

static bool is_readable(int fd)
{
	struct pollfd wanted = { .fd = fd, .events = POLLIN };

	return poll(&wanted, 1, 0) > 0;
}

static ssize_t call_socket(const struct ring_op *op)
{
	if (op->kind == RING_RECV)
		return recv(op->fd, op->data, op->bytes, MSG_DONTWAIT);
	if (op->kind == RING_RECVMSG)
		return recvmsg(op->fd, op->message, MSG_DONTWAIT);
	if (op->kind == RING_SENDMSG)
		return sendmsg(op->fd, op->message, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (op->kind == RING_COMMAND) {
		errno = ENOTSUP;
		return -1;
	}
	if (!is_readable(op->fd)) {
		errno = EAGAIN;
		return -1;
	}
	/* Readable, but another process may be faster: listeners are in non-blocking mode. */
	return op->kind == RING_ACCEPT ? accept4(op->fd, NULL, NULL, SOCK_CLOEXEC) : 0;
}

/* Returns false when it has to wait for its peer. */
static bool try_socket(struct aio *aio, struct ring_op *op)
{
	ssize_t n;

	do {
		n = call_socket(op);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return false;
	finish(aio, op, n < 0 ? -errno : (int)n);
	return true;
}

/* Where @op waits for its descriptor, or NULL: that is none. */
static struct ring_queue *line_of(struct aio *aio, const struct ring_op *op)
{
	struct watch *watch;

	if (op->fd < 0 || (unsigned int)op->fd >= aio->nr_watches)
		return NULL;
	watch = &aio->watches[op->fd];
	return op->kind == RING_SENDMSG ? &watch->writers : &watch->readers;
}

/* Be told once, of whatever is waited for. The kernel forgets closed descriptors by itself. */
static int arm(struct aio *aio, int fd)
{
	const struct watch *watch = &aio->watches[fd];
	struct epoll_event event = { .events = EPOLLONESHOT, .data.fd = fd };

	if (watch->readers.head)
		event.events |= EPOLLIN | EPOLLRDHUP;
	if (watch->writers.head)
		event.events |= EPOLLOUT;
	if (epoll_ctl(aio->epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0)
		return 0;
	if (errno == ENOENT && epoll_ctl(aio->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0)
		return 0;
	return -errno;
}

static void submit_for_socket(struct aio *aio, struct ring_op *op)
{
	struct ring_queue *line = line_of(aio, op);
	int r;

	if (!line) {
		finish(aio, op, -EBADF);
		return;
	}
	/* Nobody overtakes those who wait. */
	if (!line->head && try_socket(aio, op))
		return;
	ring_queue_push(line, op);
	r = arm(aio, op->fd);
	if (r < 0 && ring_queue_remove(line, op))
		finish(aio, op, r);
}

/* Try those in @line; @error: the descriptor cannot be waited for any more. */
static void serve_line(struct aio *aio, struct ring_queue *line, int error)
{
	struct ring_op *op;

	while ((op = ring_queue_pop(line))) {
		if (error < 0) {
			finish(aio, op, error);
		} else if (!try_socket(aio, op)) {
			/* Back to where it was. */
			op->next = line->head;
			if (!line->head)
				line->tail = op;
			line->head = op;
			return;
		}
	}
}

static void fd_ready(struct aio *aio, int fd)
{
	struct watch *watch = &aio->watches[fd];
	int r = 0;

	serve_line(aio, &watch->readers, 0);
	serve_line(aio, &watch->writers, 0);
	if (watch->readers.head || watch->writers.head)
		r = arm(aio, fd);
	if (r < 0) {
		serve_line(aio, &watch->readers, r);
		serve_line(aio, &watch->writers, r);
	}
}

/* ---- the interface ---- */

static void submit(struct ring *ring, struct ring_op *op)
{
	struct aio *aio = aio_of(ring);

	if (!ring_kind_is_for_files(op->kind)) {
		submit_for_socket(aio, op);
	} else if (ring_op_at_once(op)) {
		ring_queue_push(&aio->finished, op);
	} else if (op->kind == RING_READ || op->kind == RING_FDATASYNC) {
		ring_queue_push(&aio->line, op);
		start_line(aio);
	} else {
		call_now(aio, op);
	}
}

static int wait_for_events(struct aio *aio, int timeout_ms)
{
	UNINITIALIZED struct epoll_event events[BATCH];
	int nr;

	if (aio->nr_queued > 0 && (timeout_ms < 0 || timeout_ms > RETRY_MS))
		timeout_ms = RETRY_MS;
	if (aio->finished.head)
		timeout_ms = 0;
	nr = epoll_wait(aio->epoll_fd, events, BATCH, timeout_ms);
	if (nr < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < nr; i++) {
		if (events[i].data.fd == aio->event_fd)
			reap_calls(aio);
		else
			fd_ready(aio, events[i].data.fd);
	}
	return 0;
}

static int wait(struct ring *ring, int timeout_ms)
{
	struct aio *aio = aio_of(ring);
	int r = 0;

	/* As in uring.c: what this leads to may go to the kernel together. */
	aio->delivered = aio->finished.head && !aio->delivered;
	if (!aio->delivered) {
		submit_calls(aio);
		r = wait_for_events(aio, timeout_ms);
	}
	ring_queue_deliver(ring, &aio->finished);
	return r;
}

static void cancel(struct ring *ring, struct ring_op *op)
{
	struct aio *aio = aio_of(ring);
	struct ring_queue *line;

	if (ring_kind_is_for_files(op->kind))
		return;
	line = line_of(aio, op);
	if (line && ring_queue_remove(line, op))
		finish(aio, op, -ECANCELED);
}

static void free_parts(struct aio *aio)
{
	if (aio->context)
		io_destroy(aio->context);
	if (aio->epoll_fd >= 0)
		close(aio->epoll_fd);
	if (aio->event_fd >= 0)
		close(aio->event_fd);
	free(aio->watches);
	free(aio->queued);
	free(aio->calls);
	free(aio);
}

static void free_ring(struct ring *ring)
{
	assert(ring->nr_in_flight == 0);
	free_parts(aio_of(ring));
}

static const struct ring_ops aio_ops = {
	.submit = submit,
	.wait = wait,
	.cancel = cancel,
	.free = free_ring,
};

/* As many as this process may ever have open. */
static unsigned int count_watches(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_max > WATCHES_MAX)
		return WATCHES_MAX;
	return (unsigned int)limit.rlim_max;
}

static int set_up_watches(struct aio *aio)
{
	struct epoll_event event = { .events = EPOLLIN };

	aio->nr_watches = count_watches();
	aio->watches = calloc(aio->nr_watches, sizeof(*aio->watches));
	if (!aio->watches)
		return -ENOMEM;
	aio->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	aio->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (aio->epoll_fd < 0 || aio->event_fd < 0)
		return -errno;
	event.data.fd = aio->event_fd;
	return epoll_ctl(aio->epoll_fd, EPOLL_CTL_ADD, aio->event_fd, &event) < 0 ? -errno : 0;
}

static int set_up_calls(struct aio *aio, unsigned int entries)
{
	unsigned int nr = entries < CALLS_MAX ? entries : CALLS_MAX;
	int r = io_setup((int)nr, &aio->context);

	while (r == -EAGAIN && nr / 2 >= CALLS_MIN) {
		nr /= 2;
		r = io_setup((int)nr, &aio->context);
	}
	if (r < 0)
		return r;
	aio->calls = calloc(nr, sizeof(*aio->calls));
	/* Each that fails at once may have a follower before it has left. */
	aio->queued = calloc((size_t)2 * nr, sizeof(struct iocb *));
	if (!aio->calls || !aio->queued)
		return -ENOMEM;
	for (unsigned int i = nr; i-- > 0;) {
		aio->calls[i].next_free = aio->free_calls;
		aio->free_calls = &aio->calls[i];
	}
	return 0;
}

int ring_aio_new(unsigned int entries, struct ring **ret_ring)
{
	struct aio *aio = calloc(1, sizeof(*aio));
	int r;

	assert(entries >= 1);
	if (!aio)
		return -ENOMEM;
	aio->ring.ops = &aio_ops;
	aio->epoll_fd = -1;
	aio->event_fd = -1;
	r = set_up_watches(aio);
	if (r == 0)
		r = set_up_calls(aio, entries);
	if (r < 0) {
		free_parts(aio);
		return r;
	}
	*ret_ring = &aio->ring;
	return 0;
}
