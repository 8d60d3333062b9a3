/* SPDX-License-Identifier: MIT */
/*
 * TLS of the server: what its options name is read at the start and at SIGHUP, and
 * given to the workers, who begin connections with it. Main thread.
 */
#ifndef SERVER_TLS_H
#define SERVER_TLS_H

#include <stdbool.h>

#include "base/compiler.h"
#include "image/problem.h"

struct server;

/* Is there to be any? */
bool server_wants_tls(const struct server *server);

/*
 * Before the sandbox: read the files, ask for the kernel's TLS. Blocks. Nothing to do
 * without options for it. Returns 0, or as tls_context_new() with *problem.
 */
int MUST_CHECK server_tls_start(struct server *server, struct problem *problem);

/* Before the helper is locked: have it read them again later. As helper_keep_readable(). */
int MUST_CHECK server_tls_keep_files(struct server *server);

/*
 * While the workers run, if there is TLS: read the files again. New connections go by them, those that
 * there are stay as they were let in. What is wrong is logged in one line, and then
 * nothing changes. Blocks.
 */
void server_tls_reload(struct server *server);

#endif
