/* SPDX-License-Identifier: MIT */
/*
 * The control socket of each image a daemon serves, where the CLI asks what only
 * the daemon knows. One thread accepts, for all images, and each client has a
 * thread of its own, CONTROL_CLIENTS_MAX of them at most; further ones are told so.
 *
 * A client of the same user, or root, connects to runtime_socket_path(), sends
 * one line of JSON, at most CONTROL_REQUEST_BYTES_MAX, reads until the end:
 *
 *   {"verb":"info"}   one line: the object of report_info_json()
 *   {"verb":"map"}    a line per extent {"offset_bytes":N,"length_bytes":N,
 *                     "state":"sealed"}, in order; then the line {"end":true}
 *   {"verb":"encryption"}                    one line: the object "encryption" of
 *   {"verb":"encryption","enabled":BOOL}     info, here after it was switched
 *
 *   {"verb":"keys"}   one line: the object of report_keys_json()
 *   {"verb":"key-remove","slot":N,"destroy_data":BOOL}
 *   {"verb":"key-add"}      one line: struct key_change_result as an object; before
 *   {"verb":"key-rotate"}   it, {"send":2}: now the client sends two secrets, the
 *                     one that opens the image and the new one
 *   {"verb":"key-revoke"}    one line: {"changed":BOOL}; of a restore, before it,
 *   {"verb":"key-restore"}   {"send":1}: now the client sends a secret that opens it
 *
 * A secret is a struct key_secret, all of it, as both programs have it. It goes
 * through the socket and not as the path of a file for the daemon to read: so
 * the client reads it as itself and from where it is (a pipe, a terminal, a
 * folder that the daemon cannot see), and nobody's slow pipe holds the daemon up.
 * It is no JSON, and comes only when the daemon has read the whole request,
 * because on this way it goes from the client's key memory to the daemon's with
 * nothing but the kernel's socket buffer, which is never swapped out, in between.
 *
 * The line {"error":"..."} instead, or in the middle of a map: it failed, and the
 * text, which names the image, is for the user; with "key_rejected":true when the
 * key was wrong. An answer without its last line was cut short.
 */
#ifndef CONTROL_SERVER_H
#define CONTROL_SERVER_H

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
	void *arg;
};

/*
 * Make the sockets of @images (at most EXPORTS_MAX; started, and locked by UUID:
 * whatever stands at a socket's path is stale and is replaced) and start to
 * accept, all threads with all signals blocked. Blocks briefly; opening thread only. The
 * images and @actions are borrowed until control_stop(); @images itself is not.
 * Returns 0 and *ret_control, or with *problem -ENOMEM, -ENAMETOOLONG: the
 * runtime directory is too deep for a unix socket, or what the kernel said;
 * nothing is left behind then.
 */
int MUST_CHECK control_start(struct image *const *images, unsigned int nr_images,
			     const struct runtime *runtime, const struct control_actions *actions,
			     struct control **ret_control, struct problem *problem);

/*
 * Cut off the clients, end the threads, remove the sockets. Before the images are
 * stopped and their UUID locks given up. Accepts NULL; always returns NULL.
 */
struct control *control_stop(struct control *control);

#endif
