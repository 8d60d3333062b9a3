/* SPDX-License-Identifier: MIT */
/*
 * Receiving: from the socket to the gate.
 *
 * CONN_RECV -> nbds_feed -> gate_check -> req_start -> ... -> conn_reply -> conn_send
 *
 * Headers and small payloads go through the connection's own buffer; the rest
 * of a WRITE's payload is received straight into the request's buffer.
 */
#include "net/conn.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "net/conn_lend.h"
#include "net/conn_send.h"
#include "net/conn_tls.h"
#include "request/gate.h"
#include "worker.h"

static void advance(struct conn *conn);
static void take_query(struct conn_slot *slot);

/* The first @payload_bytes of it belong to the request being filled. */
static void took(struct conn *conn, int result, size_t payload_bytes)
{
	conn->receiving = false;
	conn->moved_ms = conn->worker->now_ms;
	if (result <= 0) {
		conn->recv_over = true;
	} else {
		const uint32_t filled = (uint32_t)min_u64((uint32_t)result, payload_bytes);

		conn->filled_bytes += filled;
		conn->recv_end += (uint32_t)result - filled;
	}
	advance(conn);
}

static void received(struct ring_op *op, int result)
{
	took(CONTAINER_OF(op, struct conn, recv_op), result, 0);
}

static void payload_received(struct ring_op *op, int result)
{
	struct conn *conn = CONTAINER_OF(op, struct conn, recv_op);

	took(conn, result, conn->recv_iovs[0].iov_len);
}

static void receive(struct conn *conn, struct ring_op op)
{
	conn->receiving = true;
	conn->recv_op = op;
	conn->recv_op.fd = conn->fd;
	ring_submit(conn->worker->ring, &conn->recv_op);
}

/*
 * More into the connection's own buffer, what is unread first. Returns true when it
 * has to be waited for: behind TLS there may be some already.
 */
static bool receive_headers(struct conn *conn)
{
	uint32_t unread = conn->recv_end - conn->recv_at;
	uint32_t nr_bytes;

	memmove(conn->recv_bytes, conn->recv_bytes + conn->recv_at, unread);
	conn->recv_at = 0;
	conn->recv_end = unread;
	if (conn->tls) {
		if (!conn_tls_receive(conn, conn->recv_bytes + unread, CONN_RECV_BYTES - unread,
				      &nr_bytes))
			return true;
		conn->recv_end += nr_bytes;
		return false;
	}
	receive(conn, (struct ring_op){ .kind = RING_RECV,
					.data = conn->recv_bytes + unread,
					.bytes = CONN_RECV_BYTES - unread,
					.done = received });
	return true;
}

/*
 * @missing_bytes of the payload, straight to their place, and what follows it. After
 * a large payload another one is likely, whose beginning should not be copied.
 * Returns as receive_headers().
 */
static bool receive_payload(struct conn *conn, uint32_t missing_bytes)
{
	const struct conn_slot *slot = conn->filling;
	const bool is_large = slot->wire.length_bytes >= CONN_RECV_BYTES;
	uint32_t nr_bytes;

	conn->recv_at = 0;
	conn->recv_end = 0;
	if (conn->tls) {
		if (!conn_tls_receive(conn, slot->request.data + conn->filled_bytes, missing_bytes,
				      &nr_bytes))
			return true;
		conn->filled_bytes += nr_bytes;
		return false;
	}
	conn->recv_iovs[0] =
		(struct iovec){ slot->request.data + conn->filled_bytes, missing_bytes };
	conn->recv_iovs[1] = (struct iovec){ conn->recv_bytes,
					     is_large ? CONN_RECV_AHEAD_BYTES : CONN_RECV_BYTES };
	conn->recv_message = (struct msghdr){ .msg_iov = conn->recv_iovs, .msg_iovlen = 2 };
	receive(conn, (struct ring_op){ .kind = RING_RECVMSG,
					.message = &conn->recv_message,
					.done = payload_received });
	return true;
}

