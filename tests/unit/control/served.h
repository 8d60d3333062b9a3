/* SPDX-License-Identifier: MIT */
/* An image with a control socket, and its clients. */
#ifndef TESTS_CONTROL_SERVED_H
#define TESTS_CONTROL_SERVED_H

#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

#include "control/server.h"
#include "fixture.h"

static const struct control_actions no_actions;

struct served {
	struct fixture fixture;
	struct runtime runtime;
	struct control *control;
	struct sockaddr_un address;
};

static inline void set_up_with(struct served *served, const struct control_actions *actions)
{
	struct problem problem;

	fixture_set_up(&served->fixture);
	served->runtime = (struct runtime){ 0 };
	strcpy(served->runtime.directory, served->fixture.folder);
	served->address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	cr_assert_eq(runtime_socket_path(&served->runtime, served->fixture.image->super.uuid,
					 served->address.sun_path,
					 sizeof(served->address.sun_path)),
		     0);
	cr_assert_eq(control_new(&served->fixture.image, 1, &served->runtime, actions,
				 &served->control, &problem),
		     0, "%s", problem.text);
	cr_assert_eq(control_run(served->control), 0);
}

static inline void set_up(struct served *served)
{
	set_up_with(served, &no_actions);
}

/* fixture_done() finds it when something is left behind. */
static inline void done(struct served *served)
{
	cr_expect_null(control_stop(served->control));
	fixture_done(&served->fixture);
}

static inline int call(const struct served *served)
{
	const struct timeval patience = { .tv_sec = 20 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_geq(fd, 0);
	cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	cr_assert_eq(
		connect(fd, (const struct sockaddr *)&served->address, sizeof(served->address)), 0);
	return fd;
}

static char answer[1 << 20];

/* Until the server closes the connection, or, to a client that is talking, resets it. */
static inline ssize_t hear_to(int fd)
{
	size_t nr = 0;
	ssize_t n;

	while ((n = recv(fd, answer + nr, sizeof(answer) - 1 - nr, 0)) > 0)
		nr += (size_t)n;
	answer[nr] = '\0';
	close(fd);
	return n;
}

static inline const char *hear(int fd)
{
	cr_assert_eq(hear_to(fd), 0, "%s", strerror(errno));
	return answer;
}

static inline const char *hear_any(int fd)
{
	(void)hear_to(fd);
	return answer;
}

static inline const char *ask(const struct served *served, const char *request)
{
	int fd = call(served);

	cr_assert_eq(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
	return hear(fd);
}

/* A disk of which every other sector is sealed: its map is longer than a socket holds. */
static inline void make_map_long(struct served *served)
{
	uint8_t body[SEAL_BLOCK_BODY_BYTES];

	memset(body, SEAL_ENTRY_ZERO << 4 | SEAL_ENTRY_PLANE_FIRST, sizeof(body));
	map_install(&served->fixture.image->disk.map, 0, body, 0);
}

static inline double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

#endif
