/* SPDX-License-Identifier: MIT */
/* Inside control/: one conversation over the control socket, as docs/control.md tells it. */
#ifndef CONTROL_CLIENT_H
#define CONTROL_CLIENT_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "image/image.h"
#include "ring/ring.h"

struct control_actions;
struct report;

enum { CONTROL_OUT_BYTES = 16 << 10 }; /* gathered into one send */

struct control_client {
	int fd;	     /* the client's; blocking or not */
	int stop_fd; /* readable: end at once */
	const struct control_actions *actions;
	const _Atomic bool *stop; /* set before @stop_fd is readable: ends walks */
	struct ring *ring;	  /* for reports; control_client_serve()'s */
	json_t *request;	  /* being answered */
	struct problem problem;
	size_t nr_out;
	char out[CONTROL_OUT_BYTES];
};

/*
 * Hear one request about @image and answer it. The caller closes @fd. Blocks,
 * for CONTROL_WAIT_MS at a time on the client. Failures are the client's, and
 * end in the debug log. Several threads may do so at once, each with a client.
 */
void control_client_serve(struct control_client *client, struct image *image);

/*
 * Inside a conversation, around a change and what is read of it: one change at a
 * time, and nobody reads in the middle of one. May wait for another change.
 */
void control_client_lock(const struct control_client *client);
void control_client_unlock(const struct control_client *client);

/*
 * Inside a conversation: until the client is ready for @events, poll()'s.
 * Returns 0, -ECANCELED: stopping; -ETIMEDOUT, or what poll() said.
 */
int MUST_CHECK control_client_wait(struct control_client *client, short events);

/*
 * The next line that the client sends, an object: json_decref() it. 0; -EBADMSG: it is
 * none; -EMSGSIZE; -EPIPE: no more comes; -ETIMEDOUT; or another negative errno.
 */
int MUST_CHECK control_client_receive(struct control_client *client, json_t **ret_object);

/* Bytes that are not gathered: what is goes first, by control_client_flush(). 0 or a negative errno. */
int MUST_CHECK control_client_send(struct control_client *client, const void *bytes,
				   size_t nr_bytes);

/*
 * One line of the answer, or bytes of it, gathered; and all that is gathered,
 * sent. 0 or a negative errno.
 */
int MUST_CHECK control_client_put(struct control_client *client, const json_t *object);
int MUST_CHECK control_client_put_bytes(struct control_client *client, const char *bytes,
					size_t nr_bytes);
int MUST_CHECK control_client_flush(struct control_client *client);

/* client_keys.c. They return 0 when the answer is gathered, or a negative errno. */
int MUST_CHECK control_answer_keys(struct control_client *client, const struct report *report);
int MUST_CHECK control_answer_key_add(struct control_client *client, const struct report *report);
int MUST_CHECK control_answer_key_rotate(struct control_client *client,
					 const struct report *report);
int MUST_CHECK control_answer_key_remove(struct control_client *client,
					 const struct report *report);
/* Ask for @nr secrets, all key memory, and take them in. 0 or a negative errno. */
int MUST_CHECK control_receive_secrets(struct control_client *client,
				       struct key_secret *const *secrets, unsigned int nr);
int MUST_CHECK control_answer_rewrite(struct control_client *client, const struct report *report);
int MUST_CHECK control_answer_key_revoke(struct control_client *client,
					 const struct report *report);
int MUST_CHECK control_answer_key_restore(struct control_client *client,
					  const struct report *report);

/* client_export.c. Returns when the client ends it, with -EPIPE, or why it cannot go on. */
int MUST_CHECK control_answer_export(struct control_client *client, const struct report *report);

/* client_events.c. Returns when the client or the daemon ends it, with a negative errno. */
int MUST_CHECK control_answer_events(struct control_client *client, const struct report *report);

#endif
