/* SPDX-License-Identifier: MIT */
/* Engines for a daemon: sockets, waiting, cancelling, changing the thread. */
#include "fixture.h"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

typedef struct ring *(*engine_fn)(unsigned int entries);

/* A test that each of them must pass. */
#define ENGINE_TEST(name, ...)                \
	static void name(engine_fn new_ring); \
	Test(ring_uring, name, ##__VA_ARGS__) \
	{                                     \
		name(uring_or_skip);          \
	}                                     \
	Test(ring_aio, name, ##__VA_ARGS__)   \
	{                                     \
		name(aio_ring);               \
	}                                     \
	static void name(engine_fn new_ring)

static void socket_pair(int fds[2])
{
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

/* A listening socket under an abstract name the kernel chose, left in *@ret_name. */
static int listener(struct sockaddr_un *ret_name, socklen_t *ret_bytes, int flags)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	socklen_t bytes = sizeof(sa_family_t);

	cr_assert_geq(fd, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&name, bytes), 0);
	cr_assert_eq(listen(fd, 8), 0);
	*ret_bytes = sizeof(*ret_name);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)ret_name, ret_bytes), 0);
	return fd;
}

static struct probe recv_probe(int fd, void *data, uint32_t bytes)
{
	return (struct probe){
		.op = { .kind = RING_RECV, .fd = fd, .data = data, .bytes = bytes },
	};
}

ENGINE_TEST(receives_what_came_and_then_the_end)
{
	struct ring *ring = new_ring(8);
	char data[16] = "";
	struct probe probe;
	int fds[2];

	socket_pair(fds);
	probe = recv_probe(fds[0], data, sizeof(data));
	probe_submit(ring, &probe);
	wait_once(ring, 20);
	cr_expect_eq(probe.nr_done, 0, "nothing was sent yet");
	cr_assert_eq(write(fds[1], "hello", 5), 5);
	cr_expect_eq(probe_result(ring, &probe), 5);
	cr_expect_arr_eq(data, "hello", 5);

	close(fds[1]);
	probe_submit(ring, &probe);
	cr_expect_eq(probe_result(ring, &probe), 0, "the end of the stream");
	close(fds[0]);
	ring_free(ring);
}

