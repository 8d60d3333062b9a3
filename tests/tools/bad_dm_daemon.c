/* SPDX-License-Identifier: MIT */
/*
 * bad_dm_daemon DEVICE NODE SECTORS [garbage SECONDS]
 *
 * A daemon of dm-sealblk that does everything wrong: DEVICE is the block device,
 * served by nobody else, NODE its node. Each case prints its name; the first answer that
 * is not the one wanted ends the program with 1. garbage: random commands for so long,
 * beside users of the disk, some of whom may still wait for it when the program ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/compiler.h"
#include "sealblk/shim_uapi.h"

enum { GARBAGE_USERS = 4, USER_BYTES_MAX = 128 << 10 };
enum { ENTRIES = 64, ALIGN = 4096, STRANGER = 1000, PATIENCE_S = 10, REMCHG = 78 };

static const char *device_path, *node_path;
static unsigned long long disk_sectors;

static void fail(const char *fmt, ...) PRINTF_LIKE(1, 2);

static void fail(const char *fmt, ...)
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

static void want(const char *what, long wanted, long got)
{
	if (wanted != got)
		fail("%s: wanted %ld, got %ld", what, wanted, got);
}

static int errno_of(long result)
{
	return result < 0 ? -errno : 0;
}

/* ---- a daemon, so far as each case needs one ---- */

struct daemon {
	int fd;
	struct io_uring ring;
	struct shim_start start;
	const struct shim_request *requests;
	uint8_t *data;
};

static struct shim_start good_start(void)
{
	return (struct shim_start){
		.abi_version = SHIM_ABI_VERSION,
		.disk_sectors = disk_sectors,
	};
}

/* A killed one's ring may hold the node for a moment. */
static void open_node(struct daemon *daemon)
{
	for (int tries = 0; tries < 100 * PATIENCE_S; tries++) {
		daemon->fd = open(node_path, O_RDWR | O_CLOEXEC);
		if (daemon->fd >= 0 || errno != EBUSY)
			break;
		usleep(10000);
	}
	if (daemon->fd < 0)
		fail("%s: %s", node_path, strerror(errno));
	want("ring", 0, io_uring_queue_init(ENTRIES, &daemon->ring, 0));
}

static int say(struct daemon *daemon, struct shim_start start)
{
	int r = errno_of(ioctl(daemon->fd, SHIM_IOC_START, &start));

	daemon->start = start;
	return r;
}

