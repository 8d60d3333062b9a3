/* SPDX-License-Identifier: MIT */
/* New UUIDs. */
#ifndef IMAGE_UUID_H
#define IMAGE_UUID_H

#include <stdint.h>

#include "base/compiler.h"
#include "sealblk/seal_format.h"

/* Random, marked as version 4 (RFC 9562). Returns 0 or -EIO. */
int MUST_CHECK uuid_make(uint8_t ret_uuid[SEAL_UUID_BYTES]);

#endif
