/* SPDX-License-Identifier: MIT */
/*
 * The control sockets, the thread that accepts at them, and a thread for each
 * client: see server.h.
 */
#include "control/server.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "control/client.h"

enum {
	BACKLOG = 128,
	PAUSE_MS = 100, /* after a failed accept(): descriptors may come free */
};

struct control_listener {
	int fd;
	struct image *image;
	struct sockaddr_un address; /* the path to remove */
};

enum seat_state {
	SEAT_FREE,
	SEAT_TAKEN,
	SEAT_OVER, /* its thread is ending, and is to be joined */
};

/* A client and its thread. The accepting thread takes seats and frees them. */
struct control_seat {
	_Atomic int state; /* enum seat_state; the client's thread sets SEAT_OVER */
	pthread_t thread;
	struct image *image;
	struct control_client client; /* of the client's thread, once that runs */
};

struct control {
	struct control_listener *listeners; /* by image */
	unsigned int nr_listeners;
	struct pollfd *fds; /* theirs, and @stop_fd */
	const struct control_actions *actions;
	pthread_t thread; /* accepts */
	bool running;
	int stop_fd;	   /* eventfd: wakes every poll() */
	_Atomic bool stop; /* set before @stop_fd: ends walks */

	struct control_seat seats[CONTROL_CLIENTS_MAX];
};

/* ---- clients ---- */

static void *serve(void *arg)
{
	struct control_seat *seat = arg;

	control_client_serve(&seat->client, seat->image);
	close(seat->client.fd);
	atomic_store(&seat->state, SEAT_OVER);
	return NULL;
}

static void free_seat(struct control_seat *seat)
{
	pthread_join(seat->thread, NULL);
	atomic_store(&seat->state, SEAT_FREE);
}

static struct control_seat *find_seat(struct control *control)
{
	for (unsigned int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct control_seat *seat = &control->seats[i];

		if (atomic_load(&seat->state) == SEAT_OVER)
			free_seat(seat);
		if (atomic_load(&seat->state) == SEAT_FREE)
			return seat;
	}
	return NULL;
}

/* Owns @fd. Nobody waits for a client that is told to go away. */
static void turn_away(int fd, const char *why)
{
	char line[128];
	int n = snprintf(line, sizeof(line), "{\"error\":\"the daemon %s\",\"busy\":true}\n", why);

	(void)send(fd, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

/* Owns @fd. */
static void begin_client(struct control *control, struct image *image, int fd)
{
	struct control_seat *seat = find_seat(control);

	if (!seat) {
		turn_away(fd, "has as many control clients as it takes: try again");
		return;
	}
	seat->image = image;
	seat->client.fd = fd;
	seat->client.stop_fd = control->stop_fd;
	seat->client.stop = &control->stop;
	seat->client.actions = control->actions;
	atomic_store(&seat->state, SEAT_TAKEN);
	if (pthread_create(&seat->thread, NULL, serve, seat) != 0) {
		atomic_store(&seat->state, SEAT_FREE);
		turn_away(fd, "cannot start a thread for one more control client");
	}
}

static void accept_client(struct control *control, const struct control_listener *listener)
{
	struct pollfd stop = { .fd = control->stop_fd, .events = POLLIN };
	int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0) {
		begin_client(control, listener->image, fd);
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
	struct pollfd *fds = control->fds;

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
	struct control_listener *listener = &control->listeners[control->nr_listeners];
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
	free(control->fds);
	free(control->listeners);
	free(control);
}

static struct control *allocate(unsigned int nr_images)
{
	struct control *control = calloc(1, sizeof(*control));

	if (!control)
		return NULL;
	control->stop_fd = -1;
	control->listeners = calloc(nr_images, sizeof(*control->listeners));
	control->fds = calloc(nr_images + 1, sizeof(*control->fds));
	if (!control->listeners || !control->fds) {
		free_control(control);
		return NULL;
	}
	return control;
}

int control_new(struct image *const *images, unsigned int nr_images, const struct runtime *runtime,
		const struct control_actions *actions, struct control **ret_control,
		struct problem *problem)
{
	struct control *control = allocate(nr_images);
	int r = 0;

	if (!control) {
		problem_set(problem, "control sockets in", runtime->directory, "no memory");
		return -ENOMEM;
	}
	control->actions = actions;
	control->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (control->stop_fd < 0) {
		r = -errno;
		problem_set(problem, "control sockets in", runtime->directory,
			    "cannot be served: %s", strerror(-r));
	}
	for (unsigned int i = 0; i < nr_images && r == 0; i++)
		r = add_listener(control, images[i], runtime, problem);
	if (r < 0) {
		free_control(control);
		return r;
	}
	*ret_control = control;
	return 0;
}

/* All threads inherit the mask: a signal is the main thread's to take. */
int control_run(struct control *control)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = -pthread_create(&control->thread, NULL, run, control);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	control->running = r == 0;
	return r;
}

struct control *control_stop(struct control *control)
{
	if (!control)
		return NULL;
	atomic_store(&control->stop, true);
	/* Cannot fail: the counter is far from full. */
	(void)eventfd_write(control->stop_fd, 1);
	if (control->running)
		pthread_join(control->thread, NULL);
	for (unsigned int i = 0; i < CONTROL_CLIENTS_MAX; i++)
		if (atomic_load(&control->seats[i].state) != SEAT_FREE)
			free_seat(&control->seats[i]);
	free_control(control);
	return NULL;
}
