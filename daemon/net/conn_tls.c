/* SPDX-License-Identifier: MIT */
/* A connection behind TLS: see conn_tls.h. */
#include "net/conn_tls.h"

#include <errno.h>

#include "base/log.h"
#include "net/conn_send.h"
#include "net/tls.h"
#include "worker.h"

/* It is over: the client is told why by an alert, if it still listens. */
static void give_up(struct conn *conn)
{
	worker_warn(conn->worker, "conn %u (%s): closed: TLS: %s", conn->id, conn->peer,
		    tls_problem(conn->tls));
	conn->recv_over = true;
}

void conn_tls_begin(struct conn *conn)
{
	conn->tls = tls_new(conn->worker->tls);
	if (conn->tls)
		return;
	worker_warn(conn->worker, "conn %u (%s): closed: no memory for TLS", conn->id, conn->peer);
	conn->recv_over = true;
}

/* ---- receiving ---- */

static void received(struct ring_op *op, int result)
{
	struct conn *conn = CONTAINER_OF(op, struct conn, recv_op);

	conn->receiving = false;
	conn->moved_ms = conn->worker->now_ms;
	if (result > 0)
		tls_received(conn->tls, (uint32_t)result);
	else
		conn->recv_over = true;
	conn_resume(conn);
}

static void receive(struct conn *conn)
{
	uint32_t nr_bytes;
	uint8_t *bytes = tls_in(conn->tls, &nr_bytes);

	conn->receiving = true;
	conn->recv_op = (struct ring_op){
		.kind = RING_RECV,
		.fd = conn->fd,
		.data = bytes,
		.bytes = nr_bytes,
		.done = received,
	};
	ring_submit(conn->worker->ring, &conn->recv_op);
}

bool conn_tls_receive(struct conn *conn, uint8_t *bytes, uint32_t nr_bytes, uint32_t *ret_bytes)
{
	const int r = tls_read(conn->tls, bytes, nr_bytes);

	*ret_bytes = r > 0 ? (uint32_t)r : 0;
	if (r == -EPROTO)
		give_up(conn);
	else if (r < 0)
		conn->recv_over = true;
	else if (r == 0)
		receive(conn);
	return r != 0;
}

/* ---- the handshake ---- */

static void tell(const struct conn *conn)
{
	char text[384];

	tls_describe(conn->tls, text, sizeof(text));
	log_line(LOG_LEVEL_DEBUG, "conn %u (%s): %s", conn->id, conn->peer, text);
}

bool conn_tls_shake(struct conn *conn)
{
	const enum tls_progress progress = tls_shake(conn->tls);

	if (progress == TLS_FAILED) {
		give_up(conn);
		return true;
	}
	conn->tls_ready = progress == TLS_READY;
	if (conn->tls_ready) {
		conn->kernel_sends = !conn->sending && tls_hand_over(conn->tls, conn->fd);
		tell(conn);
	}
	conn_send(conn);
	if (conn->tls_ready)
		return true;
	if (!conn->sending)
		receive(conn);
	return false;
}

/* ---- sending ---- */

/* As much as there is room for. A failure is the socket's end as well. */
static void encrypt(struct conn *conn)
{
	size_t nr_parts;

	while ((nr_parts = conn_gather(conn)) > 0) {
		const int r = tls_write(conn->tls, conn->gather, nr_parts);

		if (r < 0) {
			give_up(conn);
			conn_send_failed(conn);
		}
		if (r <= 0)
			return;
		conn_take_off(conn, (size_t)r);
	}
}

size_t conn_tls_gather(struct conn *conn)
{
	uint32_t nr_bytes;
	uint8_t *bytes;

	if (conn->tls_ready)
		encrypt(conn);
	bytes = tls_out(conn->tls, &nr_bytes);
	conn->gather[0] = (struct iovec){ bytes, nr_bytes };
	return nr_bytes > 0;
}

/* ---- the end ---- */

static void said_bye(struct ring_op *op, int result)
{
	struct conn *conn = CONTAINER_OF(op, struct conn, send_op);

	(void)result; /* a courtesy */
	conn->sending = false;
	conn_resume(conn);
}

/*
 * The kernel forgets what it has encrypted and not sent when the socket is closed. Once
 * it has taken one more record, there is none before that.
 */
bool conn_tls_may_end(struct conn *conn)
{
	if (!conn->kernel_sends || conn->send_over || conn->said_bye)
		return true;
	conn->said_bye = true;
	conn->sending = true;
	conn->send_op = (struct ring_op){
		.kind = RING_SENDMSG,
		.fd = conn->fd,
		.message = tls_last_message(conn->tls),
		.done = said_bye,
	};
	ring_submit(conn->worker->ring, &conn->send_op);
	return false;
}

void conn_tls_end(struct conn *conn)
{
	struct msghdr message = { .msg_iov = conn->gather, .msg_iovlen = 1 };
	uint32_t nr_bytes;
	uint8_t *bytes;

	tls_bye(conn->tls);
	bytes = tls_out(conn->tls, &nr_bytes);
	conn->gather[0] = (struct iovec){ bytes, nr_bytes };
	/* A courtesy: whoever does not take it at once goes without. */
	if (nr_bytes > 0 && !conn->send_over)
		(void)sendmsg(conn->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	conn->tls = tls_free(conn->tls);
}
