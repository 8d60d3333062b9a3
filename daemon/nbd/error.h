/* SPDX-License-Identifier: MIT */
/* The one table from errno to NBD's error values. */
#ifndef NBD_ERROR_H
#define NBD_ERROR_H

#include <stdint.h>

/*
 * What a reply to @command with @flags (NBD_CMD_*, NBD_CMD_FLAG_*) says about
 * @rc: 0 or a negative errno. Two values are reserved for named commands
 * (proto.md, "Error values"): EOVERFLOW for READ (the gate sees to it that chunks
 * were negotiated) and for WRITE_ZEROES with NO_HOLE, ENOTSUP for WRITE_ZEROES with FAST_ZERO. An errno without a value of its own, or with one
 * this command may not get, is our trouble and not the client's: NBD_EIO.
 */
uint32_t nbds_wire_error(int rc, uint16_t command, uint16_t flags);

/* A text for people about a value that nbds_wire_error() gave; never NULL. */
const char *nbds_error_text(uint32_t wire_error);

#endif
