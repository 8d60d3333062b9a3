/* SPDX-License-Identifier: MIT */
/* A sparse array of sectors with shared pages. */
#include "sim/sparse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sealblk/units.h"
#include "sim/digest.h"

enum {
	PAGE_SECTORS = 8,
	ROOM_FIRST = 16,
};

struct page {
	uint32_t nr_owners;	      /* entries that point here: written only while 1 */
	uint8_t stored[PAGE_SECTORS]; /* 0: a hole, its bytes are zeros */
	uint64_t hash[PAGE_SECTORS];  /* sparse_hash() of each */
	uint8_t bytes[PAGE_SECTORS][SECTOR_BYTES];
};

struct sparse_entry {
	uint64_t number; /* sector / PAGE_SECTORS */
	struct page *page;
};

void *sparse_alloc(size_t bytes)
{
	void *memory = calloc(1, bytes ? bytes : 1);

	if (!memory) {
		fprintf(stderr, "simulator: out of memory (%zu bytes)\n", bytes);
		abort();
	}
	return memory;
}

void *sparse_grow(void *array, uint32_t nr, uint32_t *room, size_t bytes)
{
	void *larger;

	if (nr < *room)
		return array;
	*room = 2 * nr + ROOM_FIRST;
	larger = sparse_alloc(*room * bytes);
	if (nr)
		memcpy(larger, array, nr * bytes);
	free(array);
	return larger;
}

/* The place of page @number among the entries: of itself, or where it would go. */
static uint32_t place_of(const struct sparse *sparse, uint64_t number)
{
	uint32_t low = 0;
	uint32_t high = sparse->nr_entries;

	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;

		if (sparse->entries[middle].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct page *find_page(const struct sparse *sparse, uint64_t number)
{
	const uint32_t place = place_of(sparse, number);

	if (place == sparse->nr_entries || sparse->entries[place].number != number)
		return NULL;
	return sparse->entries[place].page;
}

static void page_put(struct page *page)
{
	if (--page->nr_owners == 0)
		free(page);
}

static struct page *page_new(const struct page *like)
{
	struct page *page = sparse_alloc(sizeof(*page));

	if (like)
		*page = *like;
	page->nr_owners = 1;
	return page;
}

/* Page @number for writing: nobody else's, made if there is none. */
static struct page *own_page(struct sparse *sparse, uint64_t number)
{
	const uint32_t place = place_of(sparse, number);
	struct sparse_entry *entry;

	if (place == sparse->nr_entries || sparse->entries[place].number != number) {
		sparse->entries = sparse_grow(sparse->entries, sparse->nr_entries, &sparse->nr_room,
					      sizeof(*entry));
		entry = &sparse->entries[place];
		memmove(entry + 1, entry, (sparse->nr_entries - place) * sizeof(*entry));
		sparse->nr_entries++;
		*entry = (struct sparse_entry){ .number = number, .page = page_new(NULL) };
	}
	entry = &sparse->entries[place];
	if (entry->page->nr_owners > 1) {
		struct page *own = page_new(entry->page);

		page_put(entry->page);
		entry->page = own;
	}
	return entry->page;
}

const uint8_t *sparse_find(const struct sparse *sparse, uint64_t sector)
{
	const struct page *page = find_page(sparse, sector / PAGE_SECTORS);

	if (!page || !page->stored[sector % PAGE_SECTORS])
		return NULL;
	return page->bytes[sector % PAGE_SECTORS];
}

uint64_t sparse_hash(uint64_t sector, const uint8_t *bytes)
{
	static const uint8_t zeros[SECTOR_BYTES];

	if (!bytes || memcmp(bytes, zeros, SECTOR_BYTES) == 0)
		return 0;
	return digest_bytes(digest_number(1, sector), bytes, SECTOR_BYTES);
}

void sparse_set(struct sparse *sparse, uint64_t sector, const uint8_t *bytes)
{
	const uint64_t at = sector % PAGE_SECTORS;
	struct page *page;

	if (!bytes && !sparse_find(sparse, sector))
		return;
	page = own_page(sparse, sector / PAGE_SECTORS);
	page->stored[at] = bytes != NULL;
	sparse->sum -= page->hash[at];
	page->hash[at] = sparse_hash(sector, bytes);
	sparse->sum += page->hash[at];
	if (bytes)
		memcpy(page->bytes[at], bytes, SECTOR_BYTES);
	else
		memset(page->bytes[at], 0, SECTOR_BYTES);
}

uint64_t sparse_next(const struct sparse *sparse, uint64_t first, uint64_t end)
{
	for (uint32_t i = place_of(sparse, first / PAGE_SECTORS); i < sparse->nr_entries; i++) {
		const uint64_t start = sparse->entries[i].number * PAGE_SECTORS;

		for (uint32_t at = 0; at < PAGE_SECTORS; at++) {
			if (start + at >= end)
				return end;
			if (start + at >= first && sparse->entries[i].page->stored[at])
				return start + at;
		}
	}
	return end;
}

void sparse_punch(struct sparse *sparse, uint64_t first, uint64_t end)
{
	for (uint64_t at = sparse_next(sparse, first, end); at < end;
	     at = sparse_next(sparse, at + 1, end))
		sparse_set(sparse, at, NULL);
}

void sparse_read(const struct sparse *sparse, uint64_t offset_bytes, void *ret_data, size_t bytes)
{
	uint8_t *to = ret_data;

	while (bytes > 0) {
		const size_t inside = offset_bytes % SECTOR_BYTES;
		const size_t part = min_u64(SECTOR_BYTES - inside, bytes);
		const uint8_t *from = sparse_find(sparse, offset_bytes / SECTOR_BYTES);

		if (from)
			memcpy(to, from + inside, part);
		else
			memset(to, 0, part);
		to += part;
		offset_bytes += part;
		bytes -= part;
	}
}

void sparse_copy(struct sparse *to, const struct sparse *from)
{
	*to = (struct sparse){ .nr_entries = from->nr_entries,
			       .nr_room = from->nr_entries,
			       .sum = from->sum };
	if (from->nr_entries == 0)
		return;
	to->entries = sparse_alloc(from->nr_entries * sizeof(*to->entries));
	for (uint32_t i = 0; i < from->nr_entries; i++) {
		to->entries[i] = from->entries[i];
		to->entries[i].page->nr_owners++;
	}
}

void sparse_done(struct sparse *sparse)
{
	for (uint32_t i = 0; i < sparse->nr_entries; i++)
		page_put(sparse->entries[i].page);
	free(sparse->entries);
	*sparse = (struct sparse){ 0 };
}