static size_t requests_bytes(const struct daemon *daemon)
{
	size_t bytes = daemon->start.queue_depth * sizeof(struct shim_request);

	return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static size_t data_bytes(const struct daemon *daemon)
{
	return daemon->start.queue_depth * (size_t)daemon->start.max_io_bytes;
}

static void map(struct daemon *daemon)
{
	void *requests = mmap(NULL, requests_bytes(daemon), PROT_READ, MAP_SHARED, daemon->fd,
			      SHIM_MAP_REQUESTS);
	void *data = mmap(NULL, data_bytes(daemon), PROT_READ | PROT_WRITE, MAP_SHARED, daemon->fd,
			  SHIM_MAP_DATA);

	if (requests == MAP_FAILED || data == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	daemon->requests = requests;
	daemon->data = data;
}

static void begin(struct daemon *daemon)
{
	open_node(daemon);
	want("start", 0, say(daemon, good_start()));
	map(daemon);
}

/* The node first: what is parked there is in the ring's way. */
static void end(struct daemon *daemon)
{
	close(daemon->fd);
	io_uring_queue_exit(&daemon->ring);
	if (daemon->data)
		munmap(daemon->data, data_bytes(daemon));
	if (daemon->requests)
		munmap((void *)(uintptr_t)daemon->requests, requests_bytes(daemon));
	*daemon = (struct daemon){ .fd = -1 };
}

static void send_command(struct daemon *daemon, uint32_t number, struct shim_command command)
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
static unsigned int receive(struct daemon *daemon, int *ret_result)
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

static int command(struct daemon *daemon, uint32_t number, struct shim_command payload)
{
	int result;

	send_command(daemon, number, payload);
	receive(daemon, &result);
	return result;
}

static void fetch(struct daemon *daemon, uint16_t tag)
{
	send_command(daemon, SHIM_CMD_FETCH, (struct shim_command){ .tag = tag });
}

static int commit(struct daemon *daemon, uint16_t tag, int result)
{
	return command(daemon, SHIM_CMD_COMMIT,
		       (struct shim_command){ .tag = tag,
					      .result = result,
					      .sequence = daemon->requests[tag].sequence });
}

/* ---- somebody who uses the disk ---- */

/* Exits with 0, or the errno; what was read must be @byte. */
static pid_t start_user(bool writes, unsigned int sector, int byte)
{
	pid_t pid = fork();
	uint8_t *bytes;
	ssize_t n;
	int fd;

	if (pid != 0)
		return pid;
	fd = open(device_path, O_RDWR | O_DIRECT);
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

static int user_error(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		fail("the user of the disk did not end");
	return WEXITSTATUS(status);
}

/* Wait until a request is under @tag. */
static const struct shim_request *take(struct daemon *daemon, uint16_t tag)
{
	int result;

	want("whose request", tag, receive(daemon, &result));
	want("request", SHIM_REQUEST, result);
	return &daemon->requests[tag];
}

/* ---- cases ---- */

static void wrong_start(void)
{
	struct daemon daemon = { .fd = -1 };
	struct shim_start start = good_start();

	open_node(&daemon);
	want("no such ioctl", -ENOTTY, errno_of(ioctl(daemon.fd, 0xb502, &start)));
	want("bad pointer", -EFAULT, errno_of(ioctl(daemon.fd, SHIM_IOC_START, 8)));
	start.abi_version = SHIM_ABI_VERSION + 1;
	want("version", -EPROTONOSUPPORT, say(&daemon, start));
	want("its version", SHIM_ABI_VERSION, daemon.start.abi_version);
	start = good_start();
	start.disk_sectors++;
	want("size", -ERANGE, say(&daemon, start));
	want("its size", (long)disk_sectors, (long)daemon.start.disk_sectors);
	start = good_start();
	start.flags = SHIM_START_READ_ONLY;
	want("read-only", -EROFS, say(&daemon, start));
	start.flags = 1U << 31;
	want("flag", -EINVAL, say(&daemon, start));
	start = good_start();
	start.reserved = 1;
	want("reserved", -EINVAL, say(&daemon, start));
	want("after all", 0, say(&daemon, good_start()));
	want("twice", -EBUSY, say(&daemon, good_start()));
	end(&daemon);
}

static void second_opener(void)
{
	struct daemon daemon;

	begin(&daemon);
	want("second", -EBUSY, errno_of(open(node_path, O_RDWR)));
	want("read only", -EBUSY, errno_of(open(node_path, O_RDONLY)));
	end(&daemon);
	begin(&daemon);
	end(&daemon);
}

static void stranger(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		if (setgid(STRANGER) < 0 || setuid(STRANGER) < 0)
			_exit(255);
		_exit(open(node_path, O_RDWR) < 0 ? errno : 0);
	}
	want("another user", EACCES, user_error(pid));
}

static void wrong_mappings(void)
{
	struct daemon daemon = { .fd = -1 };
	void *at;

	open_node(&daemon);
	want("start", 0, say(&daemon, good_start()));
	at = mmap(NULL, data_bytes(&daemon), PROT_READ, MAP_PRIVATE, daemon.fd, SHIM_MAP_DATA);
	want("private", -EINVAL, at == MAP_FAILED ? -errno : 0);
	at = mmap(NULL, ALIGN, PROT_READ, MAP_SHARED, daemon.fd, SHIM_MAP_DATA);
	want("a part", -EINVAL, at == MAP_FAILED ? -errno : 0);
	at = mmap(NULL, ALIGN, PROT_READ, MAP_SHARED, daemon.fd, ALIGN);
	want("elsewhere", -EINVAL, at == MAP_FAILED ? -errno : 0);
	at = mmap(NULL, requests_bytes(&daemon), PROT_READ | PROT_WRITE, MAP_SHARED, daemon.fd,
		  SHIM_MAP_REQUESTS);
	want("writable requests", -EACCES, at == MAP_FAILED ? -errno : 0);
	map(&daemon);
	want("made writable", -EACCES,
	     errno_of(mprotect((void *)(uintptr_t)daemon.requests, requests_bytes(&daemon),
			       PROT_READ | PROT_WRITE)));
	end(&daemon);
}

static void too_early(void)
{
	struct daemon daemon = { .fd = -1 };

	open_node(&daemon);
	want("before start", -ENOTCONN,
	     command(&daemon, SHIM_CMD_FETCH, (struct shim_command){ .tag = 0 }));
	want("start", 0, say(&daemon, good_start()));
	want("before mmap", -EFAULT,
	     command(&daemon, SHIM_CMD_FETCH, (struct shim_command){ .tag = 0 }));
	end(&daemon);
}

static void wrong_commands(void)
{
	struct daemon daemon;

	begin(&daemon);
	want("tag past the end", -ERANGE,
	     command(&daemon, SHIM_CMD_FETCH,
		     (struct shim_command){ .tag = (uint16_t)daemon.start.queue_depth }));
	want("no tag", -ERANGE,
	     command(&daemon, SHIM_CMD_COMMIT, (struct shim_command){ .tag = UINT16_MAX }));
	want("command 0", -EINVAL, command(&daemon, 0, (struct shim_command){ .tag = 0 }));
	want("command 4", -EINVAL, command(&daemon, 4, (struct shim_command){ .tag = 0 }));
	want("command ~0", -EINVAL, command(&daemon, ~0u, (struct shim_command){ .tag = 0 }));
	want("reserved", -EINVAL,
	     command(&daemon, SHIM_CMD_FETCH, (struct shim_command){ .reserved = 1 }));
	want("reserved2", -EINVAL,
	     command(&daemon, SHIM_CMD_COMMIT, (struct shim_command){ .reserved2 = 1 }));
	want("fetch with a result", -EINVAL,
	     command(&daemon, SHIM_CMD_FETCH, (struct shim_command){ .result = -EIO }));
	want("commit of nothing", -ENOENT, commit(&daemon, 0, 0));
	fetch(&daemon, 0);
	want("second fetch", -EBUSY,
	     command(&daemon, SHIM_CMD_FETCH, (struct shim_command){ .tag = 0 }));
	want("commit of what is parked", -ENOENT, commit(&daemon, 0, 0));
	end(&daemon);
}

static void wrong_commits(void)
{
	const struct shim_request *request;
	struct daemon daemon;
	pid_t user;

	begin(&daemon);
	fetch(&daemon, 3);
	user = start_user(false, 8, 'x');
	request = take(&daemon, 3);
	want("operation", SHIM_OP_READ, request->op);
	want("sector", 8, (long)request->first_sector);
	want("sectors", 8, request->nr_sectors);
	want("another's sequence", -ESTALE,
	     command(&daemon, SHIM_CMD_COMMIT,
		     (struct shim_command){ .tag = 3, .sequence = request->sequence + 1 }));
	want("a result of 1", -EDOM, commit(&daemon, 3, 1));
	want("a result of -4096", -EDOM, commit(&daemon, 3, -4096));
	want("fetch of what is busy", -EBUSY,
	     command(&daemon, SHIM_CMD_FETCH, (struct shim_command){ .tag = 3 }));
	want("another tag's", -ENOENT, commit(&daemon, 4, 0));
	memset(daemon.data + 3 * (size_t)daemon.start.max_io_bytes, 'x', ALIGN);
	want("at last", 0, commit(&daemon, 3, 0));
	want("duplicate", -ENOENT, commit(&daemon, 3, 0));
	want("the user's error", 0, user_error(user));
	end(&daemon);
}

/* Errors that would mean something of its own to the block layer are errors, no more. */
static void strange_errors(void)
{
	static const struct {
		int result, wanted;
	} rows[] = {
		{ -EIO, EIO },	     { -ENOSPC, ENOSPC }, { -REMCHG, EIO }, { -EAGAIN, EIO },
		{ -EREMOTEIO, EIO }, { -4095, EIO },	  { -1, EIO },
	};
	struct daemon daemon;

	begin(&daemon);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		pid_t user = start_user(true, 0, 'e');

		fetch(&daemon, 0);
		want("operation", SHIM_OP_WRITE, take(&daemon, 0)->op);
		want("commit", 0, commit(&daemon, 0, rows[i].result));
		want("the user's error", rows[i].wanted, user_error(user));
	}
	end(&daemon);
}

/* What it has unmapped the kernel still has. */
static void unmapped_data(void)
{
	struct daemon daemon;
	pid_t user;

	begin(&daemon);
	fetch(&daemon, 0);
	user = start_user(true, 16, 'u');
	want("operation", SHIM_OP_WRITE, take(&daemon, 0)->op);
	munmap(daemon.data, data_bytes(&daemon));
	daemon.data = NULL;
	want("commit of a write", 0, commit(&daemon, 0, 0));
	want("the user's error", 0, user_error(user));
	user = start_user(false, 16, 'u');
	fetch(&daemon, 0);
	want("operation", SHIM_OP_READ, take(&daemon, 0)->op);
	want("commit of a read", 0, commit(&daemon, 0, 0));
	want("the user's error", 0, user_error(user));
	end(&daemon);
}

static void closed_with_parked(void)
{
	struct daemon daemon;
	int result;

	begin(&daemon);
	for (uint16_t tag = 0; tag < 8; tag++)
		fetch(&daemon, tag);
	close(daemon.fd);
	for (int i = 0; i < 8; i++) {
		receive(&daemon, &result);
		want("of a closed node", -ECANCELED, result);
	}
	daemon.fd = -1;
	end(&daemon);
}

/* A copy of the descriptor is not in the next daemon's way, and good for nothing. */
static void left_behind(void)
{
	struct daemon first, second;
	int pipes[2], result;
	pid_t pid;

	begin(&first);
	want("pipe", 0, pipe(pipes));
	pid = fork();
	if (pid == 0) {
		char byte;

		close(pipes[1]);
		_exit(read(pipes[0], &byte, 1) == 0 ? 0 : 1);
	}
	close(pipes[0]);
	fetch(&first, 0);
	close(first.fd);
	receive(&first, &result);
	want("of a closed node", -ECANCELED, result);
	begin(&second);
	end(&second);
	close(pipes[1]);
	want("the child", 0, user_error(pid));
	first.fd = -1;
	end(&first);
}

/* Dies with @nr requests, of users of sectors 0, 8, ... */
static void die_holding(unsigned int nr)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct daemon daemon;

		begin(&daemon);
		for (uint16_t tag = 0; tag < nr; tag++)
			fetch(&daemon, tag);
		for (unsigned int i = 0; i < nr; i++) {
			int result;

			receive(&daemon, &result);
			want("request", SHIM_REQUEST, result);
		}
		fetch(&daemon, (uint16_t)nr); /* and one more, for nothing */
		kill(getpid(), SIGKILL);
	}
	waitpid(pid, NULL, 0);
}

