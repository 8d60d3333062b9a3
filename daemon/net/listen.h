/* SPDX-License-Identifier: MIT */
/*
 * Listening sockets: unix and TCP, our own and those that systemd hands over.
 * Called at start and stop by the main thread; block.
 */
#ifndef NET_LISTEN_H
#define NET_LISTEN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/compiler.h"
#include "image/problem.h"
#include "sealblk/limits.h"

struct listener {
	int fd;
	bool is_tcp;
	bool is_loopback;      /* TCP that only this host can reach */
	const char *unix_path; /* to remove at stop, or NULL; the caller's */
	dev_t device;	       /* the socket file we made, and no other */
	ino_t inode;
	char inherited_name[LISTENER_NAME_BYTES_MAX + 1]; /* FileDescriptorName=, or "" */
};

/*
 * A unix socket at @path. It appears complete: bound under a temporary name,
 * renamed once it listens. One whose server is gone is replaced.
 * Blocks for up to LISTEN_WAIT_MS. Returns 0; -EADDRINUSE: somebody answers there;
 * -ENOTSOCK; or another negative errno. @problem says which.
 */
int MUST_CHECK listen_unix(struct listener *listener, const char *path, struct problem *problem);

/* TCP at "HOST:PORT", "[V6]:PORT" or ":PORT". Returns 0 or a negative errno with *problem. */
int MUST_CHECK listen_tcp(struct listener *listener, const char *host_port,
			  struct problem *problem);

/* How many sockets systemd has handed over (sd_listen_fds(3)). */
unsigned int listen_nr_inherited(void);

/*
 * Take them over, whether they are unix, IPv4 or IPv6: sets listeners[0] to
 * listeners[*ret_nr - 1] of @max, and the environment no longer tells of them.
 * Returns 0; -E2BIG: there are more; -ENOTSOCK: one is not a listening stream
 * socket; or a negative errno, each with *problem.
 */
int MUST_CHECK listen_inherited(struct listener *listeners, unsigned int max, unsigned int *ret_nr,
				struct problem *problem);

/* Close, and remove the unix socket if it is still ours. */
void listen_close(struct listener *listener);

#endif
