/* SPDX-License-Identifier: MIT */
/* Attempts in the sandbox: each is made by a process of its own that has entered. */
#ifndef UNIT_SANDBOX_ATTEMPT_H
#define UNIT_SANDBOX_ATTEMPT_H

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "sandbox/sandbox.h"
#include "unit/ring/intruder.h"

enum {
	KILLED = 1000,	/* by SIGSYS: beside the errnos */
	NO_ENTRY = 255, /* the sandbox itself could not be entered */
	ABORTED = 1001,
};

/* A runtime directory with a file, and a folder with a socket, beside which lies another file. */
static char place[] = "/tmp/sandbox.XXXXXX";
static const char *const the_sockets[] = { "sockets/s" };
static int a_listener;
static const struct sandbox_plan plan = {
	.folder = "run",
	.sockets = the_sockets,
	.nr_sockets = ARRAY_LEN(the_sockets),
	.listeners = &a_listener,
	.nr_listeners = 1,
};
static int a_socket; /* made before */

static inline void put_file(const char *name)
{
	int fd = open(name, O_WRONLY | O_CREAT, 0600);

	cr_assert_geq(fd, 0);
	close(fd);
}

static inline void set_up(void)
{
	cr_assert_not_null(mkdtemp(place));
	cr_assert_eq(chdir(place), 0);
	cr_assert_eq(mkdir("run", 0700), 0);
	cr_assert_eq(mkdir("sockets", 0700), 0);
	put_file("run/file");
	put_file("sockets/s");
	put_file("outside");
	a_socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_geq(a_socket, 0);
	a_listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(listen(a_listener, 1), 0);
}

static inline void done(void)
{
	static const char *const files[] = { "run/file", "run/new", "sockets/s", "outside" };

	close(a_socket);
	close(a_listener);
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		unlink(files[i]);
	cr_expect_eq(rmdir("run") + rmdir("sockets") + chdir("/") + rmdir(place), 0);
}

static inline int enter(struct sandbox_state *state)
{
	struct problem problem;
	int r = sandbox_enter(&plan, state, &problem);

	if (r < 0)
		fprintf(stderr, "%s\n", problem.text);
	return r;
}

/* Runs in a child; tells by its exit status. */
static inline _Noreturn void attempt(int (*act)(void))
{
	struct sandbox_state state;

	if (enter(&state) < 0)
		_exit(NO_ENTRY);
	errno = 0;
	_exit(act() < 0 ? errno : 0);
}

/* 0: it worked; an errno; KILLED, ABORTED or NO_ENTRY. */
static inline int outcome(int (*act)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		attempt(act);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGSYS ? KILLED : ABORTED;
	return WEXITSTATUS(status);
}

/* Says once what this kernel and this build have. */
static inline struct sandbox_state state_or_skip(void)
{
	struct sandbox_state state = { .left_out = false };
	int pipes[2];
	pid_t pid;

	cr_assert_eq(pipe(pipes), 0);
	pid = fork();
	if (pid == 0)
		_exit(enter(&state) < 0 || write(pipes[1], &state, sizeof(state)) < 0);
	close(pipes[1]);
	cr_assert_eq(read(pipes[0], &state, sizeof(state)), (ssize_t)sizeof(state));
	close(pipes[0]);
	waitpid(pid, NULL, 0);
	if (state.left_out)
		cr_skip("SKIP: a build with a sanitizer has no sandbox\n");
	return state;
}

#endif
