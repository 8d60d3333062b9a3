/* SPDX-License-Identifier: MIT */
/* Judging kernel results, and running one operation, without any kernel. */
#include "ring/ring.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "ring/tag.h"

enum { AGAIN = 12345 }; /* the operation must be submitted again */

static const struct {
	const char *what;
	enum ring_kind kind;
	uint32_t bytes, done_bytes;
	int res;
	int want;
	uint32_t want_done_bytes;
} advances[] = {
	{ "whole read", RING_READ, 4096, 0, 4096, 0, 4096 },
	{ "short read", RING_READ, 4096, 0, 512, AGAIN, 512 },
	{ "rest of a read", RING_READ, 4096, 512, 3584, 0, 4096 },
	{ "read at the end", RING_READ, 4096, 0, 0, -EIO, 0 },
	{ "read into the end", RING_READ, 4096, 512, 0, -EIO, 512 },
	{ "failed read", RING_READ, 4096, 0, -EIO, -EIO, 0 },
	{ "interrupted read", RING_READ, 4096, 512, -EINTR, AGAIN, 512 },
	{ "read turned away", RING_READ, 4096, 512, -EAGAIN, AGAIN, 512 },
	{ "read of nothing", RING_READ, 0, 0, 0, 0, 0 },
	{ "whole write", RING_WRITE, 4096, 0, 4096, 0, 4096 },
	{ "short write", RING_WRITE, 4096, 0, 4095, AGAIN, 4095 },
	{ "write of 0 bytes", RING_WRITE, 4096, 0, 0, -EIO, 0 },
	{ "full file system", RING_WRITE, 4096, 512, -ENOSPC, -ENOSPC, 512 },
	{ "interrupted write", RING_WRITE, 4096, 0, -EINTR, AGAIN, 0 },
	{ "sync", RING_FDATASYNC, 0, 0, 0, 0, 0 },
	{ "failed sync", RING_FDATASYNC, 0, 0, -EIO, -EIO, 0 },
	{ "interrupted sync is a failed one", RING_FDATASYNC, 0, 0, -EINTR, -EINTR, 0 },
	{ "sync turned away is a failed one", RING_FDATASYNC, 0, 0, -EAGAIN, -EAGAIN, 0 },
	{ "punch", RING_PUNCH, 0, 0, 0, 0, 0 },
	{ "punch unsupported", RING_PUNCH, 0, 0, -EOPNOTSUPP, -EOPNOTSUPP, 0 },
	{ "interrupted punch", RING_PUNCH, 0, 0, -EINTR, AGAIN, 0 },
	{ "allocate", RING_ALLOCATE, 0, 0, -ENOSPC, -ENOSPC, 0 },
	{ "advice is only advice", RING_ADVISE, 0, 0, -EINVAL, 0, 0 },
	{ "accept", RING_ACCEPT, 0, 0, 7, 7, 0 },
	{ "interrupted accept", RING_ACCEPT, 0, 0, -EINTR, AGAIN, 0 },
	{ "short receive", RING_RECV, 4096, 0, 5, 5, 0 },
	{ "end of the stream", RING_RECV, 4096, 0, 0, 0, 0 },
	{ "reset", RING_RECV, 4096, 0, -ECONNRESET, -ECONNRESET, 0 },
	{ "short send", RING_SENDMSG, 0, 0, 5, 5, 0 },
	{ "broken pipe", RING_SENDMSG, 0, 0, -EPIPE, -EPIPE, 0 },
	{ "poll forgets the events", RING_POLL, 0, 0, 0x11, 0, 0 },
	{ "cancelled poll", RING_POLL, 0, 0, -ECANCELED, -ECANCELED, 0 },
	{ "a command says what it says", RING_COMMAND, 0, 0, 1, 1, 0 },
	{ "a command is not given twice", RING_COMMAND, 0, 0, -EAGAIN, -EAGAIN, 0 },
};

Test(ring, a_result_ends_an_operation_or_asks_for_the_rest)
{
	for (size_t i = 0; i < ARRAY_LEN(advances); i++) {
		struct ring_op op = {
			.kind = advances[i].kind,
			.bytes = advances[i].bytes,
			.done_bytes = advances[i].done_bytes,
		};
		int result = AGAIN;
		bool over = ring_op_advance(&op, advances[i].res, &result);

		cr_expect_eq(over, advances[i].want != AGAIN, "%s", advances[i].what);
		cr_expect_eq(result, advances[i].want, "%s: %d", advances[i].what, result);
		cr_expect_eq(op.done_bytes, advances[i].want_done_bytes, "%s", advances[i].what);
	}
}

/* An engine that finishes its one operation in the third wait. */
struct slow_ring {
	struct ring ring;
	struct ring_op *op;
	int nr_waits, fails_at;
};

static void slow_submit(struct ring *ring, struct ring_op *op)
{
	CONTAINER_OF(ring, struct slow_ring, ring)->op = op;
}

static int slow_wait(struct ring *ring, int timeout_ms)
{
	struct slow_ring *slow = CONTAINER_OF(ring, struct slow_ring, ring);

	(void)timeout_ms;
	if (++slow->nr_waits == slow->fails_at)
		return -EBADF;
	if (slow->nr_waits == 3)
		slow->op->done(slow->op, -ENOSPC);
	return 0;
}

static const struct ring_ops slow_ops = { .submit = slow_submit, .wait = slow_wait };

Test(ring, running_one_operation_waits_as_often_as_it_takes)
{
	struct slow_ring slow = { .ring.ops = &slow_ops };
	struct ring_op op = { .kind = RING_FDATASYNC };

	cr_expect_eq(ring_run(&slow.ring, &op), -ENOSPC);
	cr_expect_eq(slow.nr_waits, 3);
	cr_expect_null(op.done);
}

Test(ring, running_one_operation_ends_when_the_ring_fails)
{
	struct slow_ring slow = { .ring.ops = &slow_ops, .fails_at = 2 };
	struct ring_op op = { .kind = RING_FDATASYNC };

	cr_expect_eq(ring_run(&slow.ring, &op), -EBADF);
	cr_expect_eq(slow.nr_waits, 2);
}

Test(ring, a_tag_keeps_slot_and_epoch_apart_with_all_ones)
{
	static const struct ring_tag tags[] = {
		{ 0, 0 },
		{ UINT32_MAX, 0 },
		{ 0, UINT32_MAX },
		{ 16383, 0x80000000 },
	};

	for (size_t i = 0; i < ARRAY_LEN(tags); i++) {
		struct ring_tag back = ring_tag_unpack(ring_tag_pack(tags[i]));

		cr_expect_eq(back.slot, tags[i].slot);
		cr_expect_eq(back.epoch, tags[i].epoch);
	}
	cr_expect_eq(ring_tag_unpack(RING_TAG_NONE).slot, UINT32_MAX);
}
