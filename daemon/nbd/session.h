/* SPDX-License-Identifier: MIT */
/*
 * The server's side of one NBD connection: bytes in, events and bytes out.
 *
 * The session speaks the fixed newstyle handshake and then decodes request
 * headers. It owns no socket, no clock and no memory beyond its struct, and it
 * judges syntax only: whether a request is allowed is the gate's business
 * (request/gate.h), replies to requests are encoded by nbd/reply.h, and the
 * handshake deadline (HANDSHAKE_MS) is the caller's to keep.
 *
 * Nothing here blocks, allocates or logs. A session belongs to one thread.
 */
#ifndef NBD_SESSION_H
#define NBD_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "sealblk/limits.h"
#include "sealblk/nbd_wire.h"

/* What a client may choose. The strings hold no NUL but the last, and are UTF-8. */
struct nbds_export {
	const char *name; /* unique; at most EXPORT_NAME_BYTES_MAX; "" is the default export */
	/*
	 * For people; at most EXPORT_DESCRIPTION_BYTES_MAX, or NULL. May be replaced at
	 * any time: each text lives as long as the export.
	 */
	const char *_Atomic description;
	uint64_t bytes;
	uint32_t minimum_bytes; /* "Size constraints": powers of two, but for the last */
	uint32_t preferred_bytes;
	uint32_t maximum_bytes;
	/* NBD_FLAG_*; SEND_DF and BLOCK_STATUS_PAYLOAD are hidden where they may not be shown. */
	uint16_t transmission_flags;
};

/* Metadata contexts; the numbers are the ids on the wire. */
enum nbds_context {
	NBDS_CONTEXT_ALLOCATION = 1,
	NBDS_CONTEXT_ENCRYPTION = 2,
};

enum nbds_tls {
	NBDS_TLS_NONE,	   /* STARTTLS is refused */
	NBDS_TLS_OFFERED,  /* SELECTIVETLS, of whose exports none is secret */
	NBDS_TLS_REQUIRED, /* FORCEDTLS: nothing but STARTTLS and ABORT before it */
	NBDS_TLS_ON,
};

enum nbds_stage {
	NBDS_GREETING, /* nothing sent yet */
	NBDS_CLIENT_FLAGS,
	NBDS_OPTIONS,
	NBDS_SKIPPING, /* inside an option too long to keep */
	NBDS_TRANSMISSION,
	NBDS_OVER_BROKEN,
	NBDS_OVER_FINISHED,
	NBDS_STAGES,
};

struct nbds_session {
	/* Set by nbds_init(), then read only. */
	const struct nbds_export *exports;
	unsigned int nr_exports;

	enum nbds_tls tls; /* by nbds_set_tls(), and then negotiated */

	/* Negotiated: for everyone to read from NBDS_EXPORT_CHOSEN on. */
	bool structured;   /* READ must be answered by chunks */
	bool extended;	   /* every header is of the longer kind; @structured is set as well */
	uint32_t contexts; /* of the chosen export: bits as in nbds_context_bit() */
	unsigned int export_index;

	/* The session's own. */
	enum nbds_stage stage;
	bool stopping; /* nbds_stop() has been called */
	bool no_zeroes;
	unsigned int context_export;  /* the export @contexts was asked for */
	unsigned int nr_options;      /* answered so far */
	unsigned int nr_replies_sent; /* to the option being answered */
	uint32_t skip_option;	      /* NBDS_SKIPPING: which one, and what is left of it */
	uint32_t skip_bytes;
};

/* A request header as received, not judged. */
struct nbds_request {
	uint16_t flags;	  /* NBD_CMD_FLAG_* */
	uint16_t command; /* NBD_CMD_* */
	uint64_t cookie;  /* opaque: returned in the reply */
	uint64_t offset_bytes;
	uint64_t length_bytes; /* of what it is about, or of its payload: see below */
	bool extended;	       /* came with the longer header, and is answered by such */
};

enum nbds_event_kind {
	/*
	 * What is in @out goes as it is; all that is sent and fed later goes through
	 * TLS. All of @in is eaten: what came behind STARTTLS in plaintext could be
	 * anybody's. Nothing that was negotiated before counts any more.
	 */
	NBDS_TLS_BEGINS,
	NBDS_EXPORT_CHOSEN, /* the transmission phase begins; session->export_index */
	NBDS_REQUEST,
};

struct nbds_event {
	enum nbds_event_kind kind;
	struct nbds_request request; /* NBDS_REQUEST only */
};

/* The caller's buffer for what must be sent; the session appends. */
struct nbds_out {
	uint8_t *bytes;
	size_t capacity_bytes; /* at least NBDS_OUT_BYTES_MIN */
	size_t used_bytes;
};

