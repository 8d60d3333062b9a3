/* SPDX-License-Identifier: MIT */
/* Every rule of the gate, one row each. */
#include "request/gate.h"

#include <criterion/criterion.h>
#include <errno.h>

enum {
	FUA = NBD_CMD_FLAG_FUA,
	NO_HOLE = NBD_CMD_FLAG_NO_HOLE,
	DF = NBD_CMD_FLAG_DF,
	REQ_ONE = NBD_CMD_FLAG_REQ_ONE,
	FAST_ZERO = NBD_CMD_FLAG_FAST_ZERO,
	PAYLOAD_LEN = NBD_CMD_FLAG_PAYLOAD_LEN,

	READ = NBD_CMD_READ,
	WRITE = NBD_CMD_WRITE,
	DISC = NBD_CMD_DISC,
	FLUSH = NBD_CMD_FLUSH,
	TRIM = NBD_CMD_TRIM,
	CACHE = NBD_CMD_CACHE,
	ZERO = NBD_CMD_WRITE_ZEROES,
	STATUS = NBD_CMD_BLOCK_STATUS,
	COMMANDS,
};

static const uint64_t disk_bytes = 16 * GIB;
enum {
	ALLOCATION = 1 << NBDS_CONTEXT_ALLOCATION,
	ENCRYPTION = 1 << NBDS_CONTEXT_ENCRYPTION,
};

#define NEGOTIATED .structured = true, .contexts = ALLOCATION, .fast_zero = true
static const struct gate_limits everything = { .disk_bytes = 16 * GIB, NEGOTIATED };
static const struct gate_limits nothing = { .disk_bytes = 16 * GIB };
static const struct gate_limits read_only = { .disk_bytes = 16 * GIB,
					      .read_only = true,
					      NEGOTIATED };
static const struct gate_limits revoked = { .disk_bytes = 16 * GIB, .revoked = true, NEGOTIATED };
static const struct gate_limits stopping = {
	.disk_bytes = 16 * GIB, .read_only = true, .stopping = true, .revoked = true, NEGOTIATED
};
static const struct gate_limits queries = { .disk_bytes = 16 * GIB,
					    .status_payload = true,
					    NEGOTIATED };
static const struct gate_limits huge = { .disk_bytes = DISK_BYTES_MAX, NEGOTIATED };
static const struct gate_limits empty = { NEGOTIATED };

