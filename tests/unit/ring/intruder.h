/* SPDX-License-Identifier: MIT */
/*
 * Whoever has taken over the process, and what he can do with an io_uring ring that is
 * there: he does not go through the engine.
 */
#ifndef UNIT_RING_INTRUDER_H
#define UNIT_RING_INTRUDER_H

#include <liburing.h>

#include "fixture.h"

enum { INTRUDER_ENTRIES = 8 };

/* The engine's ring, mapped once more. */
struct intruder {
	struct ring *ring;
	struct io_uring kernel;
};

static inline int find_ring_fd(void)
{
	char path[32], target[64];

	for (int fd = 0; fd < 256; fd++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		if (strcmp(target, "anon_inode:[io_uring]") == 0)
			return fd;
	}
	return -1;
}

/* The offsets in a ring follow from its length: those of another one will do. */
static inline struct io_uring_params params_of_a_twin(void)
{
	static const unsigned int flag_sets[] = {
		IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN,
		0,
	};

	for (size_t i = 0; i < ARRAY_LEN(flag_sets); i++) {
		struct io_uring_params params = { .flags = flag_sets[i] };
		struct io_uring twin;

		if (io_uring_queue_init_params(2 * INTRUDER_ENTRIES, &twin, &params) < 0)
			continue;
		io_uring_queue_exit(&twin);
		return params;
	}
	cr_assert_fail("no ring at all");
	return (struct io_uring_params){ 0 };
}

/* The ring is enabled by whoever waits for it first. */
static inline void break_in(struct intruder *in)
{
	struct io_uring_params params;
	int fd;

	in->ring = uring_or_skip(INTRUDER_ENTRIES);
	fd = find_ring_fd();
	cr_assert_geq(fd, 0);
	params = params_of_a_twin();
	cr_assert_eq(io_uring_queue_mmap(fd, &params, &in->kernel), 0);
}

static inline struct io_uring_sqe *next_sqe(struct intruder *in)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&in->kernel);

	cr_assert_not_null(sqe);
	return sqe;
}

/* What the kernel says of @in's next SQE, which has been prepared. */
static inline int ask(struct intruder *in)
{
	struct io_uring_cqe *cqe;
	int r;

	cr_assert_eq(io_uring_submit(&in->kernel), 1);
	cr_assert_eq(io_uring_wait_cqe(&in->kernel, &cqe), 0);
	r = cqe->res;
	io_uring_cqe_seen(&in->kernel, cqe);
	return r;
}

#endif
