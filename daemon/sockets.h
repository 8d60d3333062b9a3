/* SPDX-License-Identifier: MIT */
/*
 * What the control socket tells of where NBD is spoken: to a client on this host
 * that knows an image and looks for a way to its disk.
 */
#ifndef SOCKETS_H
#define SOCKETS_H

#include <jansson.h>

#include "server.h"

/*
 * Find the absolute paths of the unix sockets that @server listens at. Once they all
 * listen, and before the sandbox, in which no path can be looked up. Main thread.
 * Returns 0 or -ENOMEM; a socket whose path cannot be found is left out.
 */
int MUST_CHECK server_find_sockets(struct server *server);

/*
 * The answer to the verb "sockets": a reference, or NULL: no memory. With
 * server->changes held.
 */
json_t *server_sockets_json(const struct server *server, const struct image *image);

#endif
