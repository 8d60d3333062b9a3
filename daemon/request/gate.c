/* SPDX-License-Identifier: MIT */
/* Judging requests: a table of what each operation may carry, then the numbers. */
#include "request/gate.h"

#include <errno.h>

#include "request/op.h"

enum gate_range {
	GATE_NO_RANGE,	 /* nothing to check: there is no reply */
	GATE_ALL_ZERO,	 /* offset and length are reserved */
	GATE_RANGE,	 /* whole sectors inside the disk; may be empty */
	GATE_SOME_RANGE, /* the same, not empty */
};

static const struct gate_row {
	uint16_t flags; /* allowed besides FUA, which is allowed everywhere */
	enum gate_range range;
	uint64_t length_bytes_max;
	int past_end;
} gate_rows[REQ_OPS] = {
	[REQ_READ] = { NBD_CMD_FLAG_DF, GATE_RANGE, REQ_BYTES_MAX, -EINVAL },
	[REQ_WRITE] = { 0, GATE_RANGE, REQ_BYTES_MAX, -ENOSPC },
	[REQ_FLUSH] = { 0, GATE_ALL_ZERO, 0, -EINVAL },
	[REQ_TRIM] = { 0, GATE_RANGE, UINT64_MAX, -EINVAL },
	[REQ_ZERO] = { NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO, GATE_RANGE, UINT64_MAX,
		       -ENOSPC },
	[REQ_CACHE] = { 0, GATE_RANGE, UINT64_MAX, -EINVAL },
	[REQ_STATUS] = { NBD_CMD_FLAG_REQ_ONE, GATE_SOME_RANGE, UINT64_MAX, -EINVAL },
	[REQ_DISC] = { UINT16_MAX, GATE_NO_RANGE, 0, 0 },
};

/* Flags that need something negotiated or advertised, and did not get it. */
static uint16_t flags_not_offered(const struct gate_limits *limits)
{
	return (uint16_t)((limits->structured ? 0 : NBD_CMD_FLAG_DF) |
			  (limits->fast_zero ? 0 : NBD_CMD_FLAG_FAST_ZERO));
}

/* An extended header says whether there is a payload; a compact one must not. */
static bool payload_is_right(const struct gate_limits *limits, const struct nbds_request *r,
			     enum req_op op)
{
	const bool has_payload = r->flags & NBD_CMD_FLAG_PAYLOAD_LEN;

	if (nbds_is_status_query(r))
		return limits->status_payload && r->length_bytes >= NBDS_QUERY_BYTES_MIN &&
		       r->length_bytes <= NBDS_QUERY_BYTES_MAX &&
		       r->length_bytes % sizeof(be32) == 0;
	return has_payload == (r->extended && op == REQ_WRITE);
}

static int check_flags(const struct gate_limits *limits, const struct gate_row *row, uint16_t flags)
{
	unsigned int allowed = row->flags;

	if (row->range != GATE_NO_RANGE)
		allowed &= ~(unsigned int)flags_not_offered(limits);
	return (flags & ~(allowed | NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_PAYLOAD_LEN)) ? -EINVAL : 0;
}

static int check_range(const struct gate_limits *limits, const struct gate_row *row,
		       const struct nbds_request *r)
{
	uint64_t end_bytes;

	if ((r->offset_bytes | r->length_bytes) % SECTOR_BYTES != 0)
		return -EINVAL;
	if (__builtin_add_overflow(r->offset_bytes, r->length_bytes, &end_bytes) ||
	    end_bytes > limits->disk_bytes)
		return row->past_end;
	if (r->length_bytes > row->length_bytes_max)
		return r->command == NBD_CMD_READ && limits->structured ? -EOVERFLOW : -EINVAL;
	return 0;
}

static bool cannot_be_fast(const struct nbds_request *r)
{
	const uint16_t both = NBD_CMD_FLAG_FAST_ZERO | NBD_CMD_FLAG_NO_HOLE;

	return (r->flags & both) == both;
}

int gate_check(const struct gate_limits *limits, const struct nbds_request *r)
{
	const struct gate_row *row;
	enum req_op op;
	int rc = req_op_of_command(r->command, &op);

	if (rc < 0)
		return rc;
	row = &gate_rows[op];
	rc = check_flags(limits, row, r->flags);
	if (rc < 0 || row->range == GATE_NO_RANGE)
		return rc;

	if (!payload_is_right(limits, r, op))
		return -EINVAL;
	if (op == REQ_STATUS && !limits->contexts)
		return -EINVAL;
	if (row->range == GATE_SOME_RANGE && r->length_bytes == 0)
		return -EINVAL;
	if (row->range == GATE_ALL_ZERO && (r->offset_bytes | r->length_bytes))
		return -EINVAL;
	if (limits->stopping)
		return -ESHUTDOWN;
	if (limits->revoked)
		return -EPERM;
	if (row->range == GATE_ALL_ZERO || nbds_is_status_query(r))
		return 0;
	if (req_op_changes_disk(op) && limits->read_only)
		return -EPERM;

	rc = check_range(limits, row, r);
	if (rc == 0 && op == REQ_ZERO && cannot_be_fast(r))
		rc = -ENOTSUP;
	if (rc == 0 && r->flags & NBD_CMD_FLAG_NO_HOLE && r->length_bytes > GATE_FILL_BYTES_MAX)
		rc = -EOVERFLOW;
	return rc;
}

int gate_check_query(const struct gate_limits *limits, const struct nbds_request *request,
		     const uint8_t *payload, struct nbds_request *ret_plain, uint32_t *ret_contexts)
{
	struct nbds_request plain = *request;
	uint32_t contexts;
	int rc = nbds_decode_query(payload, request->length_bytes, &plain.length_bytes, &contexts);

	if (rc < 0 || contexts & ~limits->contexts)
		return -EINVAL;
	plain.flags &= (uint16_t)~NBD_CMD_FLAG_PAYLOAD_LEN;
	*ret_plain = plain;
	*ret_contexts = contexts;
	return gate_check(limits, &plain);
}

bool gate_wants_close(const struct nbds_request *request)
{
	return nbds_request_payload_bytes(request) >
	       (uint64_t)(request->extended ? GATE_SWALLOW_EXTENDED_BYTES_MAX
					    : GATE_SWALLOW_BYTES_MAX);
}