enum {
	NBDS_OPTION_TEXT_BYTES_MAX = 64, /* of our error texts */

	/* The longest single reply of the handshake: one line of LIST. */
	NBDS_OUT_BYTES_MIN = sizeof(struct nbd_option_reply) + sizeof(struct nbd_rep_server) +
			     EXPORT_NAME_BYTES_MAX + EXPORT_DESCRIPTION_BYTES_MAX,

	/* The most that must be in one piece in the input: an option with its header. */
	NBDS_IN_BYTES_MAX = sizeof(struct nbd_option) + NBD_OPTION_BYTES_MAX,
};

enum nbds_progress {
	NBDS_NEED_MORE, /* not an error: call again with more input */
	NBDS_NEED_ROOM, /* send what is in @out, empty it, call again with the rest of @in */
	NBDS_EVENT,	/* *event is filled in; there may be more input to feed */
	NBDS_BROKEN,	/* the client broke a rule: send what is in @out, close */
	NBDS_FINISHED,	/* the client is done, or chose nothing we have: the same */
};

/*
 * @exports: the caller's, frozen, and living as long as @session; at most
 *     EXPORTS_MAX. Their limits are asserted.
 */
void nbds_init(struct nbds_session *session, const struct nbds_export *exports,
	       unsigned int nr_exports);

/* Right after nbds_init(), unless there is no TLS: NBDS_TLS_OFFERED or NBDS_TLS_REQUIRED. */
void nbds_set_tls(struct nbds_session *session, enum nbds_tls tls);

/*
 * The server stops. From here on every option but ABORT gets NBD_REP_ERR_SHUTDOWN;
 * EXPORT_NAME, which knows no errors, ends the session. An option whose replies
 * have begun to go out is answered to its end. Requests are the gate's business.
 */
void nbds_stop(struct nbds_session *session);

/*
 * Eat a prefix of @in, append replies to @out.
 *
 * Call it once with no input to get the greeting, then whenever input has come
 * or room was made. *used tells how much of @in is done with: the rest must be
 * at the start of @in of the next call, unchanged. What is left at
 * NBDS_NEED_MORE is at most NBDS_IN_BYTES_MAX - 1 bytes. NBDS_NEED_ROOM comes
 * only with something in @out.
 *
 * After an NBDS_REQUEST the caller takes nbds_request_payload_bytes() off the
 * stream before it feeds again, and feeds nothing after NBD_CMD_DISC. Once
 * BROKEN or FINISHED, the answer stays the same and nothing is eaten.
 */
enum nbds_progress MUST_CHECK nbds_feed(struct nbds_session *session, const uint8_t *in,
					size_t in_bytes, size_t *used, struct nbds_out *out,
					struct nbds_event *event);

/*
 * How many bytes follow the header of @request on the stream: an extended one says
 * itself whether there are any, whatever the command.
 */
static inline uint64_t nbds_request_payload_bytes(const struct nbds_request *request)
{
	const bool has_payload = request->extended ? request->flags & NBD_CMD_FLAG_PAYLOAD_LEN
						   : request->command == NBD_CMD_WRITE;

	return has_payload ? request->length_bytes : 0;
}

/* A member of a set of contexts. */
static inline uint32_t nbds_context_bit(enum nbds_context context)
{
	return UINT32_C(1) << context;
}

/*
 * A BLOCK_STATUS whose payload says what it is about: until that has come,
 * @request->length_bytes is the length of the payload.
 */
static inline bool nbds_is_status_query(const struct nbds_request *request)
{
	return request->extended && request->command == NBD_CMD_BLOCK_STATUS &&
	       request->flags & NBD_CMD_FLAG_PAYLOAD_LEN;
}

/* Lengths that such a payload may have: one context, up to all of them. */
enum {
	NBDS_QUERY_BYTES_MIN = sizeof(struct nbd_status_query) + sizeof(be32),
	NBDS_QUERY_BYTES_MAX = sizeof(struct nbd_status_query) + NBD_CONTEXTS_MAX * sizeof(be32),
};

/*
 * Decode such a payload. *ret_contexts: a set. Returns 0; -EINVAL: of another
 * length, or a context that there is not, or one twice.
 */
int MUST_CHECK nbds_decode_query(const uint8_t *payload, size_t payload_bytes,
				 uint64_t *ret_effect_bytes, uint32_t *ret_contexts);

_Static_assert(NBDS_OUT_BYTES_MIN >= sizeof(struct nbd_export_name_reply), "fits");
_Static_assert(NBDS_OUT_BYTES_MIN >= sizeof(struct nbd_option_reply) + NBDS_OPTION_TEXT_BYTES_MAX,
	       "fits");

#endif
