/* SPDX-License-Identifier: MIT */
/*
 * The worker in the background: it serves no clients, has a lane of every image
 * like the others, and works on their rewrites (image/rewriter.h). A rewrite that
 * is done it ends itself, as soon as nobody else changes anything.
 */
#ifndef BACKGROUND_H
#define BACKGROUND_H

#include <stdbool.h>

#include "base/compiler.h"

struct background;
struct server;
struct worker;

/* On the main thread. @worker: its lanes are made. Returns 0 or a negative errno. */
int MUST_CHECK background_new(struct server *server, struct worker *worker,
			      struct background **ret_background);

/* Wipes what was read. Accepts NULL; always returns NULL. */
struct background *background_free(struct background *background);

/* On the worker's thread, once a turn. Returns how long it may wait, at most @limit_ms. */
int MUST_CHECK background_turn(struct background *background, int limit_ms);

/* Begin no more. Returns whether nothing is under way any more. */
bool MUST_CHECK background_stop(struct background *background);

#endif
