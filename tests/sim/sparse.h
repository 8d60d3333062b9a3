/* SPDX-License-Identifier: MIT */
/*
 * A sparse array of 512-byte sectors: the content of one simulated file.
 *
 * Sectors live in pages of eight that copies share until one of them writes,
 * so that copying a file costs a pointer per page. Running out of memory ends
 * the process: this is for tests.
 */
#ifndef TESTS_SIM_SPARSE_H
#define TESTS_SIM_SPARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sparse_entry;

/* All zeros is an empty one. */
struct sparse {
	struct sparse_entry *entries; /* sorted by page number */
	uint32_t nr_entries;
	uint32_t nr_room;
	uint64_t sum; /* of sparse_hash() of all sectors */
};

/*
 * A number for @bytes in @sector; 0 for zeros and for NULL, a hole. The sum of
 * these over its sectors tells one content from another.
 */
uint64_t sparse_hash(uint64_t sector, const uint8_t *bytes);

/* Let *@to, whose insides are lost, be a copy of *@from. */
void sparse_copy(struct sparse *to, const struct sparse *from);

/* Give everything back; *@sparse is then empty. */
void sparse_done(struct sparse *sparse);

/* The SECTOR_BYTES bytes of @sector until the next change, or NULL: a hole. */
const uint8_t *sparse_find(const struct sparse *sparse, uint64_t sector);

/* @bytes: SECTOR_BYTES of them, copied; NULL makes a hole. */
void sparse_set(struct sparse *sparse, uint64_t sector, const uint8_t *bytes);

/* Make holes of [@first, @end). Costs what is stored there, not its length. */
void sparse_punch(struct sparse *sparse, uint64_t first, uint64_t end);

/* The first sector of [@first, @end) that is not a hole, or @end. */
uint64_t sparse_next(const struct sparse *sparse, uint64_t first, uint64_t end);

/* Copy out @bytes at @offset_bytes, of any alignment; holes are zeros. */
void sparse_read(const struct sparse *sparse, uint64_t offset_bytes, void *ret_data, size_t bytes);

/* Zeroed memory for free(), or the end of the process. */
void *sparse_alloc(size_t bytes);

/*
 * @array with room for more than @nr elements of @bytes each: itself, or moved
 * when its *@room is used up.
 */
void *sparse_grow(void *array, uint32_t nr, uint32_t *room, size_t bytes);

#endif
