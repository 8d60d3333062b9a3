/* SPDX-License-Identifier: MIT */
/*
 * An image that nobody serves, opened by a tool to change it: like a daemon's
 * session, without clients. Never two at the same image: the exclusive lock and
 * the lock on the UUID see to that.
 */
#ifndef TOOLS_SESSION_H
#define TOOLS_SESSION_H

#include "base/compiler.h"
#include "image/image.h"
#include "image/problem.h"
#include "image/runtime.h"
#include "options.h"

struct session {
	struct ring *ring;
	struct runtime runtime;
	struct key_secret *secret;
	struct image *image;
	int uuid_lock;
};

/*
 * With the key that @options names, of which there must be one. A shared base
 * need not be there. An image that was not closed is recovered first. Blocks.
 * Returns 0; -EBUSY: it is in use; otherwise as image_load(), image_unlock() and
 * image_start(), with *problem. session_done() is due in either case.
 */
int MUST_CHECK session_open(struct session *session, const struct tool_options *options,
			    struct problem *problem);

/* The same with the base, if there is one, held against what was recorded and open. */
int MUST_CHECK session_open_with_base(struct session *session, const struct tool_options *options,
				      struct problem *problem);

/*
 * To read the disk, not to change the image: it is opened read-only with its base. One
 * that was not closed is recovered first, and that does change it.
 */
int MUST_CHECK session_open_to_read(struct session *session, const struct tool_options *options,
				    struct problem *problem);

/* An image without a base that has just been made with @secret, which is the session's from here. */
int MUST_CHECK session_open_new(struct session *session, const char *path,
				struct key_secret *secret, struct problem *problem);

/*
 * Load and unlock only, to change the keyring: no session begins, and what a
 * crash left is left for the next one. @secret stays the caller's.
 */
int MUST_CHECK session_open_keyring(struct session *session, const char *path,
				    const struct key_secret *secret, struct problem *problem);

/*
 * The same for image_mark_revoked(), of an image whose keys may be revoked; the
 * runtime directory is looked up, and need not be there.
 */
int MUST_CHECK session_open_revoked(struct session *session, const char *path,
				    const struct key_secret *secret, struct problem *problem);

/* End it cleanly. Returns 0, or -EIO with *problem: the image stays unclean. */
int MUST_CHECK session_close(struct session *session, struct problem *problem);

/* Of an image that is going to be removed: nothing of it stays in the runtime directory. */
void session_forget(struct session *session);

/* Give everything back; what was not closed is left as a crash would leave it. */
void session_done(struct session *session);

#endif
