/* SPDX-License-Identifier: MIT */
/*
 * The child of key_child.h, and watching it: three pipes and a descriptor that
 * tells when it ends, under one deadline.
 */
#include "keys/key_child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	SAID_BYTES = 300, /* of what it writes to stderr, the last ones are kept */
	REST_READS = 256, /* a pipe holds 64 KiB */
	LINGER_MS = 1000, /* its output may be open for so long after its end */
	PIPES = 3,	  /* stdin, stdout, stderr */
	READ_END = 0,
	WRITE_END = 1,
};

struct watch {
	pid_t pid;
	int pidfd; /* -1: it has ended, and @status tells how; it is not reaped yet */
	int out;   /* -1: closed at its end */
	int err;
	int64_t deadline_ms; /* of CLOCK_MONOTONIC */
	int status;	     /* as waitpid() gives it */
	uint8_t *raw;
	size_t room;
	size_t nr_bytes;
	char said[SAID_BYTES];
	size_t nr_said;
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* ---- the child ---- */

static void reset_signals(void)
{
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void child_main(const struct key_child *child, int pipes[PIPES][2], pid_t parent)
{
	if (setsid() < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	reset_signals();
	if (dup2(pipes[STDIN_FILENO][READ_END], STDIN_FILENO) < 0 ||
	    dup2(pipes[STDOUT_FILENO][WRITE_END], STDOUT_FILENO) < 0 ||
	    dup2(pipes[STDERR_FILENO][WRITE_END], STDERR_FILENO) < 0 ||
	    close_range(STDERR_FILENO + 1, ~0U, 0) < 0)
		_exit(1);
	_exit(child->run(child->arg));
}

static void close_pipes(int pipes[PIPES][2])
{
	for (int i = 0; i < PIPES; i++) {
		close_fd(&pipes[i][READ_END]);
		close_fd(&pipes[i][WRITE_END]);
	}
}

/* The line fits the pipe, so that nobody waits for the child to read it, or dies when it does not. */
static int open_pipes(int pipes[PIPES][2], const char *input)
{
	const size_t input_bytes = strlen(input);

	for (int i = 0; i < PIPES; i++)
		if (pipe2(pipes[i], O_CLOEXEC) < 0)
			return -errno;
	if (write(pipes[STDIN_FILENO][WRITE_END], input, input_bytes) != (ssize_t)input_bytes)
		return -EIO;
	for (int i = STDOUT_FILENO; i < PIPES; i++)
		if (fcntl(pipes[i][READ_END], F_SETFL, O_NONBLOCK) < 0)
			return -errno;
	return 0;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void take_end(int *from, int *to)
{
	*to = *from;
	*from = -1;
}

static int start(const struct key_child *child, struct watch *watch)
{
	int pipes[PIPES][2] = { { -1, -1 }, { -1, -1 }, { -1, -1 } };
	const pid_t parent = getpid();
	int r = open_pipes(pipes, child->input);

	if (r == 0) {
		watch->pid = fork();
		if (watch->pid == 0)
			child_main(child, pipes, parent);
		r = watch->pid < 0 ? -errno : 0;
	}
	if (r == 0) {
		take_end(&pipes[STDOUT_FILENO][READ_END], &watch->out);
		take_end(&pipes[STDERR_FILENO][READ_END], &watch->err);
		watch->pidfd = pidfd_open(watch->pid, 0);
		r = watch->pidfd < 0 ? -errno : 0;
		watch->deadline_ms = now_ms() + child->deadline_ms;
	}
	close_pipes(pipes);
	return r;
}

/* ---- watching it ---- */

static void take_key(struct watch *watch)
{
	ssize_t n = read(watch->out, watch->raw + watch->nr_bytes, watch->room - watch->nr_bytes);

	if (n > 0)
		watch->nr_bytes += (size_t)n;
	else if (n == 0 || (errno != EINTR && errno != EAGAIN))
		close_fd(&watch->out);
}

/* Keeps the end: a program says last what stopped it. Returns false when there is no more. */
static bool take_said(struct watch *watch)
{
	char piece[SAID_BYTES];
	ssize_t n = read(watch->err, piece, sizeof(piece));
	size_t nr = n > 0 ? (size_t)n : 0;
	size_t kept = watch->nr_said;

	if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
		close_fd(&watch->err);
	if (kept + nr > SAID_BYTES)
		kept = SAID_BYTES - nr;
	memmove(watch->said, watch->said + watch->nr_said - kept, kept);
	memcpy(watch->said + kept, piece, nr);
	watch->nr_said = kept + nr;
	return nr > 0;
}

/* Left unreaped: its number, which is its session's too, is not given to another process. */
static void note_end(struct watch *watch)
{
	siginfo_t info = { 0 };

	if (waitid(P_PID, (id_t)watch->pid, &info, WEXITED | WNOWAIT | WNOHANG) < 0 ||
	    info.si_pid == 0)
		return;
	close_fd(&watch->pidfd);
	watch->status = info.si_code == CLD_EXITED ? W_EXITCODE(info.si_status, 0)
						   : W_EXITCODE(0, info.si_status);
	if (watch->deadline_ms > now_ms() + LINGER_MS)
		watch->deadline_ms = now_ms() + LINGER_MS;
}

/* All of the key is there, or there is no hope of it. */
static bool is_over(const struct watch *watch)
{
	const bool ended = watch->pidfd < 0;

	return watch->nr_bytes == watch->room || (ended && (watch->status != 0 || watch->out < 0));
}

/* Returns 0, -ETIMEDOUT or what poll() said. */
static int follow(struct watch *watch)
{
	while (!is_over(watch)) {
		struct pollfd ends[] = {
			{ .fd = watch->out, .events = POLLIN },
			{ .fd = watch->err, .events = POLLIN },
			{ .fd = watch->pidfd, .events = POLLIN },
		};
		const int64_t left_ms = watch->deadline_ms - now_ms();

		if (left_ms <= 0)
			return -ETIMEDOUT;
		if (poll(ends, ARRAY_LEN(ends), (int)left_ms) < 0 && errno != EINTR)
			return -errno;
		if (ends[0].revents)
			take_key(watch);
		if (ends[1].revents)
			(void)take_said(watch);
		if (ends[2].revents)
			note_end(watch);
	}
	return 0;
}

/* A child that had no time for setsid() is no group's leader yet. */
static void end_all(struct watch *watch)
{
	if (watch->pid <= 0)
		return;
	kill(-watch->pid, SIGKILL);
	kill(watch->pid, SIGKILL);
	while (waitpid(watch->pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* What it said and was not yet read; somebody of another session may go on for ever. */
static void take_rest(struct watch *watch)
{
	for (int i = 0; i < REST_READS && watch->err >= 0 && take_said(watch); i++)
		;
}

/* ---- the reason ---- */

/* As part of one line: lines become one, and the newline at the end goes. */
static void said_to_line(const struct watch *watch, char ret_said[SAID_BYTES + 1])
{
	size_t nr = watch->nr_said;

	while (nr > 0 && (watch->said[nr - 1] == '\n' || watch->said[nr - 1] == '\r'))
		nr--;
	for (size_t i = 0; i < nr; i++)
		ret_said[i] = watch->said[i] == '\n' || watch->said[i] == '\0' ? ' '
									       : watch->said[i];
	ret_said[nr] = '\0';
}

static void describe_end(const struct watch *watch, int r, int deadline_ms, char *text, size_t room)
{
	const bool ended = watch->pidfd < 0;

	if (r == -ETIMEDOUT && ended)
		snprintf(text, room,
			 "has ended, but what it started keeps its standard output open");
	else if (r == -ETIMEDOUT)
		snprintf(text, room, "has given no key within %d s, and was ended",
			 deadline_ms / 1000);
	else if (r < 0)
		snprintf(text, room, "cannot be waited for: %s", strerror(-r));
	else if (WIFSIGNALED(watch->status))
		snprintf(text, room, "was ended by signal %d", WTERMSIG(watch->status));
	else
		snprintf(text, room, "has failed with exit status %d", WEXITSTATUS(watch->status));
}

static void explain(const struct watch *watch, int r, int deadline_ms, char why[KEY_WHY_BYTES])
{
	char said[SAID_BYTES + 1], text[128];

	said_to_line(watch, said);
	describe_end(watch, r, deadline_ms, text, sizeof(text));
	if (!said[0])
		snprintf(why, KEY_WHY_BYTES, "%s", text);
	else if (r == 0 && watch->status == W_EXITCODE(KEY_CHILD_HAS_SAID_WHY, 0))
		snprintf(why, KEY_WHY_BYTES, "%s", said);
	else
		snprintf(why, KEY_WHY_BYTES, "%s, saying: %s", text, said);
}
_Static_assert(KEY_WHY_BYTES > SAID_BYTES + 128 + 16, "all of it fits");

int key_child_read(const struct key_child *child, uint8_t *raw, size_t room,
		   char why[KEY_WHY_BYTES])
{
	struct watch watch = { .pidfd = -1, .out = -1, .err = -1, .raw = raw, .room = room };
	int r = start(child, &watch);

	if (r < 0) {
		end_all(&watch);
		snprintf(why, KEY_WHY_BYTES, "cannot be started: %s", strerror(-r));
	} else {
		r = follow(&watch);
		end_all(&watch);
		take_rest(&watch);
		if (r < 0 || watch.status != 0) {
			explain(&watch, r, child->deadline_ms, why);
			r = r < 0 ? r : -EIO;
		}
	}
	close_fd(&watch.out);
	close_fd(&watch.err);
	close_fd(&watch.pidfd);
	return r < 0 ? r : (int)watch.nr_bytes;
}
