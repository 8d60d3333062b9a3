/* SPDX-License-Identifier: MIT */
/* A ring that records what it passes on: see trace.h. */
#include "ring/trace.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/log.h"

enum { CHUNK_OPS = 64 };

struct trace {
	int fd;
	pthread_mutex_t lock;
	/* Below: under @lock, which makes the one order of records. */
	bool stopped; /* it could not be written: nothing more is */
	uint64_t end_bytes;
	uint64_t last_id;
};

/* The stand-in that the inner ring sees. */
struct traced_op {
	struct ring_op op;
	struct ring_op *owner;
	struct trace_ring *ring;
	uint64_t id;
	struct traced_op *next_free;
};

struct chunk {
	struct chunk *next;
	struct traced_op ops[CHUNK_OPS];
};

struct trace_ring {
	struct ring ring;
	struct ring *inner;
	struct trace *trace;
	unsigned int number;
	struct chunk *chunks;
	struct traced_op *free_ops;
};

static struct trace_ring *trace_ring_of(struct ring *ring)
{
	return CONTAINER_OF(ring, struct trace_ring, ring);
}

/* ---- the file ---- */

/* Under the lock. The file keeps its whole records; readers drop half a one anyway. */
static void stop_recording(struct trace *trace, int error)
{
	if (trace->stopped)
		return;
	trace->stopped = true;
	if (ftruncate(trace->fd, (off_t)trace->end_bytes) < 0)
		error = error ? error : -errno;
	log_line(LOG_LEVEL_WARNING, "the trace ends here: it cannot be written: %s",
		 strerror(-error));
}

