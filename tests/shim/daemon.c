/* SPDX-License-Identifier: MIT */
/* See daemon.h. */
#include "shim/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ENTRIES = 64, PATIENCE_S = 10 };

struct disk disk;

void fail(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fputs("failed: ", stdout);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
	_exit(1);
}

void want(const char *what, long wanted, long got)
{
	if (wanted != got)
		fail("%s: wanted %ld, got %ld", what, wanted, got);
}

int errno_of(long result)
{
	return result < 0 ? -errno : 0;
}

/* ---- a daemon, so far as each case needs one ---- */

struct shim_start good_start(void)
{
	return (struct shim_start){
		.abi_version = SHIM_ABI_VERSION,
		.disk_sectors = disk.sectors,
	};
}

/* At the first try: whoever had it and has ended, has let it go. */
void daemon_open(struct daemon *daemon)
{
	daemon->fd = open(disk.node, O_RDWR | O_CLOEXEC);
	if (daemon->fd < 0)
		fail("%s: %s", disk.node, strerror(errno));
	want("ring", 0, io_uring_queue_init(ENTRIES, &daemon->ring, 0));
}

int daemon_say(struct daemon *daemon, struct shim_start start)
{
	int r = errno_of(ioctl(daemon->fd, SHIM_IOC_START, &start));

	daemon->start = start;
	return r;
}

size_t daemon_requests_bytes(const struct daemon *daemon)
{
	size_t bytes = daemon->start.queue_depth * sizeof(struct shim_request);

	return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

size_t daemon_data_bytes(const struct daemon *daemon)
{
	return daemon->start.queue_depth * (size_t)daemon->start.max_io_bytes;
}

void daemon_map(struct daemon *daemon)
{
	void *requests = mmap(NULL, daemon_requests_bytes(daemon), PROT_READ, MAP_SHARED,
			      daemon->fd, SHIM_MAP_REQUESTS);
	void *data = mmap(NULL, daemon_data_bytes(daemon), PROT_READ | PROT_WRITE, MAP_SHARED,
			  daemon->fd, SHIM_MAP_DATA);

	if (requests == MAP_FAILED || data == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	daemon->requests = requests;
	daemon->data = data;
}

void daemon_begin(struct daemon *daemon)
{
	daemon_open(daemon);
	want("start", 0, daemon_say(daemon, good_start()));
	daemon_map(daemon);
}

/* The node first: what is parked there is in the ring's way. */
void daemon_end(struct daemon *daemon)
{
	close(daemon->fd);
	io_uring_queue_exit(&daemon->ring);
	if (daemon->data)
		munmap(daemon->data, daemon_data_bytes(daemon));
	if (daemon->requests)
		munmap((void *)(uintptr_t)daemon->requests, daemon_requests_bytes(daemon));
	*daemon = (struct daemon){ .fd = -1 };
}

void daemon_send(struct daemon *daemon, uint32_t number, struct shim_command command)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&daemon->ring);

	if (!sqe)
		fail("the ring is full");
	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, daemon->fd, NULL, 0, 0);
	sqe->cmd_op = number;
	memcpy((uint8_t *)sqe + offsetof(struct io_uring_sqe, cmd), &command, sizeof(command));
	sqe->user_data = command.tag;
	if (io_uring_submit(&daemon->ring) != 1)
		fail("submit");
}

/* Returns the tag, *ret_result what its completion says. */
unsigned int daemon_receive(struct daemon *daemon, int *ret_result)
{
	struct __kernel_timespec patience = { .tv_sec = PATIENCE_S };
	struct io_uring_cqe *cqe;
	unsigned int tag;

	if (io_uring_wait_cqe_timeout(&daemon->ring, &cqe, &patience) < 0)
		fail("no completion in %d s", PATIENCE_S);
	*ret_result = cqe->res;
	tag = (unsigned int)cqe->user_data;
	io_uring_cqe_seen(&daemon->ring, cqe);
	return tag;
}

int daemon_command(struct daemon *daemon, uint32_t number, struct shim_command payload)
{
	int result;

	daemon_send(daemon, number, payload);
	daemon_receive(daemon, &result);
	return result;
}

void daemon_fetch(struct daemon *daemon, uint16_t tag)
{
	daemon_send(daemon, SHIM_CMD_FETCH, (struct shim_command){ .tag = tag });
}

int daemon_commit(struct daemon *daemon, uint16_t tag, int result)
{
	return daemon_command(daemon, SHIM_CMD_COMMIT,
			      (struct shim_command){ .tag = tag,
						     .result = result,
						     .sequence = daemon->requests[tag].sequence });
}

/* ---- somebody who uses the disk ---- */

/* Exits with 0, or the errno; what was read must be @byte. */
pid_t start_user(bool writes, unsigned int sector, int byte)
{
	pid_t pid = fork();
	uint8_t *bytes;
	ssize_t n;
	int fd;

	if (pid != 0)
		return pid;
	fd = open(disk.device, O_RDWR | O_DIRECT);
	bytes = aligned_alloc(ALIGN, ALIGN);
	if (fd < 0 || !bytes)
		_exit(255);
	memset(bytes, byte, ALIGN);
	n = writes ? pwrite(fd, bytes, ALIGN, sector * 512L)
		   : pread(fd, bytes, ALIGN, sector * 512L);
	if (n < 0)
		_exit(errno);
	for (size_t i = 0; i < ALIGN; i++)
		if (bytes[i] != byte)
			_exit(254);
	_exit(0);
}

int user_error(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		fail("the user of the disk did not end");
	return WEXITSTATUS(status);
}

/* Wait until a request is under @tag. */
const struct shim_request *daemon_take(struct daemon *daemon, uint16_t tag)
{
	int result;

	want("whose request", tag, daemon_receive(daemon, &result));
	want("request", SHIM_REQUEST, result);
	return &daemon->requests[tag];
}
