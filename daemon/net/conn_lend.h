/* SPDX-License-Identifier: MIT */
/*
 * Lending: a connection whose requests are large and many has another worker,
 * that has nothing to do, carry them out. Its own worker has the socket to copy
 * to and from, the other one files and ciphers: two processors for one client.
 * Where waking somebody up is dear that costs more than it gives; so each connection
 * tries both, again and again, and does what was faster in between.
 *
 * conn_recv -> gate_check -> CONN_LEND -> (the other worker) req_start ... -> done
 *           -> (its own worker) conn_reply -> conn_send
 */
#ifndef NET_CONN_LEND_H
#define NET_CONN_LEND_H

#include "net/conn.h"

/* Of a connection with large requests, once a tick: how fast was it? */
void conn_lend_tick(struct conn *conn);

/*
 * On the connection's worker, in place of req_start(). Returns whether another
 * worker carries out @slot's request: if so, conn_reply() is called some time
 * later, as ever on the connection's worker.
 */
bool MUST_CHECK conn_lend(struct conn_slot *slot);

#endif
