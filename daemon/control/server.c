/* SPDX-License-Identifier: MIT */
/*
 * The control socket: see server.h.
 *
 * accept -> judge_peer -> receive_request -> answer_VERB -> out_flush -> close
 *
 * Every wait is a poll() that control_stop() can end.
 */
#include "control/server.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "control/report.h"

enum {
	OUT_BYTES = 16 << 10, /* gathered into one send */
	OUT_LINE_BYTES = 256, /* the longest line of a map */
	BACKLOG = 16,
	PAUSE_MS = 100, /* after a failed accept(): descriptors may come free */
};

struct listener {
	int fd;
	struct image *image;
	struct sockaddr_un address; /* the path to remove */
};

struct control {
	struct listener listeners[EXPORTS_MAX];
	unsigned int nr_listeners;
	pthread_t thread;
	int stop_fd;	    /* eventfd: wakes poll() */
	_Atomic bool stop; /* set before @stop_fd: ends walks */

	/* Below: the thread's alone. */
	struct ring *ring;
	int client_fd;
	size_t nr_out;
	char out[OUT_BYTES];
};

/* ---- talking to the client ---- */

/* Until the client is ready for @events. 0, -ECANCELED: stopping; -ETIMEDOUT, or an errno. */
static int wait_client(struct control *control, short events)
{
	struct pollfd fds[2] = {
		{ .fd = control->client_fd, .events = events },
		{ .fd = control->stop_fd, .events = POLLIN },
	};
	int r;

	do
		r = poll(fds, 2, CONTROL_WAIT_MS);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	if (fds[1].revents)
		return -ECANCELED;
	return r == 0 ? -ETIMEDOUT : 0;
}

static int out_flush(struct control *control)
{
	size_t sent = 0;

	while (sent < control->nr_out) {
		ssize_t n = send(control->client_fd, control->out + sent, control->nr_out - sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);
		int r = 0;

		if (n >= 0)
			sent += (size_t)n;
		else if (errno == EAGAIN)
			r = wait_client(control, POLLOUT);
		else if (errno != EINTR)
			r = -errno;
		if (r < 0)
			return r;
	}
	control->nr_out = 0;
	return 0;
}

static int out_bytes(struct control *control, const char *bytes, size_t nr_bytes)
{
	while (nr_bytes > 0) {
		size_t room = sizeof(control->out) - control->nr_out;
		size_t part = nr_bytes < room ? nr_bytes : room;
		int r = 0;

		memcpy(control->out + control->nr_out, bytes, part);
		control->nr_out += part;
		bytes += part;
		nr_bytes -= part;
		if (control->nr_out == sizeof(control->out))
			r = out_flush(control);
		if (r < 0)
			return r;
	}
	return 0;
}

PRINTF_LIKE(2, 3) static int out_line(struct control *control, const char *fmt, ...)
{
	char line[OUT_LINE_BYTES];
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	return n < 0 || (size_t)n >= sizeof(line) ? -EINVAL : out_bytes(control, line, (size_t)n);
}

/* ---- answers ---- */

static int write_json(const char *bytes, size_t nr_bytes, void *control)
{
	return out_bytes(control, bytes, nr_bytes);
}

static int answer_info(struct control *control, const struct report *report)
{
	json_t *info;
	int r = report_info_json(report, NULL, &info);

	if (r < 0)
		return r;
	r = json_dump_callback(info, write_json, control, JSON_COMPACT) < 0 ? -EIO : 0;
	json_decref(info);
	return r == 0 ? out_line(control, "\n") : r;
}

static int answer_extent(void *arg, uint64_t first_sector, uint64_t nr_sectors,
			 enum report_state state)
{
	return out_line(arg,
			"{\"offset_bytes\":%" PRIu64 ",\"length_bytes\":%" PRIu64
			",\"state\":\"%s\"}\n",
			sectors_to_bytes(first_sector), sectors_to_bytes(nr_sectors),
			report_state_name(state));
}

