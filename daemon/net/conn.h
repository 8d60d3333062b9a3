/* SPDX-License-Identifier: MIT */
/*
 * A connection: bytes from a socket become requests, replies become bytes.
 *
 * conn_recv -> nbds_feed -> gate_check -> req_start -> ... -> conn_reply -> conn_send
 *
 * It stops reading when its requests, the worker's slots or the worker's
 * buffers, or its own share of these, are used up, and goes on when some come
 * free (back-pressure). All on the worker's thread.
 */
#ifndef NET_CONN_H
#define NET_CONN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "nbd/reply.h"
#include "nbd/session.h"
#include "request/request.h"
#include "ring/ring.h"

struct conn;
struct tls;
struct worker;

enum {
	CONN_CHUNKS_MAX = 8, /* chunks of one structured READ reply */
	CONN_IOVS_MAX = 2 * CONN_CHUNKS_MAX,
	CONN_OUT_BYTES = 8 << 10, /* handshake replies */
	CONN_PEER_BYTES = 64,
};
_Static_assert((int)CONN_OUT_BYTES >= (int)NBDS_OUT_BYTES_MIN, "the longest handshake reply fits");
_Static_assert((int)CONN_RECV_BYTES >= (int)NBDS_IN_BYTES_MAX, "an option fits in one piece");

/* A request of a client, from its header to the last byte of its reply. */
struct conn_slot {
	struct request request;
	struct conn *conn;
	struct inbox_item item;	  /* while it is lent */
	struct conn_slot *next;	  /* in the free list or the send queue */
	struct nbds_request wire; /* as received */
	uint64_t block_bytes;	  /* of the arena, for the request's buffer */
	int refused;		  /* the gate's verdict: 0, or a negative errno */
	uint8_t headers[CONN_CHUNKS_MAX][NBDS_HEADER_BYTES_MAX];
	struct iovec iovs[CONN_IOVS_MAX]; /* the reply */
	unsigned int nr_iovs;
	unsigned int next_iov; /* not yet wholly sent */
};

enum conn_trial_phase {
	CONN_TRIAL_LENT, /* lending, and looking how fast that is */
	CONN_TRIAL_OWN,	 /* not lending, likewise */
	CONN_TRIAL_LENT_IS_BEST,
	CONN_TRIAL_OWN_IS_BEST,
};

/* Whether lending pays (conn_lend.h). */
struct conn_trial {
	enum conn_trial_phase phase;
	unsigned int nr_ticks; /* in it */
	uint64_t tick_ms;      /* the last one */
	uint64_t moved_bytes;  /* by large requests that have ended since then */
	uint64_t lent_rate;    /* bytes per ms, in CONN_TRIAL_LENT */
};

struct conn {
	struct worker *worker;
	struct conn *next;	   /* in the worker's free list or starved line */
	struct conn *next_to_send; /* in the worker's list of those */
	struct conn *next_paused;  /* in the worker's list of those */
	bool to_send;
	bool paused;	   /* has begun enough for this turn */
	bool chosen;	   /* an export is; else still shaking hands */
	bool starved;	   /* stands in the worker's line */
	bool winding_down; /* the server stops: what comes now is refused */
	int fd;		   /* -1: free */
	unsigned int id;
	char peer[CONN_PEER_BYTES]; /* for log lines */
	struct nbds_session session;
	uint64_t deadline_ms; /* of the handshake */
	uint64_t starved_ms;  /* @starved, and got nothing since then; 0: did not have to */

	struct tls *tls;   /* NULL: plaintext. From conn_tls_begin() to the end */
	bool tls_ready;	   /* its handshake is done */
	bool kernel_sends; /* and what is sent is plaintext, which the kernel encrypts */
	bool said_bye;	   /* behind all that was sent so */

	/* Receiving. */
	struct ring_op recv_op;
	struct msghdr recv_message;
	struct iovec recv_iovs[2]; /* a payload's rest, then @recv_bytes */
	bool receiving;		   /* @recv_op is in flight */
	bool recv_over;		   /* nothing more is read */
	uint32_t recv_at;	   /* unread bytes of @recv_bytes: [at, end) */
	uint32_t recv_end;
	uint32_t turn_bytes; /* READs begun in this turn */
	bool holding;	     /* @held is a request without a slot */
	struct nbds_request held;
	struct conn_slot *filling; /* WRITE whose payload is arriving, to be used or dropped */
	uint32_t filled_bytes;	   /* of it */
	uint32_t swallow_bytes;	   /* still to come, of one that was refused */

	struct conn_trial trial;

	/* Sending. */
	struct ring_op send_op;
	struct conn_slot *send_first; /* queue of replies */
	struct conn_slot *send_last;
	struct msghdr message;
	struct iovec gather[CONN_SEND_PARTS_MAX];
	struct nbds_out out; /* handshake */
	bool sending;	     /* @send_op is in flight */
	bool send_over;	     /* replies are dropped */

	unsigned int nr_requests; /* slots held, from header to sent reply */
	uint64_t block_bytes;	  /* of the arena, in those slots */
	uint64_t moved_ms;	  /* when the socket last took or gave something */
	uint8_t recv_bytes[CONN_RECV_BYTES];
	uint8_t out_bytes[CONN_OUT_BYTES];
};

/* Take over the socket @fd and greet. @conn: zeroed but for worker and fd. */
void conn_start(struct conn *conn, bool is_tcp, unsigned int id, uint64_t deadline_ms);

/* Go on after having been starved of a slot or buffer, or paused. */
void conn_resume(struct conn *conn);

/*
 * Does a client keep us waiting that has requests: for it to take replies, or to
 * send the rest of a WRITE? Then since @conn->moved_ms.
 */
bool conn_is_stalling(const struct conn *conn);

/*
 * The server stops: requests and options that come from here on are refused with
 * the errors for that, those received before are finished. May be called again.
 */
void conn_wind_down(struct conn *conn);

/* Does nobody wait for anything: no request is under way, no reply unsent? */
bool conn_is_quiet(const struct conn *conn);

/* No more requests; replies under way are sent. @cut: not even those. */
void conn_stop(struct conn *conn, bool cut);

#endif