/* In the old order, and with the data of the users, whatever a daemon has left in its own. */
static void died_holding(void)
{
	enum { USERS = 4 };
	struct daemon daemon;
	pid_t users[USERS];

	for (unsigned int i = 0; i < USERS; i++) {
		users[i] = start_user(true, 8 * i, 'a' + (int)i);
		usleep(200000);
	}
	die_holding(USERS);
	die_holding(USERS);
	begin(&daemon);
	for (unsigned int i = 0; i < USERS; i++) {
		const struct shim_request *request;

		fetch(&daemon, 0);
		request = take(&daemon, 0);
		want("operation", SHIM_OP_WRITE, request->op);
		want("sector", 8 * i, (long)request->first_sector);
		want("data", 'a' + (int)i, daemon.data[ALIGN - 1]);
		want("commit", 0, commit(&daemon, 0, 0));
		want("the user's error", 0, user_error(users[i]));
	}
	end(&daemon);
}

/* The ring is closed while the node is not, with commands parked there. */
static void ring_first(void)
{
	struct daemon daemon;
	pid_t user;

	begin(&daemon);
	for (uint16_t tag = 0; tag < 8; tag++)
		fetch(&daemon, tag);
	io_uring_queue_exit(&daemon.ring);
	user = start_user(true, 0, 'r'); /* handed to nobody */
	usleep(200000);
	close(daemon.fd);
	begin(&daemon);
	fetch(&daemon, 0);
	take(&daemon, 0);
	want("commit", 0, commit(&daemon, 0, 0));
	want("the user's error", 0, user_error(user));
	end(&daemon);
}

