/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is typed: a table's arguments and a message's. Pure: no state, no
 * allocation; also compiled for the unit tests in user space.
 */
#ifndef SHIM_PARSE_H
#define SHIM_PARSE_H

#include "sealblk/shim_uapi.h"

struct shim_table {
	const char *name; /* one of the arguments */
	unsigned int queue_depth;
	unsigned int max_io_kib;
	unsigned int timeout_s; /* 0: for ever */
};

/*
 * NAME [queue_depth N] [max_io_kib N] [timeout S], the options in any order,
 * each once. Returns NULL, or what is wrong, for people.
 */
const char *shim_parse_table(unsigned int argc, char **argv, struct shim_table *ret_table);

/* timeout S. The same. */
const char *shim_parse_message(unsigned int argc, char **argv, unsigned int *ret_timeout_s);

#endif
