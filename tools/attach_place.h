/* SPDX-License-Identifier: MIT */
/*
 * The folder of an image that is attached, or is just being: attach/UUID in the runtime
 * directory. While it is open nobody else attaches or detaches the image. A daemon that
 * attach has started listens in it, at the socket "nbd", and writes to the file "log"
 * there; the folder stays as long as the daemon, and that socket tells it from others.
 */
#ifndef TOOLS_ATTACH_PLACE_H
#define TOOLS_ATTACH_PLACE_H

#include "base/compiler.h"
#include "base/uuid.h"
#include "image/problem.h"
#include "sealblk/limits.h"

struct attach_place {
	int fd; /* of the folder, locked */
	char folder[PATH_BYTES_MAX];
	char socket[PATH_BYTES_MAX];
	char log[PATH_BYTES_MAX];
};

/*
 * Make and lock the folder of image @uuid. Blocks while another sealblk has it.
 * Returns 0 (attach_place_close() it), or a negative errno with *problem.
 */
int MUST_CHECK attach_place_open(struct attach_place *place, const char *uuid,
				 struct problem *problem);

/* Remove what a daemon that is gone has left in it. */
void attach_place_clear(const struct attach_place *place);

/* Let others have it. The folder goes, unless a daemon lives there. Accepts fd -1. */
void attach_place_close(struct attach_place *place);

#endif
