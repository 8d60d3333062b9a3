/* SPDX-License-Identifier: MIT */
/* Dirty blocks: taking, changing and settling them. All under the map's lock. */
#include <string.h>

#include "map/entries.h"

struct dirty_block *dirty_find(const struct map *map, uint64_t index)
{
	uint32_t number = (uint32_t)(atomic_load(&map->heads[index]) >> 32);

	return number ? &map->dirty_pool[number - 1] : NULL;
}

/* Give the block its own entries in memory, as it is about to differ within. */
static void make_mixed(struct map *map, uint64_t index)
{
	uint64_t head = atomic_load(&map->heads[index]);
	uint8_t entry = head_kind(head) == HEAD_UNIFORM ? head_entry(head) : SEAL_ENTRY_BASE;

	if (head_kind(head) == HEAD_MIXED)
		return;
	reclaim_forget(map, index);
	entries_set(map_entries(map, index), 0, SEAL_BLOCK_SECTORS, entry);
}

static struct dirty_block *take_free(struct map *map)
{
	struct dirty_block *dirty = map->dirty_free;

	assert(map->nr_dirty_free > 0 && map->dirty_pool);
	if (dirty) {
		map->dirty_free = dirty->next;
	} else {
		dirty = &map->dirty_pool[map->nr_dirty_begun++];
		memset(dirty, 0, sizeof(*dirty));
	}
	map->nr_dirty_free--;
	return dirty;
}

struct dirty_block *dirty_get(struct map *map, uint64_t index)
{
	struct dirty_block *dirty = dirty_find(map, index);

	if (dirty)
		return dirty;
	dirty = take_free(map);
	atomic_store(&map->stirred, true);

	make_mixed(map, index);
	dirty->index = index;
	entries_store(map_entries(map, index), dirty->durable);
	dirty->prev = NULL;
	dirty->next = map->dirty_list;
	if (map->dirty_list)
		map->dirty_list->prev = dirty;
	map->dirty_list = dirty;
	atomic_store(&map->heads[index], HEAD_MIXED | (uint64_t)(dirty - map->dirty_pool + 1)
							      << 32);
	return dirty;
}

static bool is_settled(const struct dirty_block *dirty)
{
	return dirty->nr_writers == 0 && !dirty->in_round && !dirty->punching &&
	       bitset_is_empty(dirty->touched, MAP_BITSET_WORDS) &&
	       bitset_is_empty(dirty->superseded, MAP_BITSET_WORDS) &&
	       bitset_is_empty(dirty->sweeping, MAP_BITSET_WORDS);
}

void dirty_release_if_settled(struct map *map, struct dirty_block *dirty)
{
	const _Atomic uint64_t *entries = map_entries(map, dirty->index);
	uint8_t entry = entries_get(entries, 0);
	uint64_t head = HEAD_MIXED;

	if (!is_settled(dirty))
		return;
	if (entries_run(entries, 0, SEAL_BLOCK_SECTORS, entry) == SEAL_BLOCK_SECTORS) {
		head = head_uniform(entry);
		reclaim_note(map, dirty->index);
	}
	atomic_store(&map->heads[dirty->index], head);

	if (dirty->prev)
		dirty->prev->next = dirty->next;
	else
		map->dirty_list = dirty->next;
	if (dirty->next)
		dirty->next->prev = dirty->prev;
	dirty->next = map->dirty_free;
	map->dirty_free = dirty;
	map->nr_dirty_free++;
	waiter_line_wake(&map->room_waiters, 0);
}

void dirty_touch(struct map *map, struct dirty_block *dirty, uint32_t first, uint32_t end)
{
	bitset_add_range(dirty->touched, first, end);
	/*
	 * A sweep under way has not waited for those who see what changes here: a
	 * sector written and zeroed again may be read in the place it left last.
	 */
	bitset_remove_range(dirty->sweeping, first, end);
	if (atomic_load(&map->dirty_since_ms) == 0)
		atomic_store(&map->dirty_since_ms, atomic_load(&map->now_ms) + 1);
}

/* What changes, run by run. */
static void note(struct map *map, struct dirty_block *dirty, uint32_t first, uint32_t end,
		 uint8_t entry)
{
	const _Atomic uint64_t *entries = map_entries(map, dirty->index);
	uint32_t nr;

	for (uint32_t at = first; at < end; at += nr) {
		uint8_t old = entries_get(entries, at);

		nr = entries_run(entries, at, end, old);
		counts_change(map, map_block_first(dirty->index) + at, nr, old, entry);
		drain_note(map, dirty, at, at + nr, old);
	}
}

void dirty_set(struct map *map, struct dirty_block *dirty, uint32_t first, uint32_t end,
	       uint8_t entry)
{
	note(map, dirty, first, end, entry);
	entries_set(map_entries(map, dirty->index), first, end, entry);
	dirty_touch(map, dirty, first, end);
}