static const struct {
	const struct gate_limits *limits;
	uint16_t command;
	uint16_t flags;
	uint64_t offset_bytes;
	uint64_t length_bytes;
	int rc;
} rows[] = {
	/* Plain requests of every command, with the least and the most negotiated. */
	{ &nothing, READ, 0, 0, 4096, 0 },
	{ &nothing, WRITE, 0, 0, 4096, 0 },
	{ &nothing, FLUSH, 0, 0, 0, 0 },
	{ &nothing, TRIM, 0, 0, 4096, 0 },
	{ &nothing, CACHE, 0, 0, 4096, 0 },
	{ &nothing, ZERO, NO_HOLE, 0, 4096, 0 },
	{ &everything, STATUS, 0, 0, 4096, 0 },
	{ &nothing, DISC, 0, 0, 0, 0 },

	/* Revoked keys: nothing but the end of the connection, and mistakes told as such. */
	{ &revoked, READ, 0, 0, 4096, -EPERM },
	{ &revoked, WRITE, 0, 0, 4096, -EPERM },
	{ &revoked, FLUSH, 0, 0, 0, -EPERM },
	{ &revoked, TRIM, 0, 0, 4096, -EPERM },
	{ &revoked, CACHE, 0, 0, 4096, -EPERM },
	{ &revoked, ZERO, NO_HOLE, 0, 4096, -EPERM },
	{ &revoked, STATUS, 0, 0, 4096, -EPERM },
	{ &revoked, READ, 0, 0, 0, -EPERM },
	{ &revoked, WRITE, 0, 16 * GIB, 512, -EPERM },
	{ &revoked, DISC, 0, 0, 0, 0 },
	{ &revoked, FLUSH, 0, 0, 512, -EINVAL },
	{ &revoked, READ, NO_HOLE, 0, 512, -EINVAL },
	{ &revoked, 8, 0, 0, 512, -EINVAL },

	/* A server that stops: the same, and it comes before all that is not a mistake. */
	{ &stopping, READ, 0, 0, 4096, -ESHUTDOWN },
	{ &stopping, WRITE, 0, 0, 4096, -ESHUTDOWN },
	{ &stopping, FLUSH, 0, 0, 0, -ESHUTDOWN },
	{ &stopping, TRIM, 0, 0, 4096, -ESHUTDOWN },
	{ &stopping, CACHE, 0, 0, 4096, -ESHUTDOWN },
	{ &stopping, ZERO, FAST_ZERO, 0, 4096, -ESHUTDOWN },
	{ &stopping, STATUS, 0, 0, 4096, -ESHUTDOWN },
	{ &stopping, DISC, 0, 0, 0, 0 },
	{ &stopping, FLUSH, 0, 0, 512, -EINVAL },
	{ &stopping, 8, 0, 0, 512, -EINVAL },

	/* Unknown commands. */
	{ &everything, 8, 0, 0, 512, -EINVAL },
	{ &everything, UINT16_MAX, 0, 0, 512, -EINVAL },

	/* What must have been negotiated or advertised. */
	{ &everything, READ, DF, 0, 512, 0 },
	{ &nothing, READ, DF, 0, 512, -EINVAL },
	{ &everything, ZERO, FAST_ZERO, 0, 512, 0 },
	{ &nothing, ZERO, FAST_ZERO, 0, 512, -EINVAL },
	{ &nothing, ZERO, FAST_ZERO | NO_HOLE, 0, 512, -EINVAL },
	{ &everything, ZERO, FAST_ZERO | NO_HOLE, 0, 512, -ENOTSUP },
	{ &everything, STATUS, REQ_ONE, 0, 512, 0 },
	{ &nothing, STATUS, 0, 0, 512, -EINVAL },

	/* Sectors. */
	{ &everything, READ, 0, 1, 512, -EINVAL },
	{ &everything, READ, 0, 511, 512, -EINVAL },
	{ &everything, WRITE, 0, 512, 513, -EINVAL },
	{ &everything, TRIM, 0, 512, 511, -EINVAL },
	{ &everything, ZERO, 0, 256, 256, -EINVAL },
	{ &everything, CACHE, 0, 0, 1, -EINVAL },
	{ &everything, STATUS, 0, 1, 512, -EINVAL },
	{ &everything, TRIM, 0, 0, UINT32_MAX, -EINVAL },
	{ &everything, WRITE, 0, UINT64_MAX, 512, -EINVAL },

	/* Payloads; commands without one may be as long as they like. */
	{ &everything, READ, 0, 0, REQ_BYTES_MAX, 0 },
	{ &everything, READ, 0, 0, REQ_BYTES_MAX + 512, -EOVERFLOW },
	{ &everything, READ, DF, 0, REQ_BYTES_MAX + 512, -EOVERFLOW },
	{ &nothing, READ, 0, 0, REQ_BYTES_MAX + 512, -EINVAL },
	{ &everything, WRITE, 0, 0, REQ_BYTES_MAX, 0 },
	{ &everything, WRITE, 0, 0, REQ_BYTES_MAX + 512, -EINVAL },
	{ &everything, READ, 0, 0, UINT32_MAX - 511, -EOVERFLOW },
	{ &everything, TRIM, 0, 0, UINT32_MAX - 511, 0 },
	{ &everything, ZERO, 0, 512, UINT32_MAX - 511, 0 },
	{ &everything, CACHE, 0, 0, UINT32_MAX - 511, 0 },
	{ &everything, STATUS, 0, 0, UINT32_MAX - 511, 0 },
	{ &huge, STATUS, 0, DISK_BYTES_MAX - UINT32_MAX + 511, UINT32_MAX - 511, 0 },

	/* The end of the disk. */
	{ &everything, READ, 0, 16 * GIB - 512, 512, 0 },
	{ &everything, READ, 0, 16 * GIB - 512, 1024, -EINVAL },
	{ &everything, READ, 0, 16 * GIB, 512, -EINVAL },
	{ &everything, READ, 0, 16 * GIB - 512, REQ_BYTES_MAX + 512, -EINVAL },
	{ &everything, WRITE, 0, 16 * GIB - 512, REQ_BYTES_MAX + 512, -ENOSPC },
	{ &everything, WRITE, 0, 16 * GIB - 512, 512, 0 },
	{ &everything, WRITE, 0, 16 * GIB - 512, 1024, -ENOSPC },
	{ &everything, WRITE, FUA, 16 * GIB, 512, -ENOSPC },
	{ &everything, ZERO, 0, 16 * GIB - 512, 1024, -ENOSPC },
	{ &everything, ZERO, FAST_ZERO | NO_HOLE, 16 * GIB, 512, -ENOSPC },
	{ &everything, TRIM, 0, 16 * GIB - 512, 1024, -EINVAL },
	{ &everything, CACHE, 0, 16 * GIB, 512, -EINVAL },
	{ &everything, STATUS, 0, 16 * GIB - 512, 1024, -EINVAL },
	{ &everything, STATUS, REQ_ONE, 16 * GIB, 512, -EINVAL },
	{ &empty, READ, 0, 0, 512, -EINVAL },
	{ &empty, WRITE, 0, 0, 512, -ENOSPC },

	/* Ends beyond 2^64. */
	{ &everything, READ, 0, UINT64_MAX - 511, 512, -EINVAL },
	{ &everything, READ, 0, UINT64_MAX - 511, 1024, -EINVAL },
	{ &everything, WRITE, 0, UINT64_MAX - 511, 512, -ENOSPC },
	{ &everything, ZERO, 0, UINT64_MAX - 511, UINT32_MAX - 511, -ENOSPC },
	{ &huge, TRIM, 0, UINT64_MAX - 511, UINT32_MAX - 511, -EINVAL },

	/* Read only. */
	{ &read_only, READ, 0, 0, 512, 0 },
	{ &read_only, FLUSH, 0, 0, 0, 0 },
	{ &read_only, CACHE, 0, 0, 512, 0 },
	{ &read_only, STATUS, 0, 0, 512, 0 },
	{ &read_only, WRITE, 0, 0, 512, -EPERM },
	{ &read_only, TRIM, 0, 0, 512, -EPERM },
	{ &read_only, ZERO, 0, 0, 512, -EPERM },
	{ &read_only, WRITE, 0, 16 * GIB, 512, -EPERM },
	{ &read_only, WRITE, 0, 0, 0, -EPERM },
	{ &read_only, WRITE, DF, 0, 512, -EINVAL },

	/* Nothing to do. */
	{ &everything, READ, 0, 0, 0, 0 },
	{ &everything, READ, 0, 16 * GIB, 0, 0 },
	{ &everything, READ, 0, 16 * GIB + 512, 0, -EINVAL },
	{ &everything, READ, 0, 1, 0, -EINVAL },
	{ &everything, WRITE, 0, 512, 0, 0 },
	{ &everything, TRIM, 0, 512, 0, 0 },
	{ &everything, ZERO, 0, 512, 0, 0 },
	{ &everything, CACHE, 0, 512, 0, 0 },
	{ &everything, STATUS, 0, 512, 0, -EINVAL },

	/* Reserved fields. */
	{ &everything, FLUSH, FUA, 0, 0, 0 },
	{ &everything, FLUSH, 0, 512, 0, -EINVAL },
	{ &everything, FLUSH, 0, 0, 512, -EINVAL },
	{ &everything, DISC, UINT16_MAX, 1, 1, 0 },
	{ &nothing, DISC, DF, 0, 0, 0 },
};

