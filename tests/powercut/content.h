/* SPDX-License-Identifier: MIT */
/*
 * What is written into a sector says which sector it is, who wrote it and when:
 * the same 32 bytes, 16 times. A sector that is torn, misplaced, of another run or
 * decrypted with the wrong key shows.
 */
#ifndef TESTS_POWERCUT_CONTENT_H
#define TESTS_POWERCUT_CONTENT_H

#include <stdint.h>

#include "sealblk/units.h"

enum content { CONTENT_ZEROS, CONTENT_WRITTEN, CONTENT_WRONG };

void content_fill(uint8_t bytes[SECTOR_BYTES], uint64_t seed, uint64_t sector, uint64_t version);

/* *ret_version: of CONTENT_WRITTEN only. */
enum content content_read(const uint8_t bytes[SECTOR_BYTES], uint64_t seed, uint64_t sector,
			  uint64_t *ret_version);

/*
 * A mark: a counter on the disk below, beside the file system. It is written when
 * what it stands for was promised, so a state of the disk that has it must keep the
 * promise. @fd is open for direct writes; a disk without a mark has number 0.
 */
void mark_write(int fd, uint64_t offset_bytes, uint64_t seed, uint64_t number);
uint64_t mark_read(const char *disk, uint64_t offset_bytes, uint64_t seed);

#endif
