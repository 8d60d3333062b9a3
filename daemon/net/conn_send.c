/* SPDX-License-Identifier: MIT */
/*
 * Sending: from the finished request to the socket.
 *
 * conn_recv -> nbds_feed -> gate_check -> req_start -> ... -> CONN_REPLY -> CONN_SEND
 *
 * Replies queue up while a send is under way and then go out together.
 */
#include "net/conn_send.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "nbd/error.h"
#include "net/conn_tls.h"
#include "net/tls.h"
#include "worker.h"

static void add_iov(struct conn_slot *slot, void *bytes, size_t nr_bytes)
{
	slot->iovs[slot->nr_iovs++] = (struct iovec){ .iov_base = bytes, .iov_len = nr_bytes };
}

static void reply_simple(struct conn_slot *slot, uint32_t wire_error)
{
	add_iov(slot, slot->headers[0],
		nbds_encode_simple(slot->headers[0], &slot->wire, wire_error));
	if (slot->wire.command == NBD_CMD_READ && wire_error == NBD_OK &&
	    slot->wire.length_bytes > 0)
		add_iov(slot, slot->request.data, slot->wire.length_bytes);
}

static void reply_none(struct conn_slot *slot)
{
	add_iov(slot, slot->headers[0], nbds_encode_none(slot->headers[0], &slot->wire));
}

static void reply_error(struct conn_slot *slot, uint32_t wire_error)
{
	add_iov(slot, slot->headers[0],
		nbds_encode_error(slot->headers[0], &slot->wire, wire_error,
				  nbds_error_text(wire_error)));
}

/* A stretch of a READ's range: data, or zeros that need not be sent. */
struct stretch {
	uint64_t first_sector;
	uint64_t nr_sectors;
	bool hole;
};

enum { HOLE_SECTORS_MIN = 8 }; /* a shorter hole costs more than its zeros */

/*
 * Cut the range into stretches. Returns their number, or 0 when it was served
 * in several rounds, or is too scattered: then it goes as one piece of data.
 */
static unsigned int find_stretches(const struct request *request, struct stretch *stretches)
{
	uint64_t at = request->first_sector;
	unsigned int nr = 0;

	for (unsigned int i = 0; i < request->nr_parts; i++) {
		const struct map_run *run = &request->parts[i].run;
		bool hole = base_place_is_hole(&request->parts[i].place) &&
			    run->nr_sectors >= HOLE_SECTORS_MIN;

		if (run->first_sector != at)
			return 0;
		at += run->nr_sectors;
		if (nr > 0 && stretches[nr - 1].hole == hole) {
			stretches[nr - 1].nr_sectors += run->nr_sectors;
			continue;
		}
		if (nr == CONN_CHUNKS_MAX)
			return 0;
		stretches[nr++] = (struct stretch){ run->first_sector, run->nr_sectors, hole };
	}
	return at == request->first_sector + request->nr_sectors ? nr : 0;
}

static void add_stretch(struct conn_slot *slot, unsigned int n, const struct stretch *stretch,
			bool last)
{
	const struct request *request = &slot->request;
	uint64_t offset = sectors_to_bytes(stretch->first_sector);
	uint32_t bytes = (uint32_t)sectors_to_bytes(stretch->nr_sectors);
	uint8_t *header = slot->headers[n];

	if (stretch->hole) {
		add_iov(slot, header, nbds_encode_hole(header, &slot->wire, last, offset, bytes));
		return;
	}
	add_iov(slot, header, nbds_encode_data(header, &slot->wire, last, offset, bytes));
	add_iov(slot,
		request->data + sectors_to_bytes(stretch->first_sector - request->first_sector),
		bytes);
}

static void reply_read(struct conn_slot *slot)
{
	const struct request *request = &slot->request;
	struct stretch stretches[CONN_CHUNKS_MAX];
	unsigned int nr = find_stretches(request, stretches);

	if (request->nr_sectors == 0) {
		reply_none(slot);
		return;
	}
	if (nr == 0 || slot->wire.flags & NBD_CMD_FLAG_DF) {
		stretches[0] =
			(struct stretch){ request->first_sector, request->nr_sectors, false };
		nr = 1;
	}
	for (unsigned int i = 0; i < nr; i++)
		add_stretch(slot, i, &stretches[i], i == nr - 1);
}

static void reply_status(struct conn_slot *slot)
{
	static const uint32_t ids[REQ_CONTEXTS] = {
		[REQ_CONTEXT_ALLOCATION] = NBDS_CONTEXT_ALLOCATION,
		[REQ_CONTEXT_ENCRYPTION] = NBDS_CONTEXT_ENCRYPTION,
	};
	struct request *request = &slot->request;
	unsigned int left = request->wanted[0] + request->wanted[1];

	for (unsigned int i = 0; i < REQ_CONTEXTS; i++) {
		if (!request->wanted[i])
			continue;
		left--;
		add_iov(slot, slot->headers[i],
			nbds_encode_status(slot->headers[i], &slot->wire, left == 0, ids[i],
					   request->nr_extents[i]));
		add_iov(slot, request->extents[i],
			request->nr_extents[i] * nbds_extent_bytes(slot->wire.extended));
	}
}

