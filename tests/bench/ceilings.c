/* SPDX-License-Identifier: MIT */
/*
 * What no server on this machine can be faster than: a unix socket, and copying
 * memory. Prints one line of "name value" pairs, as nbdload does.
 *
 *   ceilings socket BLOCK DEPTH SECONDS   a child sends BLOCK bytes and a reply's header for
 *                                         each request that it reads, DEPTH are under way
 *   ceilings memcpy BLOCK DEPTH SECONDS   copies BLOCK bytes at a time within 256 MiB (DEPTH
 *                                         means nothing), so that no cache holds them
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	REQUEST_BYTES = 28, /* of NBD's simple request */
	REPLY_BYTES = 16,   /* and of its reply, before the data */
	BLOCK_BYTES_MAX = 32 << 20,
	DEPTH_MAX = 1024,
	AREA_BYTES = 256 << 20,
};

struct task {
	size_t block_bytes;
	size_t depth;
	double seconds;
};

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "ceilings: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void *allocate(size_t bytes)
{
	void *p = malloc(bytes);

	if (!p)
		die("memory");
	memset(p, 1, bytes); /* its pages exist before the clock runs */
	return p;
}

static void print(const struct task *task, uint64_t nr_done, double seconds)
{
	printf("seconds %.3f requests %llu mb_s %.1f kiops %.3f\n", seconds,
	       (unsigned long long)nr_done, (double)(nr_done * task->block_bytes) / seconds / 1e6,
	       (double)nr_done / seconds / 1e3);
}

/* ---- socket ---- */

static void send_all(int fd, const uint8_t *bytes, size_t left)
{
	while (left > 0) {
		const ssize_t n = send(fd, bytes, left, MSG_NOSIGNAL);

		if (n < 0)
			die("send");
		bytes += n;
		left -= (size_t)n;
	}
}

/* Replies to each request that it gets, until there are no more. */
static void serve(int fd, const struct task *task)
{
	const size_t reply_bytes = REPLY_BYTES + task->block_bytes;
	uint8_t *reply = allocate(reply_bytes);
	uint8_t requests[REQUEST_BYTES * DEPTH_MAX];
	size_t got = 0;

	for (;;) {
		const ssize_t n = recv(fd, requests, sizeof(requests), 0);

		if (n <= 0)
			_exit(n < 0 ? 1 : 0);
		for (got += (size_t)n; got >= REQUEST_BYTES; got -= REQUEST_BYTES)
			send_all(fd, reply, reply_bytes);
	}
}

static void request(int fd, size_t n)
{
	static const uint8_t bytes[REQUEST_BYTES * DEPTH_MAX];

	send_all(fd, bytes, n * REQUEST_BYTES);
}

/* Receives all that is asked for; asks for another block when one has come. */
static void exchange(int fd, const struct task *task)
{
	const size_t reply_bytes = REPLY_BYTES + task->block_bytes;
	const size_t buffer_bytes = reply_bytes < 256 << 10 ? 256 << 10 : reply_bytes;
	uint8_t *buffer = allocate(buffer_bytes);
	const double start = now_s();
	uint64_t nr_asked = task->depth, nr_done = 0;
	size_t got = 0;
	double passed = 0;

	request(fd, task->depth);
	while (nr_done < nr_asked) {
		const ssize_t n = recv(fd, buffer, buffer_bytes, 0);
		size_t came;

		if (n <= 0)
			die("receive");
		got += (size_t)n;
		came = got / reply_bytes;
		got %= reply_bytes;
		nr_done += came;
		passed = now_s() - start;
		if (came > 0 && passed < task->seconds) {
			request(fd, came);
			nr_asked += came;
		}
	}
	print(task, nr_done, passed);
	free(buffer);
}

static void measure_socket(const struct task *task)
{
	int fds[2], status;
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		die("socketpair");
	child = fork();
	if (child < 0)
		die("fork");
	if (child == 0) {
		close(fds[0]);
		serve(fds[1], task);
	}
	close(fds[1]);
	exchange(fds[0], task);
	close(fds[0]);
	if (waitpid(child, &status, 0) < 0 || status != 0)
		exit(1);
}

/* ---- memory ---- */

static void measure_memcpy(const struct task *task)
{
	const size_t half = AREA_BYTES / 2;
	uint8_t *area = allocate(AREA_BYTES);
	const double start = now_s();
	uint64_t nr_done = 0;
	size_t at = 0;
	double passed;

	do {
		memcpy(area + half + at, area + at, task->block_bytes);
		__asm__ volatile("" : : "r"(area) : "memory"); /* the copy is wanted */
		at += task->block_bytes;
		if (at + task->block_bytes > half)
			at = 0;
		nr_done++;
		passed = now_s() - start;
	} while (passed < task->seconds);
	print(task, nr_done, passed);
	free(area);
}

int main(int argc, char **argv)
{
	struct task task;

	if (argc != 5) {
		fprintf(stderr, "usage: ceilings socket|memcpy BLOCK DEPTH SECONDS\n");
		return 2;
	}
	task.block_bytes = strtoull(argv[2], NULL, 10);
	task.depth = strtoull(argv[3], NULL, 10);
	task.seconds = strtod(argv[4], NULL);
	if (task.block_bytes == 0 || task.block_bytes > BLOCK_BYTES_MAX || task.depth == 0 ||
	    task.depth > DEPTH_MAX)
		return 2;
	if (strcmp(argv[1], "socket") == 0)
		measure_socket(&task);
	else if (strcmp(argv[1], "memcpy") == 0)
		measure_memcpy(&task);
	else
		return 2;
	return 0;
}
