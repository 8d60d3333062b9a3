/* SPDX-License-Identifier: MIT */
/* The daemon behind an attached image: see attach_daemon.h. */
#include "attach_daemon.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "attach_spawn.h"
#include "reach.h"

/* ---- one that is there ---- */

static int take_endpoint(const char *path, const json_t *answer,
			 struct attach_endpoint *ret_endpoint, struct problem *problem)
{
	const json_t *sockets = json_object_get(answer, "unix");
	const char *socket = json_string_value(json_array_get(sockets, 0));
	const char *export = json_string_value(json_object_get(answer, "export"));

	if (!socket || !export || strlen(socket) >= sizeof(ret_endpoint->socket) ||
	    strlen(export) >= sizeof(ret_endpoint->export)) {
		problem_set(problem, "image", path,
			    "its daemon listens at no unix socket: give it a --socket");
		return -EADDRNOTAVAIL;
	}
	snprintf(ret_endpoint->socket, sizeof(ret_endpoint->socket), "%s", socket);
	snprintf(ret_endpoint->export, sizeof(ret_endpoint->export), "%s", export);
	return 1;
}

int attach_daemon_find(const char *path, struct attach_endpoint *ret_endpoint,
		       struct problem *problem)
{
	CLEANUP(reach_done) struct reach reach = { 0 };
	json_t *answer = NULL;
	int r = reach_open(&reach, path, problem);

	if (r < 0 || !reach.daemon)
		return r;
	r = reach_ask(&reach, "sockets", problem);
	if (r == 0)
		r = reach_answer(&reach, &answer, problem);
	if (r == 0)
		r = take_endpoint(path, answer, ret_endpoint, problem);
	json_decref(answer);
	return r;
}

/* ---- one of our own ---- */

int attach_daemon_start(const struct attach_job *job, const char *dm_name, pid_t *ret_pid,
			struct problem *problem)
{
	int r = attach_spawn(job, dm_name, ret_pid, problem);

	if (r < 0)
		attach_place_clear(job->place);
	return r;
}

/* Whoever called listen() there; 0: nobody listens any more. */
pid_t attach_daemon_pid(const struct attach_place *place)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct ucred peer = { 0 };
	socklen_t bytes = sizeof(peer);
	int fd;

	if (strlen(place->socket) >= sizeof(address.sun_path))
		return 0;
	memcpy(address.sun_path, place->socket, strlen(place->socket) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return 0;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) < 0)
		peer.pid = 0;
	close(fd);
	return peer.pid;
}

static int end_process(int pidfd)
{
	struct pollfd ended = { .fd = pidfd, .events = POLLIN };
	int r;

	if (pidfd_send_signal(pidfd, SIGTERM, NULL, 0) < 0)
		return errno == ESRCH ? 0 : -errno;
	/* To close an image means to write what is left of its map: it takes what it takes. */
	do
		r = poll(&ended, 1, -1);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

int attach_daemon_stop(const struct attach_place *place, struct problem *problem)
{
	const pid_t pid = attach_daemon_pid(place);
	int pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;
	int r = 0;

	/* Asked again, now that no other process can become @pid. */
	if (pidfd >= 0 && attach_daemon_pid(place) == pid)
		r = end_process(pidfd);
	if (pidfd >= 0)
		close(pidfd);
	if (r < 0) {
		problem_set(problem, "daemon", place->socket, "cannot be ended: %s", strerror(-r));
		return r;
	}
	attach_place_clear(place);
	return pidfd >= 0 ? 1 : 0;
}
