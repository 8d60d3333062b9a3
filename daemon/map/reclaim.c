/* SPDX-License-Identifier: MIT */
/*
 * Giving memory of entries back. A block that has become uniform does not use them any
 * more; without this a disk that is written from end to end would keep 1 GiB of them for
 * each TiB.
 *
 * dirty_release_if_settled: the block is uniform -> RECLAIM_NOTE: spent
 * sweep_start, more are mixed than are to be kept: those that are settled -> spent, and
 * unloaded, as when the image was opened
 * sweep_start -> RECLAIM_TAKE: what is spent is taken -> the sweep waits for its epochs, as
 * who has seen a block mixed may still read its entries -> RECLAIM_GIVE: the pages of which
 * nobody uses a byte. A block that is mixed again is forgotten (RECLAIM_FORGET).
 */
#include "map/entries.h"

enum { PAGE_BYTES = 4096 }; /* x86-64 */

void reclaim_note(struct map *map, uint64_t index)
{
	map->nr_mixed--;
	if (!map->config.give_pages_back || bitset_has(map->spent, index))
		return;
	bitset_add(map->spent, index);
	map->nr_spent++;
}

void reclaim_forget(struct map *map, uint64_t index)
{
	map->nr_mixed++;
	if (reclaim_is_due(map))
		atomic_store(&map->stirred, true);
	map->nr_spent -= bitset_has(map->spent, index);
	bitset_remove(map->spent, index);
	bitset_remove(map->taken, index);
}

bool reclaim_is_due(const struct map *map)
{
	return map->config.give_pages_back && map->config.mixed_blocks_max > 0 &&
	       map->nr_mixed > map->config.mixed_blocks_max;
}

/* All blocks that nobody changes: what they say is in the image. */
static void unload(struct map *map)
{
	for (uint64_t i = 0; i < map->nr_blocks; i++)
		if (atomic_load(&map->heads[i]) == HEAD_MIXED && map_is_written(map, i)) {
			atomic_store(&map->heads[i], (uint64_t)HEAD_UNLOADED);
			reclaim_note(map, i);
		}
}

void reclaim_take(struct map *map)
{
	if (reclaim_is_due(map))
		unload(map);
	if (map->nr_spent < RECLAIM_BLOCKS_MIN)
		return;
	bitset_move(map->taken, map->spent, (uint32_t)((map->nr_blocks + 63) / 64));
	map->nr_taken += map->nr_spent;
	map->nr_spent = 0;
}

/* Does nobody use the page, neither now nor since before the epochs that have ended? */
static bool is_idle(const struct map *map, uint64_t page)
{
	const uint64_t first = page * PAGE_BYTES / SEAL_BLOCK_BODY_BYTES;
	const uint64_t last = ((page + 1) * PAGE_BYTES - 1) / SEAL_BLOCK_BODY_BYTES;

	for (uint64_t i = first; i <= last && i < map->nr_blocks; i++)
		if (head_kind(atomic_load(&map->heads[i])) == HEAD_MIXED ||
		    bitset_has(map->spent, i))
			return false;
	return true;
}

/* The pages of blocks [@first, @end), all of which are taken. */
static void give_run(struct map *map, uint64_t first, uint64_t end)
{
	uint64_t page = first * SEAL_BLOCK_BODY_BYTES / PAGE_BYTES;
	uint64_t end_page = (end * SEAL_BLOCK_BODY_BYTES + PAGE_BYTES - 1) / PAGE_BYTES;

	while (page < end_page && !is_idle(map, page))
		page++;
	while (end_page > page && !is_idle(map, end_page - 1))
		end_page--;
	if (page < end_page)
		map->config.give_pages_back((uint8_t *)map->config.entries_memory +
						    page * PAGE_BYTES,
					    (end_page - page) * PAGE_BYTES);
}

void reclaim_give(struct map *map)
{
	uint64_t end;

	if (map->nr_taken == 0)
		return;
	for (uint64_t i = 0; (i = bitset_next(map->taken, i, map->nr_blocks)) < map->nr_blocks;
	     i = end) {
		for (end = i; end < map->nr_blocks && bitset_has(map->taken, end); end++)
			bitset_remove(map->taken, end);
		give_run(map, i, end);
	}
	map->nr_taken = 0;
}
