/* SPDX-License-Identifier: MIT */
/*
 * The gate: the only place that judges what a client asked for. Behind it a
 * request is aligned, inside the disk and allowed, and the rest asserts that.
 */
#ifndef REQUEST_GATE_H
#define REQUEST_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "nbd/session.h"

/* What was promised to this client about this export. */
struct gate_limits {
	uint64_t disk_bytes;
	bool read_only;
	bool stopping;	     /* the server is: what comes now is refused */
	bool revoked;	     /* the image's keys are, for now: all I/O is refused */
	bool structured;     /* structured replies negotiated, hence DF allowed */
	uint32_t contexts;   /* selected, hence BLOCK_STATUS of them allowed (nbds_context_bit()) */
	bool fast_zero;	     /* NBD_FLAG_SEND_FAST_ZERO advertised */
	bool status_payload; /* NBD_FLAG_BLOCK_STATUS_PAYLOAD advertised */
};

/*
 * A refused request has its payload on the stream all the same. Up to here the
 * connection reads and drops it, so that the client gets its error. Extended
 * headers say that a longer one than was advertised is to be cut off.
 */
enum {
	GATE_SWALLOW_BYTES_MAX = 2 * REQ_BYTES_MAX,
	GATE_SWALLOW_EXTENDED_BYTES_MAX = REQ_BYTES_MAX,
};

/* Zeros that have to be written cost what data costs: no more of them in one request. */
#define GATE_FILL_BYTES_MAX ((uint64_t)UINT32_MAX)

/*
 * Is the payload of @request so long that it is taken for an attack, and the
 * connection to be closed at once ("Size constraints" allows it above 32 MiB)?
 */
bool gate_wants_close(const struct nbds_request *request);

/*
 * May @request be carried out? Returns 0 or, in this order of precedence:
 *
 * -EINVAL  command unknown; a flag unknown or not this command's (FUA is every
 *          command's, DF only with structured replies, FAST_ZERO only if
 *          advertised); a payload where there is none, or none where there must
 *          be one; BLOCK_STATUS without a context or with length 0;
 *          FLUSH with an offset or a length
 * -ESHUTDOWN anything while the server stops
 * -EPERM   anything while the keys are revoked; WRITE, TRIM or WRITE_ZEROES on a
 *          read-only export
 * -EINVAL  offset or length not in whole sectors
 * -ENOSPC  WRITE or WRITE_ZEROES past the end of the disk
 * -EINVAL  any other command past the end
 * -EINVAL  WRITE, or READ with simple replies, longer than REQ_BYTES_MAX
 * -EOVERFLOW READ with structured replies longer than that: try it in pieces
 * -ENOTSUP WRITE_ZEROES with FAST_ZERO and NO_HOLE: allocating is never fast
 * -EOVERFLOW WRITE_ZEROES with NO_HOLE longer than GATE_FILL_BYTES_MAX
 *
 * Length 0 (elsewhere than above) is allowed and means that nothing is done:
 * the protocol leaves it open. No data chunk may be empty, so a structured READ
 * of length 0 is answered with nbds_encode_none(). DISC is always allowed: it has no reply that
 * could tell of an error. TRIM, WRITE_ZEROES, CACHE and BLOCK_STATUS carry no
 * payload and may be as long as the disk.
 *
 * A BLOCK_STATUS with a payload (nbds_is_status_query()) says there what it is
 * about: all but that is judged here, and the rest by gate_check_query().
 *
 * Pure: never blocks, allocates or logs.
 */
int MUST_CHECK gate_check(const struct gate_limits *limits, const struct nbds_request *request);

/*
 * The payload of such a request, which gate_check() has passed, has come:
 * @request->length_bytes at @payload. *ret_plain: the same request in the form
 * without a payload; *ret_contexts: those that the client wants. Returns 0; -EINVAL: a
 * context that it did not select, or twice; or what gate_check() says of *ret_plain.
 */
int MUST_CHECK gate_check_query(const struct gate_limits *limits,
				const struct nbds_request *request, const uint8_t *payload,
				struct nbds_request *ret_plain, uint32_t *ret_contexts);

#endif
