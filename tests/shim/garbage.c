/* SPDX-License-Identifier: MIT */
/* Random commands, beside restless users of the disk. */
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "shim/daemon.h"

enum { GARBAGE_USERS = 4, USER_BYTES_MAX = 128 << 10 };

static void send_garbage(struct daemon *daemon)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&daemon->ring);
	const uint16_t tag = (uint16_t)((unsigned int)rand() % (daemon->start.queue_depth + 1));
	struct shim_command payload = {
		.tag = rand() % 64 ? tag : (uint16_t)rand(),
		.reserved = rand() % 64 == 0,
		.result = rand() % 4   ? 0
			  : rand() % 3 ? -(rand() % 140)
				       : rand(),
		.sequence = tag < daemon->start.queue_depth && rand() % 8
				    ? daemon->requests[tag].sequence
				    : (uint32_t)rand(),
	};

	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, daemon->fd, NULL, 0, 0);
	sqe->cmd_op = (uint32_t)rand() % 5;
	if (sqe->cmd_op == SHIM_CMD_FETCH && rand() % 8)
		payload = (struct shim_command){ .tag = tag };
	memcpy((uint8_t *)sqe + offsetof(struct io_uring_sqe, cmd), &payload, sizeof(payload));
}

/* Whatever comes of it. */
static pid_t start_restless_user(unsigned int seed)
{
	pid_t pid = fork();
	void *bytes;
	int fd;

	if (pid != 0)
		return pid;
	srand(seed);
	fd = open(disk.device, O_RDWR | O_DIRECT);
	bytes = aligned_alloc(ALIGN, USER_BYTES_MAX);
	if (fd < 0 || !bytes)
		_exit(1);
	for (;;) {
		const size_t nr = 512 * (1 + (size_t)rand() % (USER_BYTES_MAX / 512));
		const off_t at = 512 * (rand() % 1000);
		const uint64_t range[2] = { (uint64_t)at, nr };
		const int kind = rand() % 16;

		if (kind == 0)
			(void)!fdatasync(fd);
		else if (kind == 1)
			(void)!ioctl(fd, BLKDISCARD, range);
		else if (kind == 2)
			(void)!ioctl(fd, BLKZEROOUT, range);
		else
			(void)!(kind % 2 ? pread(fd, bytes, nr, at) : pwrite(fd, bytes, nr, at));
	}
}

void garbage(unsigned int seconds)
{
	pid_t users[GARBAGE_USERS];
	const time_t until = time(NULL) + (time_t)seconds;
	unsigned long nr = 0, nr_done = 0, nr_lives = 0;

	for (unsigned int i = 0; i < GARBAGE_USERS; i++)
		users[i] = start_restless_user(i);
	while (time(NULL) < until) {
		const unsigned int life = 500 + (unsigned int)rand() % 20000;
		struct daemon daemon;

		daemon_begin(&daemon);
		for (unsigned int i = 0; i < life; i++, nr++) {
			struct io_uring_cqe *cqe;

			send_garbage(&daemon);
			io_uring_submit(&daemon.ring);
			while (io_uring_peek_cqe(&daemon.ring, &cqe) == 0) {
				nr_done += cqe->res == 0;
				io_uring_cqe_seen(&daemon.ring, cqe);
			}
		}
		daemon_end(&daemon);
		nr_lives++;
	}
	for (unsigned int i = 0; i < GARBAGE_USERS; i++)
		kill(users[i], SIGKILL);
	printf("garbage=%lu\nnot_refused=%lu\nlives=%lu\n", nr, nr_done, nr_lives);
}
