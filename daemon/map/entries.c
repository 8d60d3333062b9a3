/* SPDX-License-Identifier: MIT */
/* Entries of a block in memory: words of sixteen, low nibble first. */
#include "map/entries.h"

void entries_set(_Atomic uint64_t *entries, uint32_t first, uint32_t end, uint8_t entry)
{
	while (first < end) {
		uint32_t word = first / 16;
		uint32_t stop = end < (word + 1) * 16 ? end : (word + 1) * 16;
		uint64_t mask = bitset_mask(first % 16 * 4, (stop - word * 16) * 4);
		uint64_t old = 0;

		/* Memory that is not read first takes one page fault, not two. */
		if (mask != UINT64_MAX)
			old = atomic_load_explicit(&entries[word], memory_order_relaxed);
		atomic_store(&entries[word], (old & ~mask) | (entries_pattern(entry) & mask));
		first = stop;
	}
}

void entries_store(const _Atomic uint64_t *entries, uint8_t body[SEAL_BLOCK_BODY_BYTES])
{
	for (uint32_t i = 0; i < MAP_BLOCK_WORDS; i++) {
		le64 word = le64_of(atomic_load_explicit(&entries[i], memory_order_relaxed));

		for (uint32_t b = 0; b < 8; b++)
			body[i * 8 + b] = word.b[b];
	}
}

void entries_load(_Atomic uint64_t *entries, const uint8_t body[SEAL_BLOCK_BODY_BYTES])
{
	for (uint32_t i = 0; i < MAP_BLOCK_WORDS; i++) {
		le64 word;

		for (uint32_t b = 0; b < 8; b++)
			word.b[b] = body[i * 8 + b];
		atomic_store_explicit(&entries[i], le64_get(word), memory_order_relaxed);
	}
}

uint32_t entries_run(const _Atomic uint64_t *entries, uint32_t first, uint32_t end, uint8_t entry)
{
	uint64_t pattern = entries_pattern(entry);
	uint32_t at = first;

	while (at < end) {
		uint64_t word = atomic_load_explicit(&entries[at / 16], memory_order_relaxed);
		uint64_t differ = (word ^ pattern) >> (at % 16 * 4);

		if (differ) {
			at += (uint32_t)__builtin_ctzll(differ) / 4;
			break;
		}
		at = (at / 16 + 1) * 16;
	}
	return (at < end ? at : end) - first;
}