/* @slot's request goes on its road, or straight to its reply. */
static void dispatch(struct conn_slot *slot)
{
	if (slot->refused) {
		slot->request.error = slot->refused;
		conn_reply(&slot->request);
		return;
	}
	if (conn_lend(slot))
		return;
	if (slot->request.op == REQ_READ)
		slot->conn->turn_bytes += slot->wire.length_bytes;
	req_start(&slot->request);
}

/* Take payload that has already arrived. Returns true when more has to come. */
static bool fill_payload(struct conn *conn)
{
	struct conn_slot *slot = conn->filling;
	uint32_t unread = conn->recv_end - conn->recv_at;
	uint32_t missing = (uint32_t)nbds_request_payload_bytes(&slot->wire) - conn->filled_bytes;
	uint32_t now = unread < missing ? unread : missing;

	memcpy(slot->request.data + conn->filled_bytes, conn->recv_bytes + conn->recv_at, now);
	conn->recv_at += now;
	conn->filled_bytes += now;
	missing -= now;
	if (missing > 0)
		return conn->recv_over || receive_payload(conn, missing);
	conn->filling = NULL;
	if (nbds_is_status_query(&slot->wire))
		take_query(slot);
	dispatch(slot);
	return false;
}

/*
 * Drop payload of a refused WRITE; its reply comes after, since clients (libnbd)
 * know nothing of a request that they are still sending. Returns true when more
 * has to come.
 */
static bool swallow_payload(struct conn *conn)
{
	struct conn_slot *slot = conn->filling;
	uint32_t unread = conn->recv_end - conn->recv_at;
	uint32_t now = unread < conn->swallow_bytes ? unread : conn->swallow_bytes;

	conn->recv_at += now;
	conn->swallow_bytes -= now;
	if (conn->swallow_bytes > 0)
		return conn->recv_over || receive_headers(conn);
	conn->filling = NULL;
	dispatch(slot);
	return false;
}

static bool has(uint32_t contexts, enum nbds_context context)
{
	return contexts & nbds_context_bit(context);
}

/* What the request asks for, for the roads; the gate has passed it. */
static void decode(const struct conn *conn, const struct nbds_request *wire, enum req_op op,
		   uint32_t contexts, struct request *request)
{
	request->op = op;
	request->lane = &conn->worker->lanes[conn->session.export_index];
	request->first_sector = bytes_to_sectors(wire->offset_bytes);
	request->nr_sectors = bytes_to_sectors(wire->length_bytes);
	request->fua = wire->flags & NBD_CMD_FLAG_FUA;
	request->no_hole = wire->flags & NBD_CMD_FLAG_NO_HOLE;
	request->wide_extents = wire->extended;
	request->one_extent = wire->flags & NBD_CMD_FLAG_REQ_ONE;
	request->wanted[REQ_CONTEXT_ALLOCATION] = has(contexts, NBDS_CONTEXT_ALLOCATION);
	request->wanted[REQ_CONTEXT_ENCRYPTION] = has(contexts, NBDS_CONTEXT_ENCRYPTION);
	request->done = conn_reply;
}

static struct gate_limits limits_of(const struct conn *conn)
{
	const struct nbds_session *session = &conn->session;
	const struct nbds_export *export = &session->exports[session->export_index];
	const struct lane *lane = &conn->worker->lanes[session->export_index];

	return (struct gate_limits){
		.disk_bytes = export->bytes,
		.read_only = export->transmission_flags & NBD_FLAG_READ_ONLY,
		.stopping = conn->winding_down,
		.revoked = atomic_load(&lane->disk->revoked),
		.structured = session->structured,
		.contexts = session->contexts,
		.fast_zero = export->transmission_flags & NBD_FLAG_SEND_FAST_ZERO,
		.status_payload = export->transmission_flags & NBD_FLAG_BLOCK_STATUS_PAYLOAD,
	};
}

/* A BLOCK_STATUS whose payload is in its buffer, which its reply will take. */
static void take_query(struct conn_slot *slot)
{
	const struct gate_limits limits = limits_of(slot->conn);
	struct nbds_request plain;
	uint32_t contexts;

	slot->refused =
		gate_check_query(&limits, &slot->wire, slot->request.data, &plain, &contexts);
	if (!slot->refused)
		decode(slot->conn, &plain, REQ_STATUS, contexts, &slot->request);
}

