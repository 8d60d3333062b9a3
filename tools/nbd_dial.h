/* SPDX-License-Identifier: MIT */
/* A connection to an NBD server on this host, shaken hands over, to be given to the kernel. */
#ifndef TOOLS_NBD_DIAL_H
#define TOOLS_NBD_DIAL_H

#include "base/compiler.h"
#include "image/problem.h"
#include "nbd/client.h"

/*
 * Connect to the unix socket at @path and choose the export @name. Blocks, 10 s for each
 * answer at most. The socket is blocking, as the kernel wants it: close() it.
 * Returns 0, or a negative errno with *problem.
 */
int MUST_CHECK nbd_dial(const char *path, const char *name, int *ret_fd,
			struct nbdc_export *ret_export, struct problem *problem);

#endif
