/* SPDX-License-Identifier: MIT */
#include "nbd/error.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/compiler.h"
#include "sealblk/nbd_wire.h"

static const struct {
	int rc;
	uint16_t command;
	uint16_t flags;
	uint32_t wire;
} rows[] = {
	{ 0, NBD_CMD_READ, 0, 0 },
	{ -EPERM, NBD_CMD_WRITE, 0, 1 },
	{ -EROFS, NBD_CMD_WRITE, 0, 1 },
	{ -EIO, NBD_CMD_READ, 0, 5 },
	{ -ENOMEM, NBD_CMD_READ, 0, 12 },
	{ -EINVAL, NBD_CMD_READ, 0, 22 },
	{ -ENOSPC, NBD_CMD_WRITE, 0, 28 },
	{ -EDQUOT, NBD_CMD_WRITE, 0, 28 },
	{ -EFBIG, NBD_CMD_WRITE, 0, 28 },
	{ -ESHUTDOWN, NBD_CMD_FLUSH, 0, 108 },

	{ -EOVERFLOW, NBD_CMD_READ, NBD_CMD_FLAG_DF, 75 },
	{ -EOVERFLOW, NBD_CMD_READ, NBD_CMD_FLAG_DF | NBD_CMD_FLAG_FUA, 75 },
	{ -EOVERFLOW, NBD_CMD_READ, 0, 75 },
	{ -EOVERFLOW, NBD_CMD_WRITE, NBD_CMD_FLAG_DF, 5 },
	{ -EOVERFLOW, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_NO_HOLE, 75 },
	{ -EOVERFLOW, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_FAST_ZERO, 5 },
	{ -ENOTSUP, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_FAST_ZERO, 95 },
	{ -ENOTSUP, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_FAST_ZERO | NBD_CMD_FLAG_NO_HOLE, 95 },
	{ -ENOTSUP, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_NO_HOLE, 5 },
	{ -ENOTSUP, NBD_CMD_TRIM, NBD_CMD_FLAG_FAST_ZERO, 5 },
	{ -EOPNOTSUPP, NBD_CMD_TRIM, 0, 5 },

	{ -EAGAIN, NBD_CMD_READ, 0, 5 },
	{ -ENOENT, NBD_CMD_READ, 0, 5 },
	{ -EBADMSG, NBD_CMD_READ, 0, 5 },
	{ -4095, NBD_CMD_READ, 0, 5 },
	{ EINVAL, NBD_CMD_READ, 0, 5 },
};

Test(nbds_error, each_errno_has_its_value_on_the_wire)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		cr_assert_eq(nbds_wire_error(rows[i].rc, rows[i].command, rows[i].flags),
			     rows[i].wire, "row %zu", i);
}

Test(nbds_error, no_errno_escapes_the_values_the_protocol_knows)
{
	for (int err = 1; err < 4096; err++)
		for (uint16_t command = 0; command < 9; command++) {
			uint32_t wire = nbds_wire_error(-err, command, UINT16_MAX);

			cr_assert_neq(wire, 0, "errno %d is a failure", err);
			cr_assert_str_neq(nbds_error_text(wire), "unknown error", "errno %d", err);
		}
}

Test(nbds_error, a_value_nobody_gave_has_a_text_too)
{
	cr_assert_str_eq(nbds_error_text(77), "unknown error");
	cr_assert_str_eq(nbds_error_text(NBD_EINVAL), "invalid request");
}
