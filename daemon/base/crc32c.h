/* SPDX-License-Identifier: MIT */
/*
 * CRC32C (Castagnoli; RFC 3720 B.4): finds damage, keeps nobody out.
 * @crc: 0 to begin, or the result of the part before.
 */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *bytes, size_t nr_bytes);

/* The two ways crc32c() chooses from, apart so that tests can compare them. */
uint32_t crc32c_portable(uint32_t crc, const void *bytes, size_t nr_bytes);
uint32_t crc32c_sse42(uint32_t crc, const void *bytes, size_t nr_bytes);
bool crc32c_sse42_supported(void); /* by this processor: else do not call it */

#endif
