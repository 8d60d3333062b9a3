/* SPDX-License-Identifier: MIT */
/* Sets of small numbers as bits of 64-bit words. Ranges are [first, end). */
#ifndef BASE_BITSET_H
#define BASE_BITSET_H

#include <stdbool.h>
#include <stdint.h>

static inline bool bitset_has(const uint64_t *set, uint64_t i)
{
	return set[i / 64] >> (i % 64) & 1;
}

static inline void bitset_add(uint64_t *set, uint64_t i)
{
	set[i / 64] |= (uint64_t)1 << (i % 64);
}

static inline void bitset_remove(uint64_t *set, uint64_t i)
{
	set[i / 64] &= ~((uint64_t)1 << (i % 64));
}

/* Bits of one word from @first to @end, both within or at the word's borders. */
static inline uint64_t bitset_mask(uint32_t first, uint32_t end)
{
	uint64_t below_end = end == 64 ? UINT64_MAX : ((uint64_t)1 << end) - 1;

	return below_end & ~(((uint64_t)1 << first) - 1);
}

static inline void bitset_add_range(uint64_t *set, uint32_t first, uint32_t end)
{
	while (first < end) {
		uint32_t word = first / 64;
		uint32_t stop = end < (word + 1) * 64 ? end : (word + 1) * 64;

		set[word] |= bitset_mask(first % 64, stop - word * 64);
		first = stop;
	}
}

static inline void bitset_remove_range(uint64_t *set, uint32_t first, uint32_t end)
{
	while (first < end) {
		uint32_t word = first / 64;
		uint32_t stop = end < (word + 1) * 64 ? end : (word + 1) * 64;

		set[word] &= ~bitset_mask(first % 64, stop - word * 64);
		first = stop;
	}
}

static inline bool bitset_is_empty(const uint64_t *set, uint32_t nr_words)
{
	for (uint32_t i = 0; i < nr_words; i++)
		if (set[i])
			return false;
	return true;
}

/* Add all of @from to @to and empty @from. */
static inline void bitset_move(uint64_t *to, uint64_t *from, uint32_t nr_words)
{
	for (uint32_t i = 0; i < nr_words; i++) {
		to[i] |= from[i];
		from[i] = 0;
	}
}

/* The first member from @from on, or @end. */
static inline uint64_t bitset_next(const uint64_t *set, uint64_t from, uint64_t end)
{
	while (from < end) {
		uint64_t rest = set[from / 64] >> (from % 64);

		if (rest) {
			from += (uint64_t)__builtin_ctzll(rest);
			return from < end ? from : end;
		}
		from = (from / 64 + 1) * 64;
	}
	return end;
}

#endif