static void encode(struct conn_slot *slot)
{
	uint32_t wire_error =
		nbds_wire_error(slot->request.error, slot->wire.command, slot->wire.flags);

	slot->nr_iovs = 0;
	slot->next_iov = 0;
	if (!slot->conn->session.structured)
		reply_simple(slot, wire_error);
	else if (wire_error != NBD_OK)
		reply_error(slot, wire_error);
	else if (slot->wire.command == NBD_CMD_READ)
		reply_read(slot);
	else if (slot->wire.command == NBD_CMD_BLOCK_STATUS)
		reply_status(slot);
	else if (slot->wire.extended)
		reply_none(slot);
	else
		reply_simple(slot, wire_error);
}

void conn_slot_over(struct conn_slot *slot)
{
	struct conn *conn = slot->conn;

	conn->nr_requests--;
	conn->block_bytes -= slot->block_bytes;
	if (slot->block_bytes >= CONN_LEND_BYTES_MIN)
		conn->trial.moved_bytes += slot->block_bytes;
	worker_give_slot(conn->worker, slot);
}

static void drop_replies(struct conn *conn)
{
	while (conn->send_first) {
		struct conn_slot *slot = conn->send_first;

		conn->send_first = slot->next;
		conn_slot_over(slot);
	}
	conn->send_last = NULL;
	conn->out.used_bytes = 0;
}

void conn_take_off(struct conn *conn, size_t bytes)
{
	if (conn->out.used_bytes > 0) {
		conn->out.used_bytes -= bytes;
		memmove(conn->out.bytes, conn->out.bytes + bytes, conn->out.used_bytes);
		return;
	}
	while (bytes > 0) {
		struct conn_slot *slot = conn->send_first;
		struct iovec *iov;

		assert(slot); /* the kernel cannot have taken more than was gathered */
		iov = &slot->iovs[slot->next_iov];
		if (bytes < iov->iov_len) {
			iov->iov_base = (uint8_t *)iov->iov_base + bytes;
			iov->iov_len -= bytes;
			return;
		}
		bytes -= iov->iov_len;
		if (++slot->next_iov < slot->nr_iovs)
			continue;
		conn->send_first = slot->next;
		if (!conn->send_first)
			conn->send_last = NULL;
		conn_slot_over(slot);
	}
}

void conn_send_failed(struct conn *conn)
{
	conn->send_over = true;
	conn->recv_over = true;
	(void)shutdown(conn->fd, SHUT_RDWR);
	drop_replies(conn);
}

/* STARTTLS is answered in plaintext; what has been encrypted was taken off then. */
static bool sends_ciphertext(const struct conn *conn)
{
	return conn->tls && !conn->kernel_sends && (conn->tls_ready || conn->out.used_bytes == 0);
}

static void sent(struct ring_op *op, int result)
{
	struct conn *conn = CONTAINER_OF(op, struct conn, send_op);

	conn->sending = false;
	conn->moved_ms = conn->worker->now_ms;
	if (result < 0) {
		conn_send_failed(conn);
	} else {
		if (sends_ciphertext(conn))
			tls_sent(conn->tls, (uint32_t)result);
		else
			conn_take_off(conn, (size_t)result);
		conn_send(conn);
	}
	conn_resume(conn);
}

size_t conn_gather(struct conn *conn)
{
	size_t nr = 0;

	if (conn->out.used_bytes > 0) {
		conn->gather[0] = (struct iovec){ conn->out.bytes, conn->out.used_bytes };
		return 1;
	}
	for (const struct conn_slot *slot = conn->send_first; slot; slot = slot->next)
		for (unsigned int i = slot->next_iov; i < slot->nr_iovs; i++) {
			if (nr == CONN_SEND_PARTS_MAX)
				return nr;
			conn->gather[nr++] = slot->iovs[i];
		}
	return nr;
}

void conn_send(struct conn *conn)
{
	size_t nr;

	if (conn->sending)
		return;
	if (conn->send_over) {
		drop_replies(conn);
		return;
	}
	nr = sends_ciphertext(conn) ? conn_tls_gather(conn) : conn_gather(conn);
	if (nr == 0)
		return;
	conn->sending = true;
	if (!conn->filling)
		conn->moved_ms = conn->worker->now_ms;
	conn->message = (struct msghdr){ .msg_iov = conn->gather, .msg_iovlen = nr };
	conn->send_op = (struct ring_op){
		.kind = RING_SENDMSG,
		.fd = conn->fd,
		.message = &conn->message,
		.done = sent,
	};
	ring_submit(conn->worker->ring, &conn->send_op);
}

void conn_reply(struct request *request)
{
	struct conn_slot *slot = CONTAINER_OF(request, struct conn_slot, request);
	struct conn *conn = slot->conn;

	encode(slot);
	slot->next = NULL;
	if (conn->send_last)
		conn->send_last->next = slot;
	else
		conn->send_first = slot;
	conn->send_last = slot;
	worker_will_send(conn->worker, conn);
}

/*
 * Not getnameinfo(): for the name of a link-local address's interface it makes a
 * socket, whatever it is told, and in the sandbox that kills.
 */
void conn_address_text(const struct sockaddr_storage *address, char *host, size_t host_bytes,
		       char *port, size_t port_bytes)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
	char text[INET6_ADDRSTRLEN] = "?";

	if (address->ss_family == AF_INET) {
		(void)inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
		snprintf(port, port_bytes, "%u", ntohs(v4->sin_port));
	} else if (address->ss_family == AF_INET6) {
		(void)inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
		snprintf(port, port_bytes, "%u", ntohs(v6->sin6_port));
	}
	if (address->ss_family == AF_INET6 && v6->sin6_scope_id)
		snprintf(host, host_bytes, "%s%%%u", text, v6->sin6_scope_id);
	else
		snprintf(host, host_bytes, "%s", text);
}
