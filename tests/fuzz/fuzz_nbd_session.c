/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the NBD session under any bytes in any pieces.
 *
 * Input: one byte for the send buffer's size, one for the size of the pieces,
 * then the stream. Every piece is handed over in memory of exactly its size, so
 * that a read past it is caught, and the gate sees every request.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "nbd/session.h"
#include "request/gate.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr_bytes);

static const struct nbds_export exports[] = {
	{ "a", "one", 8 * MIB, 512, 4096, REQ_BYTES_MAX, NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_DF },
	{ "", NULL, DISK_BYTES_MAX, 512, 4096, REQ_BYTES_MAX, NBD_FLAG_HAS_FLAGS },
};

/* The bytes that follow the header in the stream, or more: the connection would be closed. */
static uint64_t judge(const struct nbds_session *session, const struct nbds_request *request)
{
	struct gate_limits limits = {
		.disk_bytes = exports[session->export_index].bytes,
		.structured = session->structured,
		.has_contexts = session->contexts != 0,
		.fast_zero = true,
	};

	if (gate_check(&limits, request) == 0 && request->command != NBD_CMD_DISC)
		assert(request->offset_bytes <= limits.disk_bytes &&
		       request->length_bytes <= limits.disk_bytes - request->offset_bytes);
	assert(gate_wants_close(request) ||
	       nbds_request_payload_bytes(request) <= GATE_SWALLOW_BYTES_MAX);
	return gate_wants_close(request) ? SIZE_MAX / 2 : nbds_request_payload_bytes(request);
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

static void talk(const uint8_t *stream, size_t nr_bytes, size_t piece_bytes, struct nbds_out *out)
{
	struct nbds_session session;
	size_t eaten_bytes = 0;
	size_t arrived_bytes = 0;

	nbds_init(&session, exports, sizeof(exports) / sizeof(exports[0]));
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
			eaten_bytes += judge(&session, &event.request);
		if (progress == NBDS_NEED_MORE) {
			if (arrived_bytes == nr_bytes)
				return;
			arrived_bytes = min_u64(arrived_bytes + piece_bytes, nr_bytes);
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

	if (nr_bytes < 2)
		return 0;
	out.capacity_bytes = NBDS_OUT_BYTES_MIN + bytes[0];
	out.bytes = malloc(out.capacity_bytes);
	assert(out.bytes);
	talk(bytes + 2, nr_bytes - 2, 1 + (size_t)bytes[1] * bytes[1], &out);
	free(out.bytes);
	return 0;
}