/*
 * Start on the request in @held. Returns false when it has to wait for a slot,
 * for a buffer, or for replies of this connection to be taken.
 */
static bool begin_held(struct conn *conn)
{
	const struct gate_limits limits = limits_of(conn);
	const struct nbds_request *wire = &conn->held;
	enum req_op op = REQ_DISC;
	uint64_t buffer_bytes = 0, block_bytes, payload_bytes;
	struct conn_slot *slot;
	bool is_query;
	int refused = gate_check(&limits, wire);

	/* Those under way wake it up; and no more than are left for others. */
	if (conn->nr_requests == CONN_REQUESTS_MAX ||
	    (conn->nr_requests > 0 && conn->nr_requests >= worker_slots_left(conn->worker)))
		return false;
	if (!refused)
		refused = req_op_of_command(wire->command, &op);
	is_query = !refused && nbds_is_status_query(wire);
	if (!refused)
		buffer_bytes =
			req_buffer_bytes(op, wire->flags & NBD_CMD_FLAG_NO_HOLE,
					 is_query ? 0 : bytes_to_sectors(wire->length_bytes));
	block_bytes = buddy_block_bytes(buffer_bytes);
	if (conn->block_bytes + block_bytes > CONN_BYTES_MAX)
		return false;
	slot = worker_take_slot(conn->worker, conn, buffer_bytes);
	if (!slot)
		return false;
	conn->holding = false;
	conn->nr_requests++;
	conn->block_bytes += block_bytes;
	slot->conn = conn;
	slot->block_bytes = block_bytes;
	slot->wire = *wire;
	slot->refused = refused;
	if (!refused && !is_query)
		decode(conn, wire, op, conn->session.contexts, &slot->request);
	payload_bytes = nbds_request_payload_bytes(wire);
	if (payload_bytes == 0) {
		dispatch(slot);
		return true;
	}
	conn->filling = slot;
	conn->filled_bytes = 0;
	conn->swallow_bytes = refused ? (uint32_t)payload_bytes : 0;
	return true;
}

static void take_event(struct conn *conn, const struct nbds_event *event)
{
	if (event->kind == NBDS_TLS_BEGINS) {
		conn_tls_begin(conn);
		return;
	}
	if (event->kind == NBDS_EXPORT_CHOSEN) {
		conn->chosen = true;
		return;
	}
	if (event->request.command == NBD_CMD_DISC) {
		conn->recv_over = true;
		return;
	}
	if (gate_wants_close(&event->request)) {
		worker_warn(conn->worker, "conn %u (%s): closed: a payload of %" PRIu64 " bytes",
			    conn->id, conn->peer, event->request.length_bytes);
		conn->recv_over = true;
		return;
	}
	conn->held = event->request;
	conn->holding = true;
}

/* Feed what is unread to the session. Returns true when that got us on. */
static bool feed(struct conn *conn)
{
	struct nbds_event event;
	size_t used = 0;
	enum nbds_progress progress = nbds_feed(&conn->session, conn->recv_bytes + conn->recv_at,
						conn->recv_end - conn->recv_at, &used, &conn->out,
						&event);

	conn->recv_at += (uint32_t)used;
	switch (progress) {
	case NBDS_EVENT:
		take_event(conn, &event);
		return true;
	case NBDS_NEED_ROOM:
		return true; /* what is in @out goes first */
	case NBDS_NEED_MORE:
		if (conn->out.used_bytes > 0)
			return true;
		return !conn->recv_over && !receive_headers(conn);
	case NBDS_BROKEN:
		worker_warn(conn->worker, "conn %u (%s): closed: it broke the protocol", conn->id,
			    conn->peer);
		conn->recv_over = true;
		return true;
	case NBDS_FINISHED:
		conn->recv_over = true;
		return true;
	}
	return false;
}

/* A WRITE whose payload will never come. */
static void drop_filling(struct conn *conn)
{
	struct conn_slot *slot = conn->filling;

	conn->filling = NULL;
	conn_slot_over(slot);
}

