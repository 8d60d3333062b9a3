/* SPDX-License-Identifier: MIT */
/* NBD commands and our operations. */
#include "request/op.h"

#include <errno.h>

#include "sealblk/nbd_wire.h"

static const enum req_op op_of[] = {
	[NBD_CMD_READ] = REQ_READ,	   [NBD_CMD_WRITE] = REQ_WRITE,
	[NBD_CMD_DISC] = REQ_DISC,	   [NBD_CMD_FLUSH] = REQ_FLUSH,
	[NBD_CMD_TRIM] = REQ_TRIM,	   [NBD_CMD_CACHE] = REQ_CACHE,
	[NBD_CMD_WRITE_ZEROES] = REQ_ZERO, [NBD_CMD_BLOCK_STATUS] = REQ_STATUS,
};
_Static_assert(ARRAY_LEN(op_of) == REQ_OPS, "one operation per command, without gaps");

int req_op_of_command(uint16_t command, enum req_op *ret_op)
{
	if (command >= ARRAY_LEN(op_of))
		return -EINVAL;
	*ret_op = op_of[command];
	return 0;
}

bool req_op_changes_disk(enum req_op op)
{
	return op == REQ_WRITE || op == REQ_TRIM || op == REQ_ZERO;
}