/* Returns 0 or a negative errno. */
static int write_all(int fd, const void *bytes, size_t nr_bytes)
{
	const uint8_t *at = bytes;

	while (nr_bytes > 0) {
		ssize_t n = write(fd, at, nr_bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += n;
		nr_bytes -= (size_t)n;
	}
	return 0;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Under the lock. @record: all but magic, time and checksums; @data: what follows it. */
static void append(struct trace *trace, struct trace_record *record, const void *data)
{
	const uint32_t data_bytes = le32_get(record->data_bytes);
	int r;

	if (trace->stopped)
		return;
	record->magic = le32_of(TRACE_RECORD_MAGIC);
	record->time_ns = le64_of(now_ns());
	record->data_crc = le32_of(crc32c(0, data, data_bytes));
	record->crc = le32_of(crc32c(0, record, sizeof(*record)));
	r = write_all(trace->fd, record, sizeof(*record));
	if (r == 0)
		r = write_all(trace->fd, data, data_bytes);
	if (r == 0)
		trace->end_bytes += sizeof(*record) + data_bytes;
	else
		stop_recording(trace, r);
}

static int create_file(const char *path, struct trace *trace)
{
	struct trace_header header = {
		.version = le32_of(TRACE_VERSION),
		.record_bytes = le32_of(sizeof(struct trace_record)),
	};
	int r;

	memcpy(header.magic, TRACE_MAGIC, sizeof(header.magic));
	trace->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (trace->fd < 0)
		return -errno;
	r = write_all(trace->fd, &header, sizeof(header));
	trace->end_bytes = sizeof(header);
	if (r < 0) {
		close(trace->fd);
		unlink(path);
	}
	return r;
}

int trace_new(const char *path, struct trace **ret_trace)
{
	struct trace *trace = calloc(1, sizeof(*trace));
	int r;

	if (!trace)
		return -ENOMEM;
	r = create_file(path, trace);
	if (r == 0)
		r = -pthread_mutex_init(&trace->lock, NULL);
	if (r < 0) {
		free(trace);
		return r;
	}
	*ret_trace = trace;
	return 0;
}

struct trace *trace_free(struct trace *trace)
{
	struct trace_record record = { .type = TRACE_END };

	if (!trace)
		return NULL;
	append(trace, &record, NULL);
	pthread_mutex_destroy(&trace->lock);
	close(trace->fd);
	free(trace);
	return NULL;
}

void trace_name_file(struct trace *trace, int fd, const uint8_t uuid[SEAL_UUID_BYTES],
		     const char *path)
{
	uint8_t data[SEAL_UUID_BYTES + PATH_BYTES_MAX];
	const size_t path_bytes = strnlen(path, PATH_BYTES_MAX);
	struct trace_record record = {
		.type = TRACE_FILE,
		.file = le32_of((uint32_t)fd),
		.data_bytes = le32_of((uint32_t)(SEAL_UUID_BYTES + path_bytes)),
	};

	memcpy(data, uuid, SEAL_UUID_BYTES);
	memcpy(data + SEAL_UUID_BYTES, path, path_bytes);
	pthread_mutex_lock(&trace->lock);
	append(trace, &record, data);
	pthread_mutex_unlock(&trace->lock);
}

/* ---- records of operations ---- */

/* 0: of no interest, it changes nothing. */
static uint8_t trace_kind_of(enum ring_kind kind)
{
	switch (kind) {
	case RING_WRITE:
		return TRACE_WRITE;
	case RING_FDATASYNC:
		return TRACE_FDATASYNC;
	case RING_PUNCH:
		return TRACE_PUNCH;
	case RING_ALLOCATE:
		return TRACE_ALLOCATE;
	case RING_READ:
	case RING_ADVISE:
	case RING_ACCEPT:
	case RING_RECV:
	case RING_RECVMSG:
	case RING_SENDMSG:
	case RING_POLL:
	case RING_COMMAND:
		break;
	}
	return 0;
}

static struct trace_record record_of(const struct traced_op *traced, enum trace_type type)
{
	const struct ring_op *op = &traced->op;
	const bool has_range = op->kind == RING_PUNCH || op->kind == RING_ALLOCATE;

	return (struct trace_record){
		.type = (uint8_t)type,
		.kind = trace_kind_of(op->kind),
		.ring = (uint8_t)traced->ring->number,
		.id = le64_of(traced->id),
		.file = le32_of((uint32_t)op->fd),
		.offset_bytes = le64_of(op->offset_bytes),
		.range_bytes = le64_of(has_range ? op->range_bytes : 0),
	};
}

static void record_issue(struct traced_op *traced)
{
	const struct ring_op *op = &traced->op;
	struct trace *trace = traced->ring->trace;
	struct trace_record record;

	pthread_mutex_lock(&trace->lock);
	traced->id = ++trace->last_id;
	record = record_of(traced, TRACE_ISSUE);
	if (op->kind == RING_WRITE)
		record.data_bytes = le32_of(op->bytes);
	append(trace, &record, op->data);
	pthread_mutex_unlock(&trace->lock);
}

static void record_done(struct traced_op *traced, int result)
{
	struct trace *trace = traced->ring->trace;
	struct trace_record record = record_of(traced, TRACE_DONE);

	record.result = le32_of((uint32_t)result);
	pthread_mutex_lock(&trace->lock);
	append(trace, &record, NULL);
	pthread_mutex_unlock(&trace->lock);
}

/* ---- the ring ---- */

/* NULL: no memory. */
static struct traced_op *take_op(struct trace_ring *t)
{
	struct traced_op *taken = t->free_ops;
	struct chunk *chunk;

	if (!taken) {
		chunk = malloc(sizeof(*chunk));
		if (!chunk)
			return NULL;
		chunk->next = t->chunks;
		t->chunks = chunk;
		for (int i = 0; i < CHUNK_OPS; i++) {
			chunk->ops[i].next_free = taken;
			taken = &chunk->ops[i];
		}
	}
	t->free_ops = taken->next_free;
	return taken;
}

static void traced_done(struct ring_op *op, int result)
{
	struct traced_op *traced = CONTAINER_OF(op, struct traced_op, op);
	struct trace_ring *t = traced->ring;
	struct ring_op *owner = traced->owner;

	record_done(traced, result);
	traced->next_free = t->free_ops;
	t->free_ops = traced;
	t->ring.nr_in_flight = t->inner->nr_in_flight;
	owner->done(owner, result);
}

static void submit(struct ring *ring, struct ring_op *op)
{
	struct trace_ring *t = trace_ring_of(ring);
	struct traced_op *traced;

	if (trace_kind_of(op->kind) == 0) {
		ring_submit(t->inner, op);
		return;
	}
	traced = take_op(t);
	if (!traced) {
		/* An operation that is missing would make a lie of all that follow. */
		pthread_mutex_lock(&t->trace->lock);
		stop_recording(t->trace, -ENOMEM);
		pthread_mutex_unlock(&t->trace->lock);
		ring_submit(t->inner, op);
		return;
	}
	*traced = (struct traced_op){ .op = *op, .owner = op, .ring = t };
	traced->op.done = traced_done;
	record_issue(traced);
	ring_submit(t->inner, &traced->op);
}

static int wait(struct ring *ring, int timeout_ms)
{
	struct trace_ring *t = trace_ring_of(ring);
	int r = ring_wait(t->inner, timeout_ms);

	/* What is not recorded ends behind our back. */
	ring->nr_in_flight = t->inner->nr_in_flight;
	return r;
}

/* What has a stand-in reads or writes a file, and is left to run in any case. */
static void cancel(struct ring *ring, struct ring_op *op)
{
	if (trace_kind_of(op->kind) == 0)
		ring_cancel(trace_ring_of(ring)->inner, op);
}

static void free_ring(struct ring *ring)
{
	struct trace_ring *t = trace_ring_of(ring);

	ring_free(t->inner);
	while (t->chunks) {
		struct chunk *chunk = t->chunks;

		t->chunks = chunk->next;
		free(chunk);
	}
	free(t);
}

static const struct ring_ops trace_ring_ops = {
	.submit = submit,
	.wait = wait,
	.cancel = cancel,
	.free = free_ring,
};

int ring_trace_new(struct trace *trace, unsigned int number, struct ring *inner,
		   struct ring **ret_ring)
{
	struct trace_ring *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->ring.ops = &trace_ring_ops;
	t->inner = inner;
	t->trace = trace;
	t->number = number;
	*ret_ring = (struct ring *)t; /* its first member, in a form -fanalyzer follows */
	return 0;
}
