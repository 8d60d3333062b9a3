/* SPDX-License-Identifier: MIT */
/* Orders about the rewrites of an image that is being served: see image/rewrite.h. */
#ifndef REWRITE_H
#define REWRITE_H

#include "base/compiler.h"
#include "image/image.h"
#include "image/problem.h"
#include "server.h"

/*
 * With server->changes held, on no worker's thread; blocks as server_switch().
 * Returns 0, also when nothing had to change; -EROFS: served read-only;
 * -EKEYREJECTED: revoked, or the secret opens no slot; otherwise as
 * image_rewrite_start(), image_renew_key() and server_switch().
 */
int MUST_CHECK server_rewrite(struct server *server, struct image *image,
			      const struct rewrite_order *order, struct problem *problem);

#endif
