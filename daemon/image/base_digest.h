/* SPDX-License-Identifier: MIT */
/*
 * The digest of the content of a base's file.
 *
 * "sha256-full" is SHA-256 over the whole file.
 *
 * "sha256-sampled" is for files above 256 MiB. With F the length of the file
 * and B = floor((F - 2 MiB) / 4096), it is SHA-256 over, in this order,
 *
 *   F as 64 bits little-endian,
 *   the bytes [0, 1 MiB),
 *   for i = 0, 1, ... 2047: the 4096 bytes at 1 MiB + 4096 * floor(i * B / 2048),
 *   the bytes [F - 1 MiB, F): a VHD's footer is among them.
 *
 * A change between the samples is not seen; who needs that asks for the full one.
 */
#ifndef IMAGE_BASE_DIGEST_H
#define IMAGE_BASE_DIGEST_H

#include <stdint.h>

#include "base/compiler.h"
#include "sealblk/units.h"
#include "store/store.h"

enum {
	BASE_DIGEST_BYTES = 32,
	BASE_SAMPLES = 2048,
	BASE_SAMPLE_BYTES = 4096,
};
#define BASE_SAMPLED_END_BYTES	 MIB
#define BASE_SAMPLED_ABOVE_BYTES (256 * MIB)

enum base_digest_kind {
	BASE_DIGEST_FULL,
	BASE_DIGEST_SAMPLED,
	BASE_DIGEST_KINDS,
};

/*
 * Blocks while it reads: the whole file, or 10 MiB of it in 2050 places.
 * BASE_DIGEST_SAMPLED wants a file above BASE_SAMPLED_ABOVE_BYTES.
 * Returns 0, -ENOMEM, -EIO, or the negative errno of reading.
 */
int MUST_CHECK base_digest_compute(const struct store *store, enum base_digest_kind kind,
				   uint8_t ret_digest[BASE_DIGEST_BYTES]);

/* Where sample @i of a file of @file_bytes begins. */
uint64_t base_digest_sample_offset(uint64_t file_bytes, unsigned int i);

#endif
