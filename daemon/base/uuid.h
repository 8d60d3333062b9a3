/* SPDX-License-Identifier: MIT */
/* A UUID as text. */
#ifndef BASE_UUID_H
#define BASE_UUID_H

#include <stdint.h>

#include "sealblk/seal_format.h"

/* "01234567-89ab-cdef-0123-456789abcdef" and a NUL. */
enum { UUID_TEXT_BYTES = 37 };
void uuid_to_text(const uint8_t uuid[SEAL_UUID_BYTES], char ret_text[UUID_TEXT_BYTES]);

#endif
