/* SPDX-License-Identifier: MIT */
/* What a request asks for, in our words: one value per NBD command. */
#ifndef REQUEST_OP_H
#define REQUEST_OP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

enum req_op {
	REQ_READ,
	REQ_WRITE,
	REQ_FLUSH,
	REQ_TRIM,
	REQ_ZERO,
	REQ_CACHE,
	REQ_STATUS,
	REQ_DISC,
	REQ_OPS,
};

/* @command: NBD_CMD_*. Returns 0, or -EINVAL for a command we do not know. */
int MUST_CHECK req_op_of_command(uint16_t command, enum req_op *ret_op);

/* May the disk's content differ after it? Refused on a read-only export. */
bool req_op_changes_disk(enum req_op op);

#endif