static void close_if_over(struct conn *conn)
{
	struct worker *worker = conn->worker;

	/* While it stands in one of the worker's lists, its place is not free. */
	if (!conn->recv_over || conn->receiving || conn->sending || conn->starved ||
	    conn->to_send || conn->paused || conn->nr_requests > 0 ||
	    (conn->out.used_bytes > 0 && !conn->send_over))
		return;
	if (conn->tls && !conn_tls_may_end(conn))
		return;
	if (conn->tls)
		conn_tls_end(conn);
	close(conn->fd);
	conn->fd = -1;
	log_line(LOG_LEVEL_DEBUG, "conn %u (%s): closed", conn->id, conn->peer);
	worker->nr_conns--;
	conn->next = worker->free_conns;
	worker->free_conns = conn;
}

/* Do all that can be done now: one place decides what comes next. */
static void advance(struct conn *conn)
{
	while (!conn->receiving && !conn->starved && !conn->paused) {
		if (conn->filling && conn->filling->refused) {
			if (swallow_payload(conn))
				break;
		} else if (conn->filling) {
			if (fill_payload(conn))
				break;
		} else if (conn->out.used_bytes > 0 && !conn->send_over) {
			conn_send(conn);
			break;
		} else if (conn->tls && !conn->tls_ready && !conn->recv_over) {
			if (!conn_tls_shake(conn))
				break;
		} else if (conn->holding && conn->turn_bytes >= CONN_TURN_BYTES) {
			worker_pause(conn->worker, conn);
		} else if (conn->holding) {
			if (!begin_held(conn))
				break;
		} else if (conn->recv_over || !feed(conn)) {
			break;
		}
	}
	if (conn->recv_over && !conn->receiving && conn->filling)
		drop_filling(conn);
	close_if_over(conn);
}

void conn_resume(struct conn *conn)
{
	advance(conn);
}

static void name_peer(struct conn *conn, bool is_tcp)
{
	struct ucred cred;
	socklen_t bytes = sizeof(cred);
	struct sockaddr_storage address;
	socklen_t address_bytes = sizeof(address);
	char host[INET6_ADDRSTRLEN + 12] = "?", port[8] = "?";

	if (!is_tcp) {
		if (getsockopt(conn->fd, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) < 0)
			cred = (struct ucred){ 0 };
		snprintf(conn->peer, sizeof(conn->peer), "unix, pid %d", (int)cred.pid);
		return;
	}
	if (getpeername(conn->fd, (struct sockaddr *)&address, &address_bytes) == 0)
		conn_address_text(&address, host, sizeof(host), port, sizeof(port));
	snprintf(conn->peer, sizeof(conn->peer), "%s port %s", host, port);
}

void conn_start(struct conn *conn, bool is_tcp, unsigned int id, uint64_t deadline_ms)
{
	const struct server *server = conn->worker->server;
	const int on = 1;

	conn->id = id;
	conn->deadline_ms = deadline_ms;
	conn->out = (struct nbds_out){
		.bytes = conn->out_bytes,
		.capacity_bytes = sizeof(conn->out_bytes),
	};
	name_peer(conn, is_tcp);
	if (is_tcp)
		(void)setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	nbds_init(&conn->session, server->exports, server->nr_exports);
	if (conn->worker->tls)
		nbds_set_tls(&conn->session, is_tcp ? NBDS_TLS_REQUIRED : NBDS_TLS_OFFERED);
	log_line(LOG_LEVEL_DEBUG, "conn %u (%s): connected", conn->id, conn->peer);
	advance(conn);
}

bool conn_is_stalling(const struct conn *conn)
{
	return conn->nr_requests > 0 && (conn->sending || conn->filling);
}

void conn_wind_down(struct conn *conn)
{
	conn->winding_down = true;
	nbds_stop(&conn->session);
}

bool conn_is_quiet(const struct conn *conn)
{
	return conn->nr_requests == 0 && !conn->holding && !conn->sending &&
	       conn->out.used_bytes == 0;
}

void conn_stop(struct conn *conn, bool cut)
{
	/* Wakes a receive in flight with the end of the stream. */
	(void)shutdown(conn->fd, cut ? SHUT_RDWR : SHUT_RD);
	conn->recv_over = true;
	conn->holding = false;
	advance(conn);
}
