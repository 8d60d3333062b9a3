/* SPDX-License-Identifier: MIT */
/*
 * A connection behind TLS: what conn.c and conn_send.c do otherwise when it is so.
 * Inside net/; see tls.h.
 *
 *   RING_RECV -> tls_received -> tls_read -> nbds_feed ... conn_reply -> conn_send
 *             -> tls_write -> RING_SENDMSG
 *
 * or, where the kernel encrypts what is sent, as without TLS: ... conn_send -> RING_SENDMSG
 */
#ifndef NET_CONN_TLS_H
#define NET_CONN_TLS_H

#include "net/conn.h"

/* The client has asked for it: begins as soon as what is in @conn->out has been sent. */
void conn_tls_begin(struct conn *conn);

/* Go on with the handshake. Returns true when it is over, one way or the other; else something is in flight. */
bool MUST_CHECK conn_tls_shake(struct conn *conn);

/*
 * Up to @nr_bytes of plaintext. Returns true when some are there, *ret_bytes of them,
 * or nothing more will come: @conn->recv_over; false: they are being received.
 */
bool MUST_CHECK conn_tls_receive(struct conn *conn, uint8_t *bytes, uint32_t nr_bytes,
				 uint32_t *ret_bytes);

/*
 * Encrypt what is queued, as far as there is room, and put off what is done. Returns
 * how many of @conn->gather are to be sent, 0 or 1.
 */
size_t MUST_CHECK conn_tls_gather(struct conn *conn);

/*
 * Nothing else is to be sent. Returns whether the socket can be closed, after
 * conn_tls_end(); otherwise conn_resume() comes when it is time to ask again.
 */
bool MUST_CHECK conn_tls_may_end(struct conn *conn);

/* Before the socket is closed. */
void conn_tls_end(struct conn *conn);

#endif
