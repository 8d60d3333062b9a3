/* SPDX-License-Identifier: MIT */
#include "request/op.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "sealblk/nbd_wire.h"

static const struct {
	uint16_t command;
	enum req_op op;
	bool changes_disk;
} rows[] = {
	{ NBD_CMD_READ, REQ_READ, false },	  { NBD_CMD_WRITE, REQ_WRITE, true },
	{ NBD_CMD_DISC, REQ_DISC, false },	  { NBD_CMD_FLUSH, REQ_FLUSH, false },
	{ NBD_CMD_TRIM, REQ_TRIM, true },	  { NBD_CMD_CACHE, REQ_CACHE, false },
	{ NBD_CMD_WRITE_ZEROES, REQ_ZERO, true }, { NBD_CMD_BLOCK_STATUS, REQ_STATUS, false },
};

Test(req_op, each_command_is_one_operation)
{
	cr_assert_eq(ARRAY_LEN(rows), REQ_OPS);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		enum req_op op = REQ_OPS;

		cr_assert_eq(req_op_of_command(rows[i].command, &op), 0);
		cr_assert_eq(op, rows[i].op, "command %u", rows[i].command);
		cr_assert_eq(req_op_changes_disk(op), rows[i].changes_disk);
	}
}

Test(req_op, an_unknown_command_is_refused_and_leaves_the_result_alone)
{
	static const uint16_t unknown[] = { 8, 9, 255, 256, UINT16_MAX };

	for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
		enum req_op op = REQ_OPS;

		cr_assert_eq(req_op_of_command(unknown[i], &op), -EINVAL);
		cr_assert_eq(op, REQ_OPS);
	}
}
