/* SPDX-License-Identifier: MIT */
/* One mistake after the other, each with the answer that it must get. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/daemon.h"

enum { STRANGER = 1000, REMCHG = 78 };

static void wrong_start(void)
{
	struct daemon daemon = { .fd = -1 };
	struct shim_start start = good_start();

	daemon_open(&daemon);
	want("no such ioctl", -ENOTTY, errno_of(ioctl(daemon.fd, 0xb502, &start)));
	want("bad pointer", -EFAULT, errno_of(ioctl(daemon.fd, SHIM_IOC_START, 8)));
	start.abi_version = SHIM_ABI_VERSION + 1;
	want("version", -EPROTONOSUPPORT, daemon_say(&daemon, start));
	want("its version", SHIM_ABI_VERSION, daemon.start.abi_version);
	start = good_start();
	start.disk_sectors++;
	want("size", -ERANGE, daemon_say(&daemon, start));
	want("its size", (long)disk.sectors, (long)daemon.start.disk_sectors);
	start = good_start();
	start.flags = SHIM_START_READ_ONLY;
	want("read-only", -EROFS, daemon_say(&daemon, start));
	start.flags = 1U << 31;
	want("flag", -EINVAL, daemon_say(&daemon, start));
	start = good_start();
	start.reserved = 1;
	want("reserved", -EINVAL, daemon_say(&daemon, start));
	want("after all", 0, daemon_say(&daemon, good_start()));
	want("twice", -EBUSY, daemon_say(&daemon, good_start()));
	daemon_end(&daemon);
}

static void second_opener(void)
{
	struct daemon daemon;

	daemon_begin(&daemon);
	want("second", -EBUSY, errno_of(open(disk.node, O_RDWR)));
	want("read only", -EBUSY, errno_of(open(disk.node, O_RDONLY)));
	daemon_end(&daemon);
	daemon_begin(&daemon);
	daemon_end(&daemon);
}

static void stranger(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		if (setgid(STRANGER) < 0 || setuid(STRANGER) < 0)
			_exit(255);
		_exit(open(disk.node, O_RDWR) < 0 ? errno : 0);
	}
	want("another user", EACCES, user_error(pid));
}

static void wrong_mappings(void)
{
	struct daemon daemon = { .fd = -1 };
	void *at;

	daemon_open(&daemon);
	want("start", 0, daemon_say(&daemon, good_start()));
	at = mmap(NULL, daemon_data_bytes(&daemon), PROT_READ, MAP_PRIVATE, daemon.fd,
		  SHIM_MAP_DATA);
	want("private", -EINVAL, at == MAP_FAILED ? -errno : 0);
	at = mmap(NULL, ALIGN, PROT_READ, MAP_SHARED, daemon.fd, SHIM_MAP_DATA);
	want("a part", -EINVAL, at == MAP_FAILED ? -errno : 0);
	at = mmap(NULL, ALIGN, PROT_READ, MAP_SHARED, daemon.fd, ALIGN);
	want("elsewhere", -EINVAL, at == MAP_FAILED ? -errno : 0);
	at = mmap(NULL, daemon_requests_bytes(&daemon), PROT_READ | PROT_WRITE, MAP_SHARED,
		  daemon.fd, SHIM_MAP_REQUESTS);
	want("writable requests", -EACCES, at == MAP_FAILED ? -errno : 0);
	daemon_map(&daemon);
	want("made writable", -EACCES,
	     errno_of(mprotect((void *)(uintptr_t)daemon.requests, daemon_requests_bytes(&daemon),
			       PROT_READ | PROT_WRITE)));
	daemon_end(&daemon);
}

static void too_early(void)
{
	struct daemon daemon = { .fd = -1 };

	daemon_open(&daemon);
	want("before start", -ENOTCONN,
	     daemon_command(&daemon, SHIM_CMD_FETCH, (struct shim_command){ .tag = 0 }));
	want("start", 0, daemon_say(&daemon, good_start()));
	want("before mmap", -EFAULT,
	     daemon_command(&daemon, SHIM_CMD_FETCH, (struct shim_command){ .tag = 0 }));
	daemon_end(&daemon);
}

static void wrong_commands(void)
{
	struct daemon daemon;

	daemon_begin(&daemon);
	want("tag past the end", -ERANGE,
	     daemon_command(&daemon, SHIM_CMD_FETCH,
			    (struct shim_command){ .tag = (uint16_t)daemon.start.queue_depth }));
	want("no tag", -ERANGE,
	     daemon_command(&daemon, SHIM_CMD_COMMIT, (struct shim_command){ .tag = UINT16_MAX }));
	want("command 0", -EINVAL, daemon_command(&daemon, 0, (struct shim_command){ .tag = 0 }));
	want("command 4", -EINVAL, daemon_command(&daemon, 4, (struct shim_command){ .tag = 0 }));
	want("command ~0", -EINVAL,
	     daemon_command(&daemon, ~0u, (struct shim_command){ .tag = 0 }));
	want("reserved", -EINVAL,
	     daemon_command(&daemon, SHIM_CMD_FETCH, (struct shim_command){ .reserved = 1 }));
	want("reserved2", -EINVAL,
	     daemon_command(&daemon, SHIM_CMD_COMMIT, (struct shim_command){ .reserved2 = 1 }));
	want("fetch with a result", -EINVAL,
	     daemon_command(&daemon, SHIM_CMD_FETCH, (struct shim_command){ .result = -EIO }));
	want("commit of nothing", -ENOENT, daemon_commit(&daemon, 0, 0));
	daemon_fetch(&daemon, 0);
	want("second fetch", -EBUSY,
	     daemon_command(&daemon, SHIM_CMD_FETCH, (struct shim_command){ .tag = 0 }));
	want("commit of what is parked", -ENOENT, daemon_commit(&daemon, 0, 0));
	daemon_end(&daemon);
}

static void wrong_commits(void)
{
	const struct shim_request *request;
	struct daemon daemon;
	pid_t user;

	daemon_begin(&daemon);
	daemon_fetch(&daemon, 3);
	user = start_user(false, 8, 'x');
	request = daemon_take(&daemon, 3);
	want("operation", SHIM_OP_READ, request->op);
	want("sector", 8, (long)request->first_sector);
	want("sectors", 8, request->nr_sectors);
	want("another's sequence", -ESTALE,
	     daemon_command(&daemon, SHIM_CMD_COMMIT,
			    (struct shim_command){ .tag = 3, .sequence = request->sequence + 1 }));
	want("a result of 1", -EDOM, daemon_commit(&daemon, 3, 1));
	want("a result of -4096", -EDOM, daemon_commit(&daemon, 3, -4096));
	want("fetch of what is busy", -EBUSY,
	     daemon_command(&daemon, SHIM_CMD_FETCH, (struct shim_command){ .tag = 3 }));
	want("another tag's", -ENOENT, daemon_commit(&daemon, 4, 0));
	memset(daemon.data + 3 * (size_t)daemon.start.max_io_bytes, 'x', ALIGN);
	want("at last", 0, daemon_commit(&daemon, 3, 0));
	want("duplicate", -ENOENT, daemon_commit(&daemon, 3, 0));
	want("the user's error", 0, user_error(user));
	daemon_end(&daemon);
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

	daemon_begin(&daemon);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		pid_t user = start_user(true, 0, 'e');

		daemon_fetch(&daemon, 0);
		want("operation", SHIM_OP_WRITE, daemon_take(&daemon, 0)->op);
		want("commit", 0, daemon_commit(&daemon, 0, rows[i].result));
		want("the user's error", rows[i].wanted, user_error(user));
	}
	daemon_end(&daemon);
}

/* What it has unmapped the kernel still has. */
static void unmapped_data(void)
{
	struct daemon daemon;
	pid_t user;

	daemon_begin(&daemon);
	daemon_fetch(&daemon, 0);
	user = start_user(true, 16, 'u');
	want("operation", SHIM_OP_WRITE, daemon_take(&daemon, 0)->op);
	munmap(daemon.data, daemon_data_bytes(&daemon));
	daemon.data = NULL;
	want("commit of a write", 0, daemon_commit(&daemon, 0, 0));
	want("the user's error", 0, user_error(user));
	user = start_user(false, 16, 'u');
	daemon_fetch(&daemon, 0);
	want("operation", SHIM_OP_READ, daemon_take(&daemon, 0)->op);
	want("commit of a read", 0, daemon_commit(&daemon, 0, 0));
	want("the user's error", 0, user_error(user));
	daemon_end(&daemon);
}

