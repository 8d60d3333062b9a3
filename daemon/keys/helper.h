/* SPDX-License-Identifier: MIT */
/*
 * The helper: a small process that opens files and reads keys for the daemon,
 * which after its start is shut into a sandbox and can do neither. What others
 * wrote and a key needs, commands and tokens' modules, runs below it.
 *
 * One thread of the caller uses a struct helper; each call blocks until the
 * helper has answered (a key read from a pipe waits for the pipe's writer, one from
 * a command for KEY_DEADLINE_MS at most).
 * Requests and replies are structs of fixed size over a SOCK_SEQPACKET pair,
 * judged at both ends; descriptors travel as SCM_RIGHTS.
 */
#ifndef KEYS_HELPER_H
#define KEYS_HELPER_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/compiler.h"
#include "keys/key_source.h"

enum { HELPER_READABLE_MAX = 8 };

struct helper {
	int fd;	   /* our end of the socket pair */
	pid_t pid; /* 0: not running; -1: it has ended by itself */
};

/*
 * Fork the helper. Call on the main thread while it is the only one, before any
 * sandbox and after key_mem_harden_process(), which the helper inherits as it
 * does the working directory and the open files. It ends when @helper's socket
 * closes or the caller's process dies; signals to the process group do not end it.
 * Returns 0, or what socketpair() and fork() said; @helper is then untouched.
 */
int MUST_CHECK helper_start(struct helper *helper);

/*
 * open() in the helper. @path: relative ones start at the working directory of
 * helper_start()'s caller. @flags: O_RDONLY or O_RDWR, with O_CLOEXEC and
 * O_DIRECT, O_DIRECTORY or O_NONBLOCK if wanted; nothing is created or truncated. *ret_fd is the caller's,
 * close-on-exec always.
 * Returns 0; -EINVAL: other flags, or an empty path; -ENAMETOOLONG: no room for
 * it in PATH_BYTES_MAX; -EPIPE: the helper is gone; -EPROTO: its answer makes no
 * sense; otherwise what open() said.
 */
int MUST_CHECK helper_open(struct helper *helper, const char *path, int flags, int *ret_fd);

/*
 * All of the regular file @path, *ret_nr bytes of @bytes_max at most; @bytes has room for
 * one more, which is NUL. Errors: those of helper_open() and read(); -EISDIR; -EINVAL: it
 * is something else than a file; -EFBIG. @bytes is then unspecified.
 */
int MUST_CHECK helper_read_file(struct helper *helper, const char *path, void *bytes,
				size_t bytes_max, size_t *ret_nr);

/*
 * key_source_read() in the helper, with its results, errors and @why, and -EINVAL,
 * -ENAMETOOLONG, -EPIPE, -EPROTO as helper_open(). *ret_secret: key_mem_free() it.
 */
int MUST_CHECK helper_read_key(struct helper *helper, const struct key_source *source,
			       const struct key_wanted *wanted, struct key_secret **ret_secret,
			       char why[KEY_WHY_BYTES]);

/*
 * Could @path be opened for reading? As helper_open() with O_NONBLOCK, but no
 * descriptor comes: a locked helper does this, too.
 */
int MUST_CHECK helper_probe(struct helper *helper, const char *path);

/*
 * Before helper_lock(): @path will be needed again. Returns 0, -E2BIG after
 * HELPER_READABLE_MAX of them, or as helper_open() for a helper that fails.
 */
int MUST_CHECK helper_keep_readable(struct helper *helper, const char *path);

/*
 * From here on, for good, whoever speaks for the daemon gets only: what has been kept
 * readable, whatever is there when asked, opened O_RDONLY; folders, likewise; probes.
 * All else answers -EPERM: no keys, so no commands, and nothing to write to. The helper
 * enters its own sandbox. Returns 0, as helper_open() for a helper that fails, or what
 * sandbox_enter_helper() said there.
 */
int MUST_CHECK helper_lock(struct helper *helper);

/*
 * Has the helper ended by itself, or been killed? Says so once, then no more;
 * calls answer -EPIPE from then on. Does not block. A SIGCHLD tells when to ask.
 */
bool MUST_CHECK helper_has_ended(struct helper *helper);

/* Let the helper end and wait for it. Accepts a zeroed struct, and leaves one. */
void helper_stop(struct helper *helper);

#endif
