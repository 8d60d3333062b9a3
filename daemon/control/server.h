/* SPDX-License-Identifier: MIT */
/*
 * The control socket of each image a daemon serves, where the CLI asks what only
 * the daemon knows. docs/control.md is the protocol. One thread accepts, for all
 * images, and each client has a thread of its own, CONTROL_CLIENTS_MAX of them
 * at most; further ones are told so.
 */
#ifndef CONTROL_SERVER_H
#define CONTROL_SERVER_H

#include <jansson.h>
#include <pthread.h>

#include "base/compiler.h"
#include "image/image.h"
#include "image/key_slots.h"
#include "image/problem.h"
#include "image/runtime.h"

enum {
	CONTROL_REQUEST_BYTES_MAX = 4096, /* with its newline */
	CONTROL_WAIT_MS = 5000,		  /* for a request; for a client to take what is sent */
};

struct control;
struct control_events;
struct control_moments;

/*
 * What a client may have done beside reports; on its thread, with @changes held:
 * so one at a time, whatever the image.
 */
struct control_actions {
	pthread_mutex_t *changes;      /* NULL: nobody changes anything */
	struct control_events *events; /* NULL: none, and the verb "events" -EOPNOTSUPP */
	/* As server_switch() in switch.h; -EOPNOTSUPP where it is NULL. */
	int (*switch_plane)(void *arg, struct image *image, enum image_target target,
			    struct problem *problem);
	/* As image_change_keys(); -EOPNOTSUPP where it is NULL. */
	int (*change_keys)(void *arg, struct image *image, const struct key_change *change,
			   struct key_change_result *ret_result, struct problem *problem);
	/* As server_revoke() and server_restore() in revoke.h; -EOPNOTSUPP where they are NULL. */
	int (*revoke)(void *arg, struct image *image, bool *ret_changed, struct problem *problem);
	/* As server_rewrite() in rewrite.h; likewise. */
	int (*rewrite)(void *arg, struct image *image, const struct rewrite_order *order,
		       struct problem *problem);
	int (*restore)(void *arg, struct image *image, const struct key_secret *secret,
		       bool *ret_changed, struct problem *problem);
	/* The answer to the verb "policy": a reference, NULL: no memory; likewise. */
	json_t *(*tell_policy)(void *arg);
	/* The answer to the verb "sockets" about @image: likewise. */
	json_t *(*tell_sockets)(void *arg, const struct image *image);
	/* For the verb "export"; -EOPNOTSUPP where it is NULL. Only begin() is a change. */
	const struct control_moments *moments;
	void *arg;
};

/*
 * Make the sockets of @images (at most EXPORTS_MAX; started, and locked by UUID:
 * whatever stands at a socket's path is stale and is replaced). Clients may connect,
 * and wait for control_run(). Blocks briefly; opening thread only. The
 * images and @actions are borrowed until control_stop(); @images itself is not.
 * Returns 0 and *ret_control, or with *problem -ENOMEM, -ENAMETOOLONG: the
 * runtime directory is too deep for a unix socket, or what the kernel said;
 * nothing is left behind then.
 */
int MUST_CHECK control_new(struct image *const *images, unsigned int nr_images,
			   const struct runtime *runtime, const struct control_actions *actions,
			   struct control **ret_control, struct problem *problem);

/*
 * Start to accept, all threads with all signals blocked. Once. Takes no path and makes
 * no socket: may come after the sandbox. Returns 0, or -EAGAIN: no thread.
 */
int MUST_CHECK control_run(struct control *control);

/*
 * Cut off the clients, end the threads, remove the sockets. Before the images are
 * stopped and their UUID locks given up. Accepts NULL, and what was not run; always
 * returns NULL.
 */
struct control *control_stop(struct control *control);

#endif
