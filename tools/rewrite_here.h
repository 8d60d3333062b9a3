/* SPDX-License-Identifier: MIT */
/* Rewriting an image that nobody serves, in this process. */
#ifndef TOOLS_REWRITE_HERE_H
#define TOOLS_REWRITE_HERE_H

#include "base/compiler.h"
#include "image/rewrite.h"
#include "options.h"
#include "session.h"

/*
 * Do as @order says to an image in a session. Returns 0, or a negative errno with
 * *problem.
 */
int MUST_CHECK rewrite_order_here(struct session *session, const struct rewrite_order *order,
				  struct problem *problem);

/*
 * Work on what is started until it is done, or SIGINT or SIGTERM come: the rest is
 * done when it is asked for again, or served. Shows how far it is. Returns 0;
 * -EINTR, -EIO, -ENOSPC or another negative errno with *problem.
 */
int MUST_CHECK rewrite_run_here(struct session *session, const struct tool_options *options,
				const char *what, struct problem *problem);

#endif