static void closed_with_parked(void)
{
	struct daemon daemon;
	int result;

	daemon_begin(&daemon);
	for (uint16_t tag = 0; tag < 8; tag++)
		daemon_fetch(&daemon, tag);
	close(daemon.fd);
	for (int i = 0; i < 8; i++) {
		daemon_receive(&daemon, &result);
		want("of a closed node", -ECANCELED, result);
	}
	daemon.fd = -1;
	daemon_end(&daemon);
}

/* A copy of the descriptor is not in the next daemon's way, and good for nothing. */
static void left_behind(void)
{
	struct daemon first, second;
	int pipes[2], result;
	pid_t pid;

	daemon_begin(&first);
	want("pipe", 0, pipe(pipes));
	pid = fork();
	if (pid == 0) {
		char byte;

		close(pipes[1]);
		_exit(read(pipes[0], &byte, 1) == 0 ? 0 : 1);
	}
	close(pipes[0]);
	daemon_fetch(&first, 0);
	close(first.fd);
	daemon_receive(&first, &result);
	want("of a closed node", -ECANCELED, result);
	daemon_begin(&second);
	daemon_end(&second);
	close(pipes[1]);
	want("the child", 0, user_error(pid));
	first.fd = -1;
	daemon_end(&first);
}

/* Dies with @nr requests, of users of sectors 0, 8, ... */
static void die_holding(unsigned int nr)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct daemon daemon;

		daemon_begin(&daemon);
		for (uint16_t tag = 0; tag < nr; tag++)
			daemon_fetch(&daemon, tag);
		for (unsigned int i = 0; i < nr; i++) {
			int result;

			daemon_receive(&daemon, &result);
			want("request", SHIM_REQUEST, result);
		}
		daemon_fetch(&daemon, (uint16_t)nr); /* and one more, for nothing */
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
	daemon_begin(&daemon);
	for (unsigned int i = 0; i < USERS; i++) {
		const struct shim_request *request;

		daemon_fetch(&daemon, 0);
		request = daemon_take(&daemon, 0);
		want("operation", SHIM_OP_WRITE, request->op);
		want("sector", 8 * i, (long)request->first_sector);
		want("data", 'a' + (int)i, daemon.data[ALIGN - 1]);
		want("commit", 0, daemon_commit(&daemon, 0, 0));
		want("the user's error", 0, user_error(users[i]));
	}
	daemon_end(&daemon);
}

