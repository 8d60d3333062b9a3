/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into sealblkd (LD_PRELOAD): does what somebody would who has taken over
 * one of its workers, and says on stderr what came of it. $INTRUDER says what: open
 * or make a file, make a socket or a ring, exec.
 *
 * Workers, which are there when the sandbox has been entered, ask for the time.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int intrude(const char *how)
{
	if (strcmp(how, "open") == 0)
		return open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	if (strcmp(how, "make") == 0)
		return open("intruded", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (strcmp(how, "socket") == 0)
		return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (strcmp(how, "exec") == 0)
		return execl("/bin/echo", "echo", "intruder: runs a program", (char *)NULL);
	if (strcmp(how, "ring") == 0) {
		char params[120] = { 0 };

		return (int)syscall(SYS_io_uring_setup, 4, params);
	}
	abort();
}

int clock_gettime(clockid_t id, struct timespec *ret_time)
{
	static atomic_int tried;
	const char *how = getenv("INTRUDER");
	char line[64];
	int r;

	if (how && syscall(SYS_gettid) != getpid() && atomic_exchange(&tried, 1) == 0) {
		errno = 0;
		r = intrude(how);
		snprintf(line, sizeof(line), "intruder: %s: %s\n", how,
			 r < 0 ? strerror(errno) : "done");
		(void)!write(STDERR_FILENO, line, strlen(line));
	}
	return (int)syscall(SYS_clock_gettime, id, ret_time);
}