/*
 * exec() waits for all that was asked of a ring, and nobody can cancel it: the module has to
 * give it back, by and by. So has a ring that is closed, whose node is not.
 */
static void exec_with_parked(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct daemon daemon;

		begin(&daemon);
		fcntl(daemon.fd, F_SETFD, 0);
		for (uint16_t tag = 0; tag < 8; tag++)
			fetch(&daemon, tag);
		execl("/proc/self/exe", "bad_dm_daemon", NULL);
		_exit(255);
	}
	want("what a program without arguments says", 2, user_error(pid));
}

static void renewed(void)
{
	struct daemon daemon;
	int result;

	begin(&daemon);
	fetch(&daemon, 5);
	want("whose command", 5, receive(&daemon, &result));
	want("without a request", SHIM_RENEW, result);
	fetch(&daemon, 5);
	end(&daemon);
}

/* One line for each kind of mistake, however often it is made. */
static void stubborn(void)
{
	struct daemon daemon;

	begin(&daemon);
	for (int i = 0; i < 1000; i++)
		want("commit of nothing", -ENOENT, commit(&daemon, 0, 0));
	end(&daemon);
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "wrong_start", wrong_start },
	{ "second_opener", second_opener },
	{ "stranger", stranger },
	{ "wrong_mappings", wrong_mappings },
	{ "too_early", too_early },
	{ "wrong_commands", wrong_commands },
	{ "wrong_commits", wrong_commits },
	{ "strange_errors", strange_errors },
	{ "unmapped_data", unmapped_data },
	{ "closed_with_parked", closed_with_parked },
	{ "left_behind", left_behind },
	{ "died_holding", died_holding },
	{ "exec_with_parked", exec_with_parked },
	{ "renewed", renewed },
	{ "ring_first", ring_first },
	{ "stubborn", stubborn },
};