Test(gate, every_rule_holds)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct nbds_request r = {
			.flags = rows[i].flags,
			.command = rows[i].command,
			.cookie = i,
			.offset_bytes = rows[i].offset_bytes,
			.length_bytes = rows[i].length_bytes,
		};
		int rc = gate_check(rows[i].limits, &r);

		cr_assert_eq(rc, rows[i].rc, "row %zu: command %u gave %d, not %d", i, r.command,
			     rc, rows[i].rc);
	}
}

/* With extended headers; PAYLOAD_LEN tells whether @length_bytes is that of a payload. */
static const struct {
	const struct gate_limits *limits;
	uint16_t command;
	uint16_t flags;
	uint64_t offset_bytes;
	uint64_t length_bytes;
	int rc;
} extended_rows[] = {
	/* A payload where there must be one, and nowhere else. */
	{ &everything, WRITE, PAYLOAD_LEN, 0, 4096, 0 },
	{ &everything, WRITE, PAYLOAD_LEN | FUA, 0, REQ_BYTES_MAX, 0 },
	{ &everything, WRITE, 0, 0, 4096, -EINVAL },
	{ &everything, WRITE, FUA, 0, 0, -EINVAL },
	{ &everything, WRITE, PAYLOAD_LEN, 0, REQ_BYTES_MAX + 512, -EINVAL },
	{ &everything, WRITE, PAYLOAD_LEN, 0, 513, -EINVAL },
	{ &everything, WRITE, PAYLOAD_LEN, 16 * GIB, 512, -ENOSPC },
	{ &read_only, WRITE, PAYLOAD_LEN, 0, 512, -EPERM },
	{ &everything, READ, PAYLOAD_LEN, 0, 4096, -EINVAL },
	{ &everything, FLUSH, PAYLOAD_LEN, 0, 0, -EINVAL },
	{ &everything, TRIM, PAYLOAD_LEN, 0, 4096, -EINVAL },
	{ &everything, CACHE, PAYLOAD_LEN, 0, 4096, -EINVAL },
	{ &everything, ZERO, PAYLOAD_LEN, 0, 4096, -EINVAL },
	{ &everything, 8, PAYLOAD_LEN, 0, 4096, -EINVAL },
	{ &everything, DISC, PAYLOAD_LEN, 0, 4096, 0 },

	/* 64 bits for what has no payload. */
	{ &everything, TRIM, 0, 0, 16 * GIB, 0 },
	{ &everything, ZERO, 0, 0, 16 * GIB, 0 },
	{ &everything, ZERO, FAST_ZERO, 0, 16 * GIB, 0 },
	{ &everything, CACHE, 0, 512, 16 * GIB - 512, 0 },
	{ &everything, STATUS, 0, 0, 16 * GIB, 0 },
	{ &everything, STATUS, REQ_ONE, 0, 16 * GIB, 0 },
	{ &huge, TRIM, 0, 0, DISK_BYTES_MAX, 0 },
	{ &huge, STATUS, 0, 0, DISK_BYTES_MAX, 0 },
	{ &everything, TRIM, 0, 512, 16 * GIB, -EINVAL },
	{ &everything, ZERO, 0, 512, 16 * GIB, -ENOSPC },
	{ &everything, CACHE, 0, 0, 16 * GIB + 512, -EINVAL },
	{ &everything, STATUS, 0, 0, 16 * GIB + 512, -EINVAL },
	{ &everything, TRIM, 0, 0, UINT64_MAX, -EINVAL },
	{ &everything, TRIM, 0, 512, UINT64_MAX - 511, -EINVAL },
	{ &everything, ZERO, 0, 1024, UINT64_MAX - 511, -ENOSPC },
	{ &everything, STATUS, 0, UINT64_MAX - 511, UINT64_MAX - 511, -EINVAL },

	/* Zeros that take space are written, and so are no more than data may be in the end. */
	{ &everything, ZERO, NO_HOLE, 0, 4 * GIB - 512, 0 },
	{ &everything, ZERO, NO_HOLE, 0, 4 * GIB, -EOVERFLOW },
	{ &everything, ZERO, NO_HOLE, 512, 16 * GIB, -ENOSPC },
	{ &everything, ZERO, NO_HOLE | FAST_ZERO, 0, 4 * GIB, -ENOTSUP },

	/* BLOCK_STATUS may have one, where that was offered; what it says is judged later. */
	{ &everything, STATUS, PAYLOAD_LEN, 0, 12, -EINVAL },
	{ &queries, STATUS, PAYLOAD_LEN, 0, 12, 0 },
	{ &queries, STATUS, PAYLOAD_LEN | REQ_ONE | FUA, 0, 16, 0 },
	{ &queries, STATUS, PAYLOAD_LEN, 1, 12, 0 },
	{ &queries, STATUS, PAYLOAD_LEN, 0, 0, -EINVAL },
	{ &queries, STATUS, PAYLOAD_LEN, 0, 4, -EINVAL },
	{ &queries, STATUS, PAYLOAD_LEN, 0, 8, -EINVAL },
	{ &queries, STATUS, PAYLOAD_LEN, 0, 13, -EINVAL },
	{ &queries, STATUS, PAYLOAD_LEN, 0, 20, -EINVAL },
	{ &queries, STATUS, PAYLOAD_LEN, 0, UINT64_MAX - 3, -EINVAL },
	{ &queries, STATUS, PAYLOAD_LEN | DF, 0, 12, -EINVAL },
	{ &queries, TRIM, PAYLOAD_LEN, 0, 12, -EINVAL },
	{ &queries, STATUS, 0, 0, 16 * GIB, 0 },

	/* READ has a payload in its reply. */
	{ &everything, READ, 0, 0, REQ_BYTES_MAX, 0 },
	{ &everything, READ, DF, 0, REQ_BYTES_MAX, 0 },
	{ &everything, READ, 0, 0, 4 * GIB + 512, -EOVERFLOW },
	{ &everything, READ, 0, 0, UINT64_MAX - 511, -EINVAL },
};

