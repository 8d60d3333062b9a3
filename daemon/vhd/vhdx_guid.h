/* SPDX-License-Identifier: MIT */
/* GUIDs of VHDX: their first three fields are little-endian, unlike a UUID's. Pure. */
#ifndef VHD_VHDX_GUID_H
#define VHD_VHDX_GUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/uuid.h"
#include "sealblk/vhdx_format.h"

bool vhdx_guid_is_zero(const uint8_t guid[VHDX_GUID_BYTES]);
bool vhdx_guid_is(const uint8_t guid[VHDX_GUID_BYTES], const uint8_t other[VHDX_GUID_BYTES]);

/* As Microsoft writes it, in lower case and without braces. */
void vhdx_guid_text(const uint8_t guid[VHDX_GUID_BYTES], char ret_text[UUID_TEXT_BYTES]);

/*
 * Read "{01234567-89ab-cdef-0123-456789abcdef}", in either case, with or without
 * the braces. @text need not end in a NUL. Returns 0 or -EINVAL.
 */
int MUST_CHECK vhdx_guid_read(const char *text, size_t nr_bytes, uint8_t ret_guid[VHDX_GUID_BYTES]);

#endif