static int answer_map(struct control *control, const struct report *report)
{
	int r = report_walk(report, answer_extent, control);

	return r == 0 ? out_line(control, "{\"end\":true}\n") : r;
}

static const struct {
	const char *verb;
	int (*answer)(struct control *control, const struct report *report);
} verbs[] = {
	{ "info", answer_info },
	{ "map", answer_map },
};

static int answer(struct control *control, struct image *image, const char *verb)
{
	struct report report = {
		.image = image,
		.ring = control->ring,
		.live = true,
		.stop = &control->stop,
	};

	for (size_t i = 0; verb && i < ARRAY_LEN(verbs); i++)
		if (strcmp(verb, verbs[i].verb) == 0)
			return verbs[i].answer(control, &report);
	return -EBADRQC;
}

/* ---- one client ---- */

static bool is_allowed(int fd)
{
	struct ucred peer;
	socklen_t bytes = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) < 0)
		return false;
	return peer.uid == 0 || peer.uid == geteuid();
}

/* Reads up to the newline. Returns the bytes before it; -EMSGSIZE: too many; -EPIPE: none came. */
static int receive_line(struct control *control, char line[CONTROL_REQUEST_BYTES_MAX])
{
	size_t nr = 0;

	while (nr < CONTROL_REQUEST_BYTES_MAX) {
		int r = wait_client(control, POLLIN);
		const char *newline;
		ssize_t n;

		if (r < 0)
			return r;
		n = recv(control->client_fd, line + nr, CONTROL_REQUEST_BYTES_MAX - nr,
			 MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EPIPE;
		newline = memchr(line + nr, '\n', (size_t)n);
		if (newline)
			return (int)(newline - line);
		nr += (size_t)n;
	}
	return -EMSGSIZE;
}

static int receive_request(struct control *control, json_t **ret_request)
{
	char line[CONTROL_REQUEST_BYTES_MAX];
	int nr = receive_line(control, line);
	json_t *request;

	if (nr < 0)
		return nr;
	request = json_loadb(line, (size_t)nr, JSON_REJECT_DUPLICATES, NULL);
	if (!request)
		return -EBADMSG;
	*ret_request = request;
	return 0;
}

static const char *error_text(int error)
{
	switch (error) {
	case -EBADRQC:
		return "this daemon does not know the request";
	case -EBADMSG:
		return "the request is not JSON";
	case -EMSGSIZE:
		return "the request is too long";
	case -EPERM:
		return "only the daemon's user and root may ask";
	default:
		return strerror(-error);
	}
}

static void serve_client(struct control *control, struct image *image)
{
	json_t *request = NULL;
	int r = is_allowed(control->client_fd) ? 0 : -EPERM;

	control->nr_out = 0;
	if (r == 0)
		r = receive_request(control, &request);
	if (r == 0)
		r = answer(control, image, json_string_value(json_object_get(request, "verb")));
	json_decref(request);
	/* To a client that is gone or slow there is nothing to say. */
	if (r < 0 && r != -ECANCELED && r != -ETIMEDOUT && r != -EPIPE && r != -ECONNRESET)
		r = out_line(control, "{\"error\":\"%s\"}\n", error_text(r));
	if (r == 0)
		r = out_flush(control);
	if (r < 0)
		log_line(LOG_LEVEL_DEBUG, "control: image %s: client cut off: %s", image->path,
			 strerror(-r));
}

static void accept_client(struct control *control, const struct listener *listener)
{
	struct pollfd stop = { .fd = control->stop_fd, .events = POLLIN };

	control->client_fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
	if (control->client_fd >= 0) {
		serve_client(control, listener->image);
		close(control->client_fd);
	} else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		log_line(LOG_LEVEL_WARNING, "control: image %s: accept: %s", listener->image->path,
			 strerror(errno));
		(void)poll(&stop, 1, PAUSE_MS);
	}
}

