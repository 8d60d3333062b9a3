/* SPDX-License-Identifier: MIT */
/*
 * Claiming sectors for the background rewrite: it moves them to the current
 * plane like a client's first write, so it obeys the same rules, and a client's
 * write to the same sectors waits for its end. What a client has written is in
 * the current plane already and is never claimed: clients win.
 */
#include <errno.h>

#include "map/entries.h"

/* Entry and length of the run at @at; its end is at most @end. The block is in memory. */
static uint8_t run_at(const struct map *map, uint64_t index, uint32_t at, uint32_t end,
		      uint32_t *ret_end)
{
	const _Atomic uint64_t *entries = map_entries(map, index);
	uint64_t head = atomic_load(&map->heads[index]);
	uint8_t entry = SEAL_ENTRY_BASE;

	*ret_end = end;
	if (head_kind(head) == HEAD_UNIFORM)
		entry = head_entry(head);
	if (head_kind(head) == HEAD_MIXED) {
		entry = entries_get(entries, at);
		*ret_end = at + entries_run(entries, at, end, entry);
	}
	return entry;
}

/* Holes of the base read as zeros: they stay. Cuts *@end; returns 0 or a negative errno. */
static int skip_hole(const struct map *map, uint64_t index, uint32_t at, uint32_t *end,
		     bool *ret_hole)
{
	uint64_t extent = *end - at;
	int r;

	*ret_hole = true;
	if (!map->config.has_base)
		return 0;
	r = map->config.base_extent(map->config.base, map_block_first(index) + at, *end - at,
				    ret_hole, &extent);
	*end = at + (uint32_t)extent;
	return r;
}

/* The first wanted run of [@at, @end) in block @index. Returns 0 (*ret_first == *ret_end: none) or -EIO. */
static int find_wanted(const struct map *map, uint64_t index, uint32_t at, uint32_t end,
		       uint32_t wanted, uint32_t *ret_first, uint32_t *ret_end)
{
	const uint8_t current = atomic_load(&map->current);

	while (at < end) {
		uint32_t run_end;
		const uint8_t entry = run_at(map, index, at, end, &run_end);
		bool skip = !(wanted >> entry & 1) || entry == current;

		if (!skip && entry == SEAL_ENTRY_BASE &&
		    skip_hole(map, index, at, &run_end, &skip) < 0)
			return -EIO;
		if (!skip) {
			*ret_first = at;
			*ret_end = run_end;
			return 0;
		}
		at = run_end;
	}
	*ret_first = *ret_end = end;
	return 0;
}

/* Not those that a client is writing for the first time just now. */
static bool cut_at_writers(const struct map *map, uint64_t index, uint32_t first, uint32_t *end)
{
	const struct dirty_block *dirty = dirty_find(map, index);

	if (dirty)
		*end = (uint32_t)bitset_next(dirty->writing, first, *end);
	return *end > first;
}

static int claim(struct map *map, struct lane *lane, uint64_t first_sector, uint64_t nr_sectors,
		 uint32_t wanted, struct waiter *waiter, struct map_run *ret_run)
{
	const uint64_t index = map_block_of(first_sector);
	const uint32_t at = (uint32_t)(first_sector - map_block_first(index));
	const uint32_t limit = (uint32_t)min_u64(at + nr_sectors, map_block_sectors(map, index));
	uint32_t first, end;
	int r = map_io_prepare(map, lane, index, false, waiter);

	if (r == 0)
		r = find_wanted(map, index, at, limit, wanted, &first, &end);
	if (r != 0)
		return r;
	if (first == end)
		return -ENOENT;
	if (!cut_at_writers(map, index, first, &end)) {
		waiter->lane = lane;
		waiter_line_add(&map->write_waiters, waiter);
		return 1;
	}
	ret_run->first_sector = map_block_first(index) + first;
	ret_run->nr_sectors = end - first;
	return map_begin_first_write(map, lane, ret_run->first_sector, ret_run->nr_sectors, waiter);
}

int map_rewrite_begin(struct map *map, struct lane *lane, uint64_t first_sector,
		      uint64_t nr_sectors, uint32_t wanted, struct waiter *waiter,
		      struct map_run *ret_run, unsigned int *ret_parity)
{
	int r;

	pthread_mutex_lock(&map->lock);
	if (atomic_load(&map->failed))
		r = -EIO;
	else
		r = claim(map, lane, first_sector, nr_sectors, wanted, waiter, ret_run);
	if (r == 0) {
		ret_run->entry = atomic_load(&map->current);
		*ret_parity = epoch_enter(&map->epoch, &lane->epoch);
	}
	pthread_mutex_unlock(&map->lock);
	return r;
}

bool map_may_want(const struct map *map, uint64_t index, uint32_t wanted)
{
	const uint64_t head = atomic_load(&map->heads[index]);

	switch (head_kind(head)) {
	case HEAD_UNIFORM:
		return wanted >> head_entry(head) & 1;
	case HEAD_UNLOADED:
		return map_is_written(map, index) || (wanted & 1);
	case HEAD_DAMAGED: /* to begin will say so */
	case HEAD_LOADING:
	case HEAD_MIXED:
		break;
	}
	return true;
}
