/* SPDX-License-Identifier: MIT */
/* For the tests of the engines: a ring, a scratch file, an operation that remembers. */
#ifndef UNIT_RING_FIXTURE_H
#define UNIT_RING_FIXTURE_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ring/ring.h"

enum { NOT_DONE = 12345 };

/* An operation and what became of it. */
struct probe {
	struct ring_op op;
	unsigned int nr_done;
	int result;
};

static inline void probe_done(struct ring_op *op, int result)
{
	struct probe *probe = CONTAINER_OF(op, struct probe, op);

	probe->nr_done++;
	probe->result = result;
}

static inline void probe_submit(struct ring *ring, struct probe *probe)
{
	probe->op.done = probe_done;
	probe->nr_done = 0;
	probe->result = NOT_DONE;
	ring_submit(ring, &probe->op);
}

static inline void wait_once(struct ring *ring, int timeout_ms)
{
	cr_assert_eq(ring_wait(ring, timeout_ms), 0);
}

/* Until @probe is done, for 5 s at most. */
static inline int probe_result(struct ring *ring, struct probe *probe)
{
	for (int i = 0; i < 500 && probe->nr_done == 0; i++)
		wait_once(ring, 10);
	cr_assert_eq(probe->nr_done, 1);
	return probe->result;
}

/* An io_uring ring, or the test is skipped where there is none. */
static inline struct ring *uring_or_skip(unsigned int entries)
{
	struct ring *ring = NULL;
	int r = ring_uring_new(entries, &ring);

	if (r == -ENOSYS || r == -EPERM)
		cr_skip("SKIP: io_uring is not available here: %s\n", strerror(-r));
	cr_assert_eq(r, 0, "ring_uring_new: %d", r);
	return ring;
}

static inline struct ring *aio_ring(unsigned int entries)
{
	struct ring *ring = NULL;

	cr_assert_eq(ring_aio_new(entries, &ring), 0);
	return ring;
}

/* An empty file without a name, open for reading and writing. */
static inline int scratch_file(void)
{
	const char *dir = getenv("TMPDIR");
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/sealblk-unit-XXXXXX", dir ? dir : "/tmp");
	fd = mkstemp(path);
	cr_assert_geq(fd, 0, "%s: %s", path, strerror(errno));
	unlink(path);
	return fd;
}

static inline long elapsed_ms(struct timespec since)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - since.tv_sec) * 1000 + (now.tv_nsec - since.tv_nsec) / 1000000;
}

#endif
