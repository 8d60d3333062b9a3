/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the NBD session under any bytes in any pieces.
 *
 * Input: one byte for the send buffer's size, one for the size of the pieces, one
 * for TLS (its upper two bits) and the piece at which the server stops (0: never),
 * then the stream; behind STARTTLS, what TLS would hand over. Every piece is in memory
 * of exactly its size, so that a read past it is caught, and the gate sees every request.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "nbd/session.h"
#include "request/gate.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr_bytes);

static const struct nbds_export exports[] = {
	{ "a", "one", 8 * MIB, 512, 4096, REQ_BYTES_MAX,
	  NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_DF | NBD_FLAG_BLOCK_STATUS_PAYLOAD },
	{ "", NULL, DISK_BYTES_MAX, 512, 4096, REQ_BYTES_MAX, NBD_FLAG_HAS_FLAGS },
};

static void expect_inside(const struct gate_limits *limits, const struct nbds_request *request)
{
	assert(request->offset_bytes <= limits->disk_bytes &&
	       request->length_bytes <= limits->disk_bytes - request->offset_bytes);
}

/* The payload is handed over in memory of exactly its size. */
static void judge_query(const struct gate_limits *limits, const struct nbds_request *request,
			const uint8_t *at)
{
	uint8_t *payload = malloc(request->length_bytes);
	struct nbds_request plain;
	uint32_t contexts;

	assert(payload);
	memcpy(payload, at, request->length_bytes);
	if (gate_check_query(limits, request, payload, &plain, &contexts) == 0) {
		assert(contexts && !(contexts & ~limits->contexts));
		assert(nbds_request_payload_bytes(&plain) == 0);
		expect_inside(limits, &plain);
	}
	free(payload);
}

/*
 * The bytes that follow the header in the stream, of which @left_bytes are at
 * @at; or more than that: the connection would be closed.
 */
static uint64_t judge(const struct nbds_session *session, const struct nbds_request *request,
		      const uint8_t *at, size_t left_bytes)
{
	const uint16_t flags = exports[session->export_index].transmission_flags;
	const struct gate_limits limits = {
		.disk_bytes = exports[session->export_index].bytes,
		.structured = session->structured,
		.contexts = session->contexts,
		.fast_zero = true,
		.status_payload = flags & NBD_FLAG_BLOCK_STATUS_PAYLOAD,
	};
	const uint64_t payload_bytes = nbds_request_payload_bytes(request);
	const bool passes = gate_check(&limits, request) == 0;

	assert(session->extended == request->extended);
	if (gate_wants_close(request))
		return left_bytes + 1;
	assert(payload_bytes <= GATE_SWALLOW_BYTES_MAX);
	if (passes && nbds_is_status_query(request)) {
		if (payload_bytes <= left_bytes)
			judge_query(&limits, request, at);
	} else if (passes && request->command != NBD_CMD_DISC) {
		expect_inside(&limits, request);
	}
	return payload_bytes;
}

static enum nbds_progress feed(struct nbds_session *session, const uint8_t *at, size_t nr_bytes,
			       size_t *used, struct nbds_out *out, struct nbds_event *event)
{
	uint8_t *piece = malloc(nr_bytes ? nr_bytes : 1);
	enum nbds_progress progress;

	assert(piece);
	if (nr_bytes)
		memcpy(piece, at, nr_bytes);
	progress = nbds_feed(session, piece, nr_bytes, used, out, event);
	free(piece);
	assert(*used <= nr_bytes);
	assert(progress != NBDS_NEED_ROOM || out->used_bytes > 0);
	assert(progress != NBDS_NEED_MORE || nr_bytes - *used < NBDS_IN_BYTES_MAX);
	return progress;
}

static void talk(const uint8_t *stream, size_t nr_bytes, size_t piece_bytes, uint8_t settings,
		 struct nbds_out *out)
{
	struct nbds_session session;
	size_t eaten_bytes = 0;
	size_t arrived_bytes = 0;
	unsigned int nr_until_stop = settings % 64;

	nbds_init(&session, exports, sizeof(exports) / sizeof(exports[0]));
	nbds_set_tls(&session, (enum nbds_tls)(settings / 64 % NBDS_TLS_ON));
	for (;;) {
		enum nbds_progress progress;
		struct nbds_event event;
		size_t used;

		progress = feed(&session, stream + eaten_bytes, arrived_bytes - eaten_bytes, &used,
				out, &event);
		eaten_bytes += used;
		if (progress == NBDS_BROKEN || progress == NBDS_FINISHED)
			return;
		if (progress != NBDS_EVENT)
			out->used_bytes = 0;
		if (progress == NBDS_EVENT && event.kind == NBDS_REQUEST)
			eaten_bytes += judge(&session, &event.request, stream + eaten_bytes,
					     nr_bytes - eaten_bytes);
		if (progress == NBDS_NEED_MORE) {
			if (arrived_bytes == nr_bytes)
				return;
			arrived_bytes = min_u64(arrived_bytes + piece_bytes, nr_bytes);
			if (nr_until_stop > 0 && --nr_until_stop == 0)
				nbds_stop(&session);
		}
		if (eaten_bytes > nr_bytes)
			return;
		if (arrived_bytes < eaten_bytes)
			arrived_bytes = eaten_bytes;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr_bytes)
{
	struct nbds_out out = { 0 };

	if (nr_bytes < 3)
		return 0;
	out.capacity_bytes = NBDS_OUT_BYTES_MIN + bytes[0];
	out.bytes = malloc(out.capacity_bytes);
	assert(out.bytes);
	talk(bytes + 3, nr_bytes - 3, 1 + (size_t)bytes[1] * bytes[1], bytes[2], &out);
	free(out.bytes);
	return 0;
}