ENGINE_TEST(sends_a_gathered_message)
{
	struct ring *ring = new_ring(8);
	struct iovec parts[] = { { (char[]){ "head" }, 4 }, { (char[]){ "-tail" }, 5 } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	struct probe probe = { .op = { .kind = RING_SENDMSG, .message = &message } };
	char data[16] = "";
	int fds[2];

	socket_pair(fds);
	probe.op.fd = fds[0];
	probe_submit(ring, &probe);
	cr_expect_eq(probe_result(ring, &probe), 9);
	cr_expect_eq(read(fds[1], data, sizeof(data)), 9);
	cr_expect_arr_eq(data, "head-tail", 9);
	close(fds[0]);
	close(fds[1]);
	ring_free(ring);
}

ENGINE_TEST(sending_to_nobody_is_an_error_and_no_signal)
{
	struct ring *ring = new_ring(8);
	struct iovec part = { (char[]){ "x" }, 1 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	struct probe probe = { .op = { .kind = RING_SENDMSG, .message = &message } };
	int fds[2];

	socket_pair(fds);
	close(fds[1]);
	probe.op.fd = fds[0];
	probe_submit(ring, &probe);
	cr_expect_eq(probe_result(ring, &probe), -EPIPE);
	close(fds[0]);
	ring_free(ring);
}

static void accept_one(engine_fn new_ring, int listener_flags)
{
	struct ring *ring = new_ring(8);
	struct probe probe = { .op = { .kind = RING_ACCEPT } };
	int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un name;
	socklen_t bytes;
	char byte = 0;
	int fd;

	probe.op.fd = listener(&name, &bytes, listener_flags);
	probe_submit(ring, &probe);
	wait_once(ring, 20);
	wait_once(ring, 20);
	cr_expect_eq(probe.nr_done, 0);
	cr_assert_eq(connect(client, (struct sockaddr *)&name, bytes), 0);
	fd = probe_result(ring, &probe);
	cr_assert_gt(fd, 2);
	cr_expect_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	cr_expect_eq(write(client, "x", 1), 1);
	cr_expect_eq(read(fd, &byte, 1), 1);
	close(fd);
	close(client);
	close(probe.op.fd);
	ring_free(ring);
}

ENGINE_TEST(accepts_a_connection_that_children_do_not_inherit)
{
	accept_one(new_ring, 0);
}

/* As systemd may hand one over. */
ENGINE_TEST(waits_on_a_listener_in_non_blocking_mode_too)
{
	accept_one(new_ring, SOCK_NONBLOCK);
}

ENGINE_TEST(polls_until_the_descriptor_is_readable)
{
	struct ring *ring = new_ring(8);
	struct probe probe = { .op = { .kind = RING_POLL, .fd = eventfd(0, EFD_CLOEXEC) } };
	uint64_t one = 1;

	probe_submit(ring, &probe);
	wait_once(ring, 10);
	cr_expect_eq(probe.nr_done, 0);
	cr_assert_eq(write(probe.op.fd, &one, sizeof(one)), sizeof(one));
	cr_expect_eq(probe_result(ring, &probe), 0);
	close(probe.op.fd);
	ring_free(ring);
}

ENGINE_TEST(a_wait_ends_at_its_time)
{
	struct ring *ring = new_ring(8);
	char byte;
	struct timespec start;
	struct probe probe;
	int fds[2];

	socket_pair(fds);
	probe = recv_probe(fds[0], &byte, 1);
	/* Once with something to hand over, once without: neither may wait twice. */
	probe_submit(ring, &probe);
	for (int i = 0; i < 2; i++) {
		clock_gettime(CLOCK_MONOTONIC, &start);
		wait_once(ring, 300);
		cr_expect_geq(elapsed_ms(start), 295);
		cr_expect_lt(elapsed_ms(start), 580);
	}
	clock_gettime(CLOCK_MONOTONIC, &start);
	wait_once(ring, 0);
	cr_expect_lt(elapsed_ms(start), 280);

	close(fds[1]);
	cr_expect_eq(probe_result(ring, &probe), 0);
	close(fds[0]);
	ring_free(ring);
}

static void on_alarm(int number)
{
	(void)number;
}

ENGINE_TEST(a_signal_is_no_error, .timeout = 10)
{
	struct ring *ring = new_ring(8);
	struct sigaction action = { .sa_handler = on_alarm };

	/* Nothing is in flight: without the signal this would never return. */
	cr_assert_eq(sigaction(SIGALRM, &action, NULL), 0);
	alarm(1);
	cr_expect_eq(ring_wait(ring, -1), 0);
	ring_free(ring);
}

ENGINE_TEST(cancels_what_waits_for_a_peer)
{
	struct ring *ring = new_ring(8);
	struct probe probes[3] = { 0 };
	struct sockaddr_un name;
	socklen_t bytes;
	char byte;
	int fds[2];

	socket_pair(fds);
	probes[0] = recv_probe(fds[0], &byte, 1);
	probes[1].op = (struct ring_op){ .kind = RING_ACCEPT, .fd = listener(&name, &bytes, 0) };
	probes[2].op = (struct ring_op){ .kind = RING_POLL, .fd = fds[1] };
	for (int i = 0; i < 3; i++)
		probe_submit(ring, &probes[i]);
	wait_once(ring, 10);
	for (int i = 0; i < 3; i++) {
		ring_cancel(ring, &probes[i].op);
		ring_cancel(ring, &probes[i].op); /* again: no harm */
	}
	for (int i = 0; i < 3; i++)
		cr_expect_eq(probe_result(ring, &probes[i]), -ECANCELED, "%d: %d", i,
			     probes[i].result);
	cr_expect_eq(ring->nr_in_flight, 0);
	close(probes[1].op.fd);
	close(fds[0]);
	close(fds[1]);
	ring_free(ring);
}

ENGINE_TEST(cancels_before_the_kernel_has_heard_of_it_and_in_line)
{
	struct ring *ring = new_ring(1);
	struct probe probes[4];
	char byte[4];
	int fds[2];

	socket_pair(fds);
	for (int i = 0; i < 4; i++) {
		probes[i] = recv_probe(fds[0], &byte[i], 1);
		probe_submit(ring, &probes[i]);
	}
	ring_cancel(ring, &probes[2].op); /* from the middle of the line */
	ring_cancel(ring, &probes[3].op); /* its end */
	ring_cancel(ring, &probes[0].op); /* the one with the slot */
	cr_expect_eq(probes[2].nr_done, 0, "done came from inside cancel");
	cr_expect_eq(probe_result(ring, &probes[2]), -ECANCELED);
	cr_expect_eq(probe_result(ring, &probes[3]), -ECANCELED);
	cr_expect_eq(probe_result(ring, &probes[0]), -ECANCELED);

	cr_assert_eq(write(fds[1], "x", 1), 1);
	cr_expect_eq(probe_result(ring, &probes[1]), 1, "the other one still works");
	probe_submit(ring, &probes[0]);
	cr_assert_eq(write(fds[1], "y", 1), 1);
	cr_expect_eq(probe_result(ring, &probes[0]), 1, "and so does the line");
	close(fds[0]);
	close(fds[1]);
	ring_free(ring);
}

ENGINE_TEST(cancels_a_send_that_nobody_reads)
{
	struct ring *ring = new_ring(8);
	static char bytes[8 << 20];
	struct iovec part = { bytes, sizeof(bytes) };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	struct probe probe = { .op = { .kind = RING_SENDMSG, .message = &message } };
	int fds[2];

	socket_pair(fds);
	probe.op.fd = fds[0];
	probe_submit(ring, &probe);
	wait_once(ring, 20);
	if (probe.nr_done > 0) { /* what fitted was taken: now nothing fits */
		cr_expect_gt(probe.result, 0);
		probe_submit(ring, &probe);
		wait_once(ring, 20);
	}
	cr_expect_eq(probe.nr_done, 0);
	ring_cancel(ring, &probe.op);
	cr_expect_eq(probe_result(ring, &probe), -ECANCELED);
	close(fds[0]);
	close(fds[1]);
	ring_free(ring);
}

ENGINE_TEST(cancels_a_wait_on_a_socket_in_non_blocking_mode)
{
	struct ring *ring = new_ring(8);
	struct probe probe = { .op = { .kind = RING_ACCEPT } };
	struct sockaddr_un name;
	socklen_t bytes;

	probe.op.fd = listener(&name, &bytes, SOCK_NONBLOCK);
	for (int nr_waits = 0; nr_waits < 3; nr_waits++) { /* at every stage of it */
		probe_submit(ring, &probe);
		for (int i = 0; i < nr_waits; i++)
			wait_once(ring, 10);
		ring_cancel(ring, &probe.op);
		cr_expect_eq(probe_result(ring, &probe), -ECANCELED);
	}
	close(probe.op.fd);
	ring_free(ring);
}

ENGINE_TEST(a_descriptor_that_is_none_is_an_error_also_when_cancelled)
{
	static const int fds[] = { -1, 1 << 29 };
	static const enum ring_kind kinds[] = { RING_RECV, RING_ACCEPT };
	struct ring *ring = new_ring(8);
	char byte;

	for (size_t i = 0; i < 2 * ARRAY_LEN(fds); i++) {
		struct probe probe = recv_probe(fds[i / 2], &byte, 1);

		probe.op.kind = kinds[i % 2];
		probe_submit(ring, &probe);
		ring_cancel(ring, &probe.op);
		cr_expect_eq(probe_result(ring, &probe), -EBADF);
	}
	ring_free(ring);
}

/* A reader and a writer on one socket, neither of which can go on at first. */
ENGINE_TEST(waits_for_both_directions_of_a_socket_at_once)
{
	struct ring *ring = new_ring(8);
	static char out[1 << 20], in[1 << 20];
	struct iovec part = { out, sizeof(out) };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	struct probe sender = { .op = { .kind = RING_SENDMSG, .message = &message } };
	struct probe receiver;
	char byte = 0;
	int fds[2];

	socket_pair(fds);
	while (send(fds[0], out, sizeof(out), MSG_DONTWAIT) > 0)
		;
	receiver = recv_probe(fds[0], &byte, 1);
	sender.op.fd = fds[0];
	probe_submit(ring, &receiver);
	probe_submit(ring, &sender);
	wait_once(ring, 20);
	wait_once(ring, 20);
	cr_assert_eq(receiver.nr_done + sender.nr_done, 0);
	/* Ready for one: the other must not be forgotten, whichever is first. */
	cr_assert_eq(write(fds[1], "x", 1), 1);
	cr_expect_eq(probe_result(ring, &receiver), 1);
	cr_expect_eq(sender.nr_done, 0);
	probe_submit(ring, &receiver);
	wait_once(ring, 20);
	while (recv(fds[1], in, sizeof(in), MSG_DONTWAIT) > 0)
		;
	cr_expect_gt(probe_result(ring, &sender), 0);
	cr_expect_eq(receiver.nr_done, 0);
	cr_assert_eq(write(fds[1], "y", 1), 1);
	cr_expect_eq(probe_result(ring, &receiver), 1);
	cr_expect_eq(byte, 'y');
	close(fds[0]);
	close(fds[1]);
	ring_free(ring);
}

/* What is remembered of a closed descriptor must not fall on the next of its number. */
ENGINE_TEST(a_new_socket_of_an_old_number_is_waited_for)
{
	struct ring *ring = new_ring(8);
	struct probe probe;
	int fds[2], number = -1;
	char byte;

	for (int i = 0; i < 20; i++) {
		socket_pair(fds);
		cr_assert(number < 0 || number == fds[0]);
		number = fds[0];
		probe = recv_probe(fds[0], &byte, 1);
		probe_submit(ring, &probe);
		wait_once(ring, 1);
		cr_assert_eq(probe.nr_done, 0);
		if (i % 2 == 0) {
			ring_cancel(ring, &probe.op);
			cr_expect_eq(probe_result(ring, &probe), -ECANCELED);
		} else {
			cr_assert_eq(write(fds[1], "x", 1), 1);
			cr_expect_eq(probe_result(ring, &probe), 1);
		}
		close(fds[0]);
		close(fds[1]);
	}
	ring_free(ring);
}

ENGINE_TEST(slots_are_used_again_without_mixing_results_up)
{
	enum { NR = 7, ROUNDS = 3000 };
	struct ring *ring = new_ring(3);
	struct probe probes[NR];
	uint8_t data[NR] = { 0 };
	uint8_t byte = 0;
	int fds[NR][2];

	for (int i = 0; i < NR; i++)
		socket_pair(fds[i]);
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < NR; i++) {
			probes[i] = recv_probe(fds[i][0], &data[i], 1);
			probe_submit(ring, &probes[i]);
		}
		for (int i = 0; i < NR; i++) {
			byte = (uint8_t)(round + i);
			cr_assert_eq(write(fds[i][1], &byte, 1), 1);
		}
		if (round % 3 == 0) /* races with the byte: either result is right */
			ring_cancel(ring, &probes[round % NR].op);
		while (ring->nr_in_flight > 0)
			wait_once(ring, 1000);
		for (int i = 0; i < NR; i++) {
			cr_assert_eq(probes[i].nr_done, 1);
			if (probes[i].result == -ECANCELED)
				cr_assert_eq(read(fds[i][0], &data[i], 1), 1);
			else
				cr_assert_eq(probes[i].result, 1);
			cr_assert_eq(data[i], (uint8_t)(round + i));
		}
	}
	ring_free(ring);
}

static void *run_ring(void *arg)
{
	struct probe probe = { .op = { .kind = RING_FDATASYNC, .fd = scratch_file() } };
	struct ring *ring = arg;

	probe_submit(ring, &probe);
	cr_expect_eq(probe_result(ring, &probe), 0);
	close(probe.op.fd);
	return NULL;
}

ENGINE_TEST(belongs_to_the_thread_that_waits_not_to_the_one_that_made_it)
{
	struct ring *ring = new_ring(8);
	pthread_t thread;

	cr_assert_eq(pthread_create(&thread, NULL, run_ring, ring), 0);
	pthread_join(thread, NULL);
	ring_free(ring);
}
