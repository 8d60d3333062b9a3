/* SPDX-License-Identifier: MIT */
/* errno to NBD's error values (proto.md, "Error values"). */
#include "nbd/error.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "sealblk/nbd_wire.h"

static const struct error_row {
	int err;
	uint32_t wire;

	/* Where @only, the value may answer just this command with all these flags. */
	bool only;
	uint16_t command;
	uint16_t flags;
} error_rows[] = {
	{ 0, NBD_OK, false, 0, 0 },
	{ EPERM, NBD_EPERM, false, 0, 0 },
	{ EROFS, NBD_EPERM, false, 0, 0 },
	{ EIO, NBD_EIO, false, 0, 0 },
	{ ENOMEM, NBD_ENOMEM, false, 0, 0 },
	{ EINVAL, NBD_EINVAL, false, 0, 0 },
	{ ENOSPC, NBD_ENOSPC, false, 0, 0 },
	{ EFBIG, NBD_ENOSPC, false, 0, 0 },
	{ EDQUOT, NBD_ENOSPC, false, 0, 0 },
	{ ESHUTDOWN, NBD_ESHUTDOWN, false, 0, 0 },
	{ EOVERFLOW, NBD_EOVERFLOW, true, NBD_CMD_READ, 0 },
	{ EOVERFLOW, NBD_EOVERFLOW, true, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_NO_HOLE },
	{ ENOTSUP, NBD_ENOTSUP, true, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_FAST_ZERO },
};

static const struct {
	uint32_t wire;
	const char *text;
} texts[] = {
	{ NBD_OK, "success" },
	{ NBD_EPERM, "not permitted on this export" },
	{ NBD_EIO, "input/output error" },
	{ NBD_ENOMEM, "out of memory" },
	{ NBD_EINVAL, "invalid request" },
	{ NBD_ENOSPC, "beyond the end, or no space left" },
	{ NBD_EOVERFLOW, "too long for one request" },
	{ NBD_ENOTSUP, "cannot be done fast" },
	{ NBD_ESHUTDOWN, "the server is shutting down" },
};

static bool row_applies(const struct error_row *row, uint16_t command, uint16_t flags)
{
	return !row->only || (row->command == command && (row->flags & flags) == row->flags);
}

uint32_t nbds_wire_error(int rc, uint16_t command, uint16_t flags)
{
	for (size_t i = 0; i < ARRAY_LEN(error_rows); i++)
		if (error_rows[i].err == -rc && row_applies(&error_rows[i], command, flags))
			return error_rows[i].wire;
	return NBD_EIO;
}

const char *nbds_error_text(uint32_t wire_error)
{
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (texts[i].wire == wire_error)
			return texts[i].text;
	return "unknown error";
}