/* ---- garbage ---- */

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
	fd = open(device_path, O_RDWR | O_DIRECT);
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

static void garbage(unsigned int seconds)
{
	pid_t users[GARBAGE_USERS];
	const time_t until = time(NULL) + (time_t)seconds;
	unsigned long nr = 0, nr_done = 0, nr_lives = 0;

	for (unsigned int i = 0; i < GARBAGE_USERS; i++)
		users[i] = start_restless_user(i);
	while (time(NULL) < until) {
		const unsigned int life = 500 + (unsigned int)rand() % 20000;
		struct daemon daemon;

		begin(&daemon);
		for (unsigned int i = 0; i < life; i++, nr++) {
			struct io_uring_cqe *cqe;

			send_garbage(&daemon);
			io_uring_submit(&daemon.ring);
			while (io_uring_peek_cqe(&daemon.ring, &cqe) == 0) {
				nr_done += cqe->res == 0;
				io_uring_cqe_seen(&daemon.ring, cqe);
			}
		}
		end(&daemon);
		nr_lives++;
	}
	for (unsigned int i = 0; i < GARBAGE_USERS; i++)
		kill(users[i], SIGKILL);
	printf("garbage=%lu\nnot_refused=%lu\nlives=%lu\n", nr, nr_done, nr_lives);
}

int main(int argc, char **argv)
{
	if (argc != 4 && argc != 6)
		return 2;
	device_path = argv[1];
	node_path = argv[2];
	disk_sectors = strtoull(argv[3], NULL, 10);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 6) {
		garbage((unsigned int)atoi(argv[5]));
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		printf("case %s\n", cases[i].name);
		cases[i].run();
	}
	printf("cases=%zu\n", ARRAY_LEN(cases));
	return 0;
}
