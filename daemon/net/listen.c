/* SPDX-License-Identifier: MIT */
/* Listening sockets: see listen.h. */
#include "net/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

enum {
	BACKLOG = 128,
	PAUSE_MS = 20, /* between two looks at a socket that answers */
};

static int fill_address(struct sockaddr_un *address, const char *path, const char *suffix)
{
	int n;

	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	n = snprintf(address->sun_path, sizeof(address->sun_path), "%s%s", path, suffix);
	return n < 0 || (size_t)n >= sizeof(address->sun_path) ? -ENAMETOOLONG : 0;
}

/* 0: nothing there, or a socket whose server is gone. */
static int check_place(const char *path)
{
	struct sockaddr_un address;
	struct stat st;
	int fd, r;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	r = fill_address(&address, path, "");
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	r = connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 && errno == ECONNREFUSED
		    ? 0
		    : -EADDRINUSE;
	close(fd);
	return r;
}

/* A server that was killed may still be heard of: its ring ends a moment after it. */
static int wait_for_place(const char *path)
{
	const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000 };
	int r = check_place(path);

	for (int ms = 0; r == -EADDRINUSE && ms < LISTEN_WAIT_MS; ms += PAUSE_MS) {
		nanosleep(&pause, NULL);
		r = check_place(path);
	}
	return r;
}

static int bind_and_rename(struct listener *listener, const char *path)
{
	struct sockaddr_un address;
	struct stat st;
	int r = fill_address(&address, path, ".new");

	if (r < 0)
		return r;
	unlink(address.sun_path);
	if (bind(listener->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	if (listen(listener->fd, BACKLOG) < 0 || stat(address.sun_path, &st) < 0 ||
	    rename(address.sun_path, path) < 0) {
		r = -errno;
		unlink(address.sun_path);
		return r;
	}
	listener->unix_path = path;
	listener->device = st.st_dev;
	listener->inode = st.st_ino;
	return 0;
}

int listen_unix(struct listener *listener, const char *path, struct problem *problem)
{
	int r = wait_for_place(path);

	*listener = (struct listener){ .fd = -1 };
	if (r == 0) {
		listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		r = listener->fd < 0 ? -errno : bind_and_rename(listener, path);
	}
	if (r == 0)
		return 0;
	if (r == -EADDRINUSE || r == -ENOTSOCK)
		problem_set(problem, "socket", path,
			    "in use by another server, or not a socket; choose another path");
	else if (r == -ENAMETOOLONG)
		problem_set(problem, "socket", path,
			    "longer than a socket path may be (103 bytes)");
	else
		problem_set(problem, "socket", path, "cannot listen: %s", strerror(-r));
	listen_close(listener);
	return r;
}

/* getaddrinfo() takes 70000 for 4464, and names from /etc/services. */
static bool is_port(const char *text)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);

	return *text >= '0' && *text <= '9' && !*end && port >= 1 && port <= UINT16_MAX;
}

static int split_host_port(const char *host_port, char *host, size_t host_bytes, const char **port)
{
	const char *colon = strrchr(host_port, ':');
	size_t length;

	if (!colon || !is_port(colon + 1))
		return -EINVAL;
	*port = colon + 1;
	if (host_port[0] == '[' && colon > host_port && colon[-1] == ']') {
		host_port++;
		length = (size_t)(colon - 1 - host_port);
	} else {
		length = (size_t)(colon - host_port);
	}
	if (length >= host_bytes)
		return -ENAMETOOLONG;
	memcpy(host, host_port, length);
	host[length] = '\0';
	return 0;
}

/* Is @fd, a TCP socket, bound to an address of this host's own? */
static bool is_loopback(int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} address = { 0 };
	socklen_t bytes = sizeof(address);

	if (getsockname(fd, &address.any, &bytes) < 0)
		return false;
	if (address.any.sa_family == AF_INET)
		return ntohl(address.v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return IN6_IS_ADDR_LOOPBACK(&address.v6.sin6_addr) ||
	       (IN6_IS_ADDR_V4MAPPED(&address.v6.sin6_addr) &&
		address.v6.sin6_addr.s6_addr[12] == IN_LOOPBACKNET);
}

