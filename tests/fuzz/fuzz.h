/* SPDX-License-Identifier: MIT */
/* What the fuzz targets share. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "sealblk/byteorder.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr_bytes);

/* A structure out of an input: what the input is too short for is zeros. */
static inline size_t fuzz_fill(void *to, size_t to_bytes, const uint8_t *bytes, size_t nr_bytes)
{
	const size_t nr = nr_bytes < to_bytes ? nr_bytes : to_bytes;

	memset(to, 0, to_bytes);
	if (nr)
		memcpy(to, bytes, nr);
	return nr;
}

/* Make the CRC of a structure right, which no fuzzer finds by itself: @crc lies inside it. */
static inline void fuzz_mend_crc(const void *structure, size_t nr_bytes, le32 *crc)
{
	*crc = le32_of(0);
	*crc = le32_of(crc32c(0, structure, nr_bytes));
}

#endif
