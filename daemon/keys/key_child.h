/* SPDX-License-Identifier: MIT */
/*
 * A process that finds a key out and prints it: what runs in it, be it somebody
 * else's program or library, never shares memory with keys, and is ended by force
 * when it takes too long.
 */
#ifndef KEYS_KEY_CHILD_H
#define KEYS_KEY_CHILD_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "keys/key_source.h"

/* The exit status that says: why there is no key stands on stderr, and needs no comment. */
enum { KEY_CHILD_HAS_SAID_WHY = 125 };

struct key_child {
	/*
	 * Runs in the child: standard input, output and error are pipes, nothing
	 * else is open, signals are as at the start of a program. Returns the exit
	 * status; 0: the key has been written to standard output, whole.
	 */
	int (*run)(const void *arg);
	const void *arg;
	const char *input; /* what the child may read: a line; shorter than PIPE_BUF */
	int deadline_ms;
};

/*
 * Fork, and read what the child prints. Call while there is one thread, which
 * blocks until the child has ended or @deadline_ms are over. Nothing of its
 * session (setsid()) lives on.
 * @raw: key memory for @room bytes, of which one may be more than a key has: it
 * is then filled up, and what else there was is lost.
 * Returns the number of bytes, or with @why -ETIMEDOUT, also when it has ended but
 * what it started holds its output open; -EIO: it failed or was ended; or what
 * pipe(), fork() and the like said.
 */
int MUST_CHECK key_child_read(const struct key_child *child, uint8_t *raw, size_t room,
			      char why[KEY_WHY_BYTES]);

#endif