/* The ring is closed while the node is not, with commands parked there. */
static void ring_first(void)
{
	struct daemon daemon;
	pid_t user;

	daemon_begin(&daemon);
	for (uint16_t tag = 0; tag < 8; tag++)
		daemon_fetch(&daemon, tag);
	io_uring_queue_exit(&daemon.ring);
	user = start_user(true, 0, 'r'); /* handed to nobody */
	usleep(200000);
	close(daemon.fd);
	daemon_begin(&daemon);
	daemon_fetch(&daemon, 0);
	daemon_take(&daemon, 0);
	want("commit", 0, daemon_commit(&daemon, 0, 0));
	want("the user's error", 0, user_error(user));
	daemon_end(&daemon);
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

		daemon_begin(&daemon);
		fcntl(daemon.fd, F_SETFD, 0);
		for (uint16_t tag = 0; tag < 8; tag++)
			daemon_fetch(&daemon, tag);
		execl("/proc/self/exe", "bad_dm_daemon", NULL);
		_exit(255);
	}
	want("what a program without arguments says", 2, user_error(pid));
}

static void renewed(void)
{
	struct daemon daemon;
	int result;

	daemon_begin(&daemon);
	daemon_fetch(&daemon, 5);
	want("whose command", 5, daemon_receive(&daemon, &result));
	want("without a request", SHIM_RENEW, result);
	daemon_fetch(&daemon, 5);
	daemon_end(&daemon);
}

/* One line for each kind of mistake, however often it is made. */
static void stubborn(void)
{
	struct daemon daemon;

	daemon_begin(&daemon);
	for (int i = 0; i < 1000; i++)
		want("commit of nothing", -ENOENT, daemon_commit(&daemon, 0, 0));
	daemon_end(&daemon);
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

void run_cases(void)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		printf("case %s\n", cases[i].name);
		cases[i].run();
	}
	printf("cases=%zu\n", ARRAY_LEN(cases));
}
