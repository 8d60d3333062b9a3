/* SPDX-License-Identifier: MIT */
/*
 * Runs a command as systemd runs a service of Type=notify, and prints what it is told, a
 * message a line, newlines as spaces. Ends with the command's exit code.
 *
 *   hear_notify SOCKET COMMAND...
 */
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOK_MS = 50 };

static int listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	unlink(path);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		perror(path);
		exit(2);
	}
	return fd;
}

/* A descriptor that comes along, of a barrier, is closed by not being received. */
static void hear(int fd)
{
	struct pollfd at = { .fd = fd, .events = POLLIN };
	char text[4096];
	ssize_t n;

	while (poll(&at, 1, LOOK_MS) == 1 && (n = recv(fd, text, sizeof(text) - 1, 0)) >= 0) {
		for (ssize_t i = 0; i < n; i++)
			if (text[i] == '\n')
				text[i] = ' ';
		text[n] = 0;
		puts(text);
	}
}

int main(int argc, char **argv)
{
	int fd, status;
	pid_t child;

	if (argc < 3) {
		fprintf(stderr, "usage: hear_notify SOCKET COMMAND...\n");
		return 2;
	}
	fd = listen_at(argv[1]);
	setenv("NOTIFY_SOCKET", argv[1], 1);
	child = fork();
	if (child == 0) {
		execvp(argv[2], argv + 2);
		_exit(127);
	}
	while (waitpid(child, &status, WNOHANG) == 0)
		hear(fd);
	hear(fd);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
