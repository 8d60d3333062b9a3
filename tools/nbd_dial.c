/* SPDX-License-Identifier: MIT */
/* Connecting to an NBD server: see nbd_dial.h. */
#include "nbd_dial.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATIENCE_S = 10 };

static int set_patience(int fd, time_t seconds)
{
	const struct timeval patience = { .tv_sec = seconds };

	return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ? -errno
											: 0;
}

static int connect_to(const char *path, int *ret_fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, r = 0;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		r = -errno;
	if (r == 0)
		r = set_patience(fd, PATIENCE_S);
	if (r < 0)
		close(fd);
	else
		*ret_fd = fd;
	return r;
}

static int receive(int fd, uint8_t *bytes, size_t nr_bytes)
{
	ssize_t n = recv(fd, bytes, nr_bytes, MSG_WAITALL);

	if (n < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	return (size_t)n == nr_bytes ? 0 : -ECONNRESET;
}

static int feed_next(struct nbdc *client, int fd)
{
	uint8_t bytes[NBDC_FEED_BYTES_MAX];
	int r = receive(fd, bytes, client->wanted_bytes);

	return r == 0 ? nbdc_feed(client, bytes) : r;
}

static int shake_hands(int fd, const char *name, struct nbdc *client)
{
	uint8_t go[NBDC_GO_BYTES_MAX];
	size_t go_bytes;
	int r;

	nbdc_begin(client);
	r = feed_next(client, fd);
	if (r < 0)
		return r;
	go_bytes = nbdc_encode_go(name, go);
	if (send(fd, go, go_bytes, MSG_NOSIGNAL) != (ssize_t)go_bytes)
		return -EPIPE;
	while (r == 0 && client->wanted_bytes > 0)
		r = feed_next(client, fd);
	/* The kernel would take silence on an idle disk for the end of the connection. */
	return r == 0 ? set_patience(fd, 0) : r;
}

static const char *error_text(int error)
{
	switch (error) {
	case -EPROTO:
		return "it does not speak the NBD protocol";
	case -EOPNOTSUPP:
		return "it does not know NBD_OPT_GO, or wants blocks that no disk has";
	case -EACCES:
		return "it wants TLS, which the kernel's client does not speak, or its policy "
		       "refuses";
	case -ENOENT:
		return "it does not know the export";
	default:
		return strerror(-error);
	}
}

int nbd_dial(const char *path, const char *name, int *ret_fd, struct nbdc_export *ret_export,
	     struct problem *problem)
{
	struct nbdc client;
	int fd = -1;
	int r = connect_to(path, &fd);

	if (r < 0) {
		problem_set(problem, "NBD server", path, "cannot be reached: %s", strerror(-r));
		return r;
	}
	r = shake_hands(fd, name, &client);
	if (r < 0) {
		problem_set(problem, "NBD server", path, "no connection: %s", error_text(r));
		close(fd);
		return r;
	}
	*ret_fd = fd;
	*ret_export = client.export;
	return 0;
}
