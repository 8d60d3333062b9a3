/* SPDX-License-Identifier: MIT */
/*
 * What an io_uring ring of ours can be asked for by somebody who has taken over the
 * process: asked here behind the engine's back, in its own ring.
 */
#include "intruder.h"

#include <sys/socket.h>

enum { OPCODES = 256 }; /* of an SQE's field: also those that are yet to come */

static const enum io_uring_op wanted_ops[] = {
	IORING_OP_READ,	       IORING_OP_WRITE,	   IORING_OP_FSYNC,	   IORING_OP_FALLOCATE,
	IORING_OP_FADVISE,     IORING_OP_ACCEPT,   IORING_OP_RECV,	   IORING_OP_RECVMSG,
	IORING_OP_SENDMSG,     IORING_OP_POLL_ADD, IORING_OP_ASYNC_CANCEL, IORING_OP_READ_FIXED,
	IORING_OP_WRITE_FIXED,
};

static void begin(struct intruder *in)
{
	break_in(in);
	wait_once(in->ring, 0);
}

static bool is_wanted(unsigned int opcode)
{
	for (size_t i = 0; i < ARRAY_LEN(wanted_ops); i++)
		if (wanted_ops[i] == opcode)
			return true;
	return false;
}

Test(uring, opens_connects_and_removes_nothing)
{
	struct sockaddr address = { .sa_family = AF_UNIX };
	struct intruder in;

	begin(&in);
	io_uring_prep_openat(next_sqe(&in), AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
	cr_expect_eq(ask(&in), -EACCES, "open");
	io_uring_prep_connect(next_sqe(&in), 0, &address, sizeof(address));
	cr_expect_eq(ask(&in), -EACCES, "connect");
	io_uring_prep_unlinkat(next_sqe(&in), AT_FDCWD, "/nonexistent", 0);
	cr_expect_eq(ask(&in), -EACCES, "unlink");
	io_uring_prep_msg_ring(next_sqe(&in), 0, 0, 0, 0);
	cr_expect_eq(ask(&in), -EACCES, "another ring");
	ring_free(in.ring);
}

Test(uring, does_what_the_engine_wants_and_no_other_operation)
{
	struct intruder in;

	begin(&in);
	for (unsigned int opcode = 0; opcode < OPCODES; opcode++) {
		struct io_uring_sqe *sqe = next_sqe(&in);
		int r;

		*sqe = (struct io_uring_sqe){ 0 };
		sqe->opcode = (uint8_t)opcode;
		sqe->fd = -1;
		r = ask(&in);
		if (is_wanted(opcode))
			cr_expect_neq(r, -EACCES, "operation %u", opcode);
		else
			/* What the kernel does not know, it says so first. */
			cr_expect(r == -EACCES || r == -EINVAL, "operation %u: %d", opcode, r);
	}
	ring_free(in.ring);
}

Test(uring, takes_no_flag_with_an_operation)
{
	struct intruder in;

	begin(&in);
	for (unsigned int bit = 0; bit < 8; bit++) {
		struct io_uring_sqe *sqe = next_sqe(&in);
		int r;

		io_uring_prep_recv(sqe, -1, NULL, 0, 0);
		sqe->flags = (uint8_t)(1U << bit);
		r = ask(&in);
		/* A flag the kernel does not know is invalid first. */
		cr_expect(r == -EACCES || r == -EINVAL, "flag %u: %d", bit, r);
	}
	ring_free(in.ring);
}

Test(uring, registers_nothing)
{
	struct intruder in;
	int fd = 0;

	begin(&in);
	for (unsigned int opcode = 0; opcode < IORING_REGISTER_LAST; opcode++)
		cr_expect_eq(io_uring_register((unsigned int)in.kernel.ring_fd, opcode, &fd, 1),
			     -EACCES, "registering %u", opcode);
	ring_free(in.ring);
}
