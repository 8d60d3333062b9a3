/* SPDX-License-Identifier: MIT */
/*
 * What a device of this host that shows an image's disk is called, and how the kernel
 * keeps for us whose disk it is: with the device, "sealblk-UUID:NAME". What stands before
 * the hyphen is the device's type in lsblk. No I/O.
 */
#ifndef CONTROL_ATTACHMENT_H
#define CONTROL_ATTACHMENT_H

#include <stdbool.h>

#include "base/compiler.h"
#include "base/uuid.h"

enum {
	ATTACH_NAME_BYTES_MAX = 63, /* as dm-sealblk has it */
	/* With the final NUL. The device mapper keeps no more than 128 as a device's UUID. */
	ATTACH_IDENTITY_BYTES = sizeof("sealblk-") + UUID_TEXT_BYTES + ATTACH_NAME_BYTES_MAX,
};

struct attachment {
	char uuid[UUID_TEXT_BYTES]; /* the image's */
	char name[ATTACH_NAME_BYTES_MAX + 1];
};

/* May a device be called so? Letters, digits and "._-", no dot or dash in front. */
bool attachment_name_is_good(const char *name);

/*
 * The file name of @path without its suffix. Returns 0, or -EINVAL: not a good name, and
 * the user must give one.
 */
int MUST_CHECK attachment_default_name(const char *path, char ret_name[ATTACH_NAME_BYTES_MAX + 1]);

void attachment_encode(const struct attachment *attachment, char ret_text[ATTACH_IDENTITY_BYTES]);

/* @text: anything; a newline may end it. Returns 0, or -EINVAL: not one of ours. */
int MUST_CHECK attachment_decode(const char *text, struct attachment *ret_attachment);

#endif