static int listen_at(struct listener *listener, const struct addrinfo *at)
{
	const int on = 1;

	listener->fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
			      at->ai_protocol);
	if (listener->fd < 0)
		return -errno;
	if (setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(listener->fd, at->ai_addr, at->ai_addrlen) < 0 ||
	    listen(listener->fd, BACKLOG) < 0)
		return -errno;
	listener->is_loopback = is_loopback(listener->fd);
	return 0;
}

int listen_tcp(struct listener *listener, const char *host_port, struct problem *problem)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
	struct addrinfo *found = NULL;
	char host[256];
	const char *port = NULL;
	int r = split_host_port(host_port, host, sizeof(host), &port);

	*listener = (struct listener){ .fd = -1, .is_tcp = true };
	if (r < 0) {
		problem_set(problem, "address", host_port,
			    "is not HOST:PORT, with a port from 1 to 65535");
		return r;
	}
	r = getaddrinfo(host[0] ? host : NULL, port, &hints, &found);
	if (r != 0) {
		problem_set(problem, "address", host_port, "%s", gai_strerror(r));
		return -EADDRNOTAVAIL;
	}
	r = listen_at(listener, found);
	freeaddrinfo(found);
	if (r < 0) {
		problem_set(problem, "address", host_port, "cannot listen: %s", strerror(-r));
		listen_close(listener);
	}
	return r;
}

unsigned int listen_nr_inherited(void)
{
	int nr = sd_listen_fds(0);

	return nr > 0 ? (unsigned int)nr : 0;
}

static int adopt(struct listener *listener, int fd, const char *name, struct problem *problem)
{
	bool is_unix = sd_is_socket(fd, AF_UNIX, SOCK_STREAM, 1) > 0;
	bool is_tcp = sd_is_socket(fd, AF_INET, SOCK_STREAM, 1) > 0 ||
		      sd_is_socket(fd, AF_INET6, SOCK_STREAM, 1) > 0;

	if (!is_unix && !is_tcp) {
		problem_set(problem, "inherited socket", name,
			    "not a listening stream socket of unix, IPv4 or IPv6 (Accept=no)");
		return -ENOTSOCK;
	}
	/* A daemon that ends may accept there as well: nobody may wait for what it took. */
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) {
		problem_set(problem, "inherited socket", name, "%s", strerror(errno));
		return -EINVAL;
	}
	*listener = (struct listener){
		.fd = fd,
		.is_tcp = is_tcp,
		.is_loopback = is_tcp && is_loopback(fd),
	};
	snprintf(listener->inherited_name, sizeof(listener->inherited_name), "%s", name);
	return 0;
}

int listen_inherited(struct listener *listeners, unsigned int max, unsigned int *ret_nr,
		     struct problem *problem)
{
	char **names = NULL;
	int nr = sd_listen_fds_with_names(1, &names);
	int r = nr < 0 ? nr : 0;

	if (r < 0)
		problem_set(problem, "inherited socket", "?", "%s", strerror(-r));
	if (nr > (int)max) {
		problem_set(problem, "inherited socket", names[max], "one too many");
		r = -E2BIG;
	}
	for (int i = 0; i < nr && r == 0; i++)
		r = adopt(&listeners[i], SD_LISTEN_FDS_START + i, names[i], problem);
	for (int i = 0; i < nr; i++)
		free(names[i]);
	free(names);
	if (r == 0)
		*ret_nr = (unsigned int)nr;
	return r;
}

void listen_close(struct listener *listener)
{
	struct stat st;

	if (listener->fd >= 0)
		close(listener->fd);
	listener->fd = -1;
	if (listener->unix_path && lstat(listener->unix_path, &st) == 0 &&
	    st.st_dev == listener->device && st.st_ino == listener->inode)
		unlink(listener->unix_path);
	listener->unix_path = NULL;
}