static void *run(void *arg)
{
	struct control *control = arg;
	unsigned int nr = control->nr_listeners;
	struct pollfd fds[EXPORTS_MAX + 1];

	for (unsigned int i = 0; i < nr; i++)
		fds[i] = (struct pollfd){ .fd = control->listeners[i].fd, .events = POLLIN };
	fds[nr] = (struct pollfd){ .fd = control->stop_fd, .events = POLLIN };
	while (!atomic_load(&control->stop)) {
		if (poll(fds, nr + 1, -1) < 0)
			continue;
		for (unsigned int i = 0; i < nr; i++)
			if (fds[i].revents)
				accept_client(control, &control->listeners[i]);
	}
	return NULL;
}

/* ---- starting and stopping ---- */

/* Complete before it has its name: whoever finds it can connect. */
static int listen_at(const struct sockaddr_un *address, int *ret_fd)
{
	struct sockaddr_un temporary = { .sun_family = AF_UNIX };
	int n = snprintf(temporary.sun_path, sizeof(temporary.sun_path), "%s.new",
			 address->sun_path);
	int fd, r;

	if (n < 0 || (size_t)n >= sizeof(temporary.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	unlink(temporary.sun_path);
	if (bind(fd, (const struct sockaddr *)&temporary, sizeof(temporary)) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	if (chmod(temporary.sun_path, 0600) < 0 || listen(fd, BACKLOG) < 0 ||
	    rename(temporary.sun_path, address->sun_path) < 0) {
		r = -errno;
		unlink(temporary.sun_path);
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

static int add_listener(struct control *control, struct image *image, const struct runtime *runtime,
			struct problem *problem)
{
	struct listener *listener = &control->listeners[control->nr_listeners];
	int r;

	listener->image = image;
	listener->address.sun_family = AF_UNIX;
	r = runtime_socket_path(runtime, image->super.uuid, listener->address.sun_path,
				sizeof(listener->address.sun_path));
	if (r == 0)
		r = listen_at(&listener->address, &listener->fd);
	if (r < 0) {
		problem_set(problem, "control socket in", runtime->directory, "%s",
			    r == -ENAMETOOLONG ? "the folder's path is too long for a unix socket"
					       : strerror(-r));
		return r;
	}
	control->nr_listeners++;
	return 0;
}

static void free_control(struct control *control)
{
	for (unsigned int i = 0; i < control->nr_listeners; i++) {
		unlink(control->listeners[i].address.sun_path);
		close(control->listeners[i].fd);
	}
	if (control->stop_fd >= 0)
		close(control->stop_fd);
	ring_free(control->ring);
	free(control);
}

/* The thread inherits the mask: a signal is the main thread's to take. */
static int start_thread(struct control *control)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = -pthread_create(&control->thread, NULL, run, control);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

static int set_up(struct control *control)
{
	int r = ring_sync_new(&control->ring);

	if (r < 0)
		return r;
	control->stop_fd = eventfd(0, EFD_CLOEXEC);
	return control->stop_fd < 0 ? -errno : start_thread(control);
}

int control_start(struct image *const *images, unsigned int nr_images,
		  const struct runtime *runtime, struct control **ret_control,
		  struct problem *problem)
{
	struct control *control = calloc(1, sizeof(*control));
	int r = 0;

	if (!control) {
		problem_set(problem, "control sockets in", runtime->directory, "no memory");
		return -ENOMEM;
	}
	control->stop_fd = -1;
	for (unsigned int i = 0; i < nr_images && r == 0; i++)
		r = add_listener(control, images[i], runtime, problem);
	if (r == 0) {
		r = set_up(control);
		if (r < 0)
			problem_set(problem, "control sockets in", runtime->directory,
				    "cannot be served: %s", strerror(-r));
	}
	if (r < 0) {
		free_control(control);
		return r;
	}
	*ret_control = control;
	return 0;
}

struct control *control_stop(struct control *control)
{
	if (!control)
		return NULL;
	atomic_store(&control->stop, true);
	/* Cannot fail: the counter is far from full. */
	(void)eventfd_write(control->stop_fd, 1);
	pthread_join(control->thread, NULL);
	free_control(control);
	return NULL;
}
