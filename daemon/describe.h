/* SPDX-License-Identifier: MIT */
/*
 * What clients are told of an export in words: LIST and NBD_INFO_DESCRIPTION. The
 * policy's "description" of it, or else what anybody who connects can find out:
 * "8 GiB, encryption on". No path, which is nobody's business.
 */
#ifndef DESCRIBE_H
#define DESCRIBE_H

#include "server.h"

/* Export @number, whose image is open. Main thread, before any worker runs. */
void server_describe(struct server *server, unsigned int number);

/*
 * The encryption of @image has been switched on or off. With server->changes held,
 * or before any worker runs; clients may be listing.
 */
void server_describe_again(struct server *server, const struct image *image);

#endif
