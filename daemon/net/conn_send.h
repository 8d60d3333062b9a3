/* SPDX-License-Identifier: MIT */
/* Sending: the replies' half of a connection. Inside net/; see conn.h. */
#ifndef NET_CONN_SEND_H
#define NET_CONN_SEND_H

#include "net/conn.h"

/* A request is done: encode its reply and queue it. struct request's @done. */
void conn_reply(struct request *request);

/* Send what is waiting, handshake first, unless a send is under way. */
void conn_send(struct conn *conn);

/* What waits to be sent, handshake first, in @conn->gather. Returns how many parts. */
size_t MUST_CHECK conn_gather(struct conn *conn);

/* @bytes of the gathered parts are sent: put off what is done. */
void conn_take_off(struct conn *conn, size_t bytes);

/* The client is gone: what is under way ends unheard. */
void conn_send_failed(struct conn *conn);

/* The slot is not needed any more: reply sent, or given up. */
void conn_slot_over(struct conn_slot *slot);

/* "192.0.2.1" or "fe80::1%2" (the number of the interface), and "10809"; cut to fit. */
void conn_address_text(const struct sockaddr_storage *address, char *host, size_t host_bytes,
		       char *port, size_t port_bytes);

#endif
