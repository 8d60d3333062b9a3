/* SPDX-License-Identifier: MIT */
/* Listening sockets: unix and TCP. Called at start and stop by the main thread; block. */
#ifndef NET_LISTEN_H
#define NET_LISTEN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/compiler.h"
#include "image/problem.h"

struct listener {
	int fd;
	bool is_tcp;
	const char *unix_path;		/* to remove at stop, or NULL; the caller's */
	dev_t device;			/* the socket file we made, and no other */
	ino_t inode;
};

/*
 * A unix socket at @path. It appears complete: bound under a temporary name,
 * renamed once it listens. One whose server is gone is replaced.
 * Returns 0; -EADDRINUSE: somebody answers there, or it is no socket; or a
 * negative errno. @problem says which.
 */
int MUST_CHECK listen_unix(struct listener *listener, const char *path, struct problem *problem);

/* TCP at "HOST:PORT", "[V6]:PORT" or ":PORT". Returns 0 or a negative errno with *problem. */
int MUST_CHECK listen_tcp(struct listener *listener, const char *host_port,
			  struct problem *problem);

/* Close, and remove the unix socket if it is still ours. */
void listen_close(struct listener *listener);

#endif
