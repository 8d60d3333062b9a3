/* SPDX-License-Identifier: MIT */
/* Opening the images of a daemon: before any worker runs. */
#ifndef OPEN_H
#define OPEN_H

#include "base/compiler.h"
#include "image/problem.h"
#include "server.h"

/*
 * The images of server->account, with the keys that the options name, each with its
 * base, recovered and in a session; and the exports. Blocks. Returns 0, or a
 * negative errno with *problem, as image_load(), image_unlock(), image_start();
 * what is open then is server_stop()'s to close.
 */
int MUST_CHECK server_open_images(struct server *server, struct problem *problem);

#endif