Test(gate, every_rule_of_extended_headers_holds)
{
	for (size_t i = 0; i < ARRAY_LEN(extended_rows); i++) {
		struct nbds_request r = {
			.extended = true,
			.flags = extended_rows[i].flags,
			.command = extended_rows[i].command,
			.offset_bytes = extended_rows[i].offset_bytes,
			.length_bytes = extended_rows[i].length_bytes,
		};
		int rc = gate_check(extended_rows[i].limits, &r);

		cr_assert_eq(rc, extended_rows[i].rc, "row %zu: command %u gave %d, not %d", i,
			     r.command, rc, extended_rows[i].rc);
	}
}

Test(gate, the_payload_of_a_query_is_judged_as_the_request_it_stands_for)
{
	static const struct {
		uint64_t offset_bytes;
		uint64_t effect_bytes;
		uint32_t id;
		int rc;
	} payloads[] = {
		{ 0, 16 * GIB, NBDS_CONTEXT_ALLOCATION, 0 },
		{ 512, 512, NBDS_CONTEXT_ALLOCATION, 0 },
		{ 512, 16 * GIB, NBDS_CONTEXT_ALLOCATION, -EINVAL },
		{ 0, UINT64_MAX, NBDS_CONTEXT_ALLOCATION, -EINVAL },
		{ 0, 513, NBDS_CONTEXT_ALLOCATION, -EINVAL },
		{ 1, 512, NBDS_CONTEXT_ALLOCATION, -EINVAL },
		{ 0, 0, NBDS_CONTEXT_ALLOCATION, -EINVAL },
		{ 0, 512, NBDS_CONTEXT_ENCRYPTION, -EINVAL }, /* not selected */
		{ 0, 512, 0, -EINVAL },
		{ 0, 512, 64, -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_LEN(payloads); i++) {
		const struct nbds_request r = {
			.extended = true,
			.flags = PAYLOAD_LEN | REQ_ONE,
			.command = STATUS,
			.cookie = i,
			.offset_bytes = payloads[i].offset_bytes,
			.length_bytes = 12,
		};
		struct {
			be64 effect_bytes;
			be32 id;
		} payload = { be64_of(payloads[i].effect_bytes), be32_of(payloads[i].id) };
		struct nbds_request plain;
		uint32_t contexts;
		int rc = gate_check_query(&queries, &r, (const uint8_t *)&payload, &plain,
					  &contexts);

		cr_assert_eq(rc, payloads[i].rc, "row %zu: %d", i, rc);
		if (rc < 0)
			continue;
		cr_assert_eq(contexts, ALLOCATION);
		cr_assert_eq(plain.flags, REQ_ONE);
		cr_assert_eq(plain.length_bytes, payloads[i].effect_bytes);
		cr_assert_eq(plain.offset_bytes, payloads[i].offset_bytes);
		cr_assert_eq(plain.cookie, i);
		cr_assert_eq(nbds_request_payload_bytes(&plain), 0);
	}
}

Test(gate, a_payload_that_is_too_long_to_drop_ends_the_connection)
{
	static const struct {
		bool extended;
		uint16_t command;
		uint16_t flags;
		uint64_t length_bytes;
		bool close;
	} payloads[] = {
		{ false, WRITE, 0, 64 << 20, false },
		{ false, WRITE, 0, (64 << 20) + 1, true },
		{ false, READ, PAYLOAD_LEN, UINT32_MAX, false },
		{ false, TRIM, 0, UINT32_MAX, false },
		{ true, WRITE, PAYLOAD_LEN, 32 << 20, false },
		{ true, WRITE, PAYLOAD_LEN, (32 << 20) + 1, true },
		{ true, WRITE, 0, UINT64_MAX, false },
		{ true, STATUS, PAYLOAD_LEN, 32 << 20, false },
		{ true, STATUS, PAYLOAD_LEN, (32 << 20) + 1, true },
		{ true, UINT16_MAX, PAYLOAD_LEN, UINT64_MAX, true },
		{ true, TRIM, 0, UINT64_MAX, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(payloads); i++) {
		struct nbds_request r = {
			.extended = payloads[i].extended,
			.flags = payloads[i].flags,
			.command = payloads[i].command,
			.length_bytes = payloads[i].length_bytes,
		};

		cr_assert_eq(gate_wants_close(&r), payloads[i].close, "row %zu", i);
	}
}

/* All 16 flags against all commands, with everything negotiated. */
Test(gate, each_flag_is_allowed_on_its_own_commands_only)
{
	static const uint16_t allowed[COMMANDS] = {
		[READ] = FUA | DF,
		[WRITE] = FUA,
		[DISC] = UINT16_MAX,
		[FLUSH] = FUA,
		[TRIM] = FUA,
		[CACHE] = FUA,
		[STATUS] = FUA | REQ_ONE,
		[ZERO] = FUA | NO_HOLE | FAST_ZERO,
	};

	for (uint16_t command = 0; command < COMMANDS; command++)
		for (int bit = 0; bit < 16; bit++) {
			struct nbds_request r = {
				.flags = (uint16_t)(1 << bit),
				.command = command,
				.length_bytes = command == FLUSH ? 0 : 512,
			};
			int rc = allowed[command] & r.flags ? 0 : -EINVAL;

			cr_assert_eq(gate_check(&everything, &r), rc, "command %u bit %d", command,
				     bit);
		}
}

/* The promise the rest of the daemon asserts. */
Test(gate, what_passes_lies_inside_the_disk_in_whole_sectors)
{
	static const uint64_t edges[] = { 0, 512, 16 * GIB, DISK_BYTES_MAX, UINT64_C(1) << 63, 0 };
	unsigned int nr_passed = 0;

	for (uint16_t command = 0; command < COMMANDS; command++)
		for (size_t e = 0; e < ARRAY_LEN(edges); e++)
			for (uint64_t step = 0; step < 5; step++) {
				struct nbds_request r = {
					.command = command,
					.offset_bytes = edges[e] - 1024 + 512 * step,
					.length_bytes = 1024,
				};

				if (command == DISC || gate_check(&everything, &r) < 0)
					continue;
				nr_passed++;
				cr_assert_leq(r.offset_bytes, disk_bytes - 1024);
			}
	cr_assert_gt(nr_passed, 0);
}
