/* SPDX-License-Identifier: MIT */
/* Inside control/: one conversation over the control socket, as server.h tells it. */
#ifndef CONTROL_CLIENT_H
#define CONTROL_CLIENT_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "image/image.h"
#include "ring/ring.h"

struct control_actions;

enum { CONTROL_OUT_BYTES = 16 << 10 }; /* gathered into one send */

struct control_client {
	int fd;	     /* the client's; blocking or not */
	int stop_fd; /* readable: end at once */
	const struct control_actions *actions;
	const _Atomic bool *stop; /* set before @stop_fd is readable: ends walks */
	struct ring *ring;	  /* of the calling thread */
	json_t *request;	  /* being answered */
	struct problem problem;
	size_t nr_out;
	char out[CONTROL_OUT_BYTES];
};

/*
 * Hear one request about @image and answer it. The caller closes @fd. Blocks,
 * for CONTROL_WAIT_MS at a time on the client. Failures are the client's, and
 * end in the debug log.
 */
void control_client_serve(struct control_client *client, struct image *image);

#endif
