/* SPDX-License-Identifier: MIT */
/*
 * Refreshing stale slots. A round writes a block to one of its two slots; the
 * other one then holds what was durable before. Should the newer slot rot and the
 * host crash, that would pass for a torn write, and the older state would come
 * back. So a block that has been left alone for a while is written once more, by
 * a round like any other: from then on both slots say the same.
 *
 * All under the map's lock, but for the last two.
 */
#include "map/entries.h"

static void count(struct map *map, bool was_stale, bool is_stale)
{
	map->nr_stale += is_stale;
	map->nr_stale -= was_stale;
	if (map->nr_stale == 0)
		map->stale_since_ms = 0;
	else if (map->stale_since_ms == 0)
		map->stale_since_ms = atomic_load(&map->now_ms) + 1;
}

void refresh_note(struct map *map, uint64_t index, bool is_stale)
{
	count(map, bitset_has(map->stale, index), is_stale);
	if (is_stale)
		bitset_add(map->stale, index);
	else
		bitset_remove(map->stale, index);
}

void refresh_note_bitmap(struct map *map, uint64_t index, bool is_stale)
{
	count(map, map->bitmap_stale[index], is_stale);
	map->bitmap_stale[index] = is_stale;
}

bool refresh_is_due(const struct map *map, uint64_t now_ms)
{
	return map->stale_since_ms != 0 && now_ms >= map->stale_since_ms + ROUND_MS;
}

void refresh_take(struct map *map)
{
	uint64_t i = bitset_next(map->stale, map->stale_next, map->nr_blocks);

	for (uint32_t nr = 0; i < map->nr_blocks;
	     i = bitset_next(map->stale, i + 1, map->nr_blocks)) {
		const struct dirty_block *dirty = dirty_find(map, i);

		/* Room is for those who write: this can wait. */
		if (!dirty && dirty_is_short(map))
			break;
		if (nr == REFRESH_BLOCKS_MAX) {
			map->stale_next = i;
			return;
		}
		/* One that has changed is written by this round anyway, and stale again. */
		if (dirty && !bitset_is_empty(dirty->touched, MAP_BITSET_WORDS))
			continue;
		/* Its entries were given back: for this they are not read again. */
		if (head_kind(atomic_load(&map->heads[i])) < HEAD_UNIFORM)
			continue;
		dirty_get(map, i)->refresh = true;
		nr++;
	}
	map->stale_next = i < map->nr_blocks ? i : 0;
	map->stale_since_ms = atomic_load(&map->now_ms) + 1;
}

bool map_is_stale(struct map *map)
{
	bool stale;

	pthread_mutex_lock(&map->lock);
	stale = map->nr_stale > 0;
	pthread_mutex_unlock(&map->lock);
	return stale;
}

void map_refresh_all(struct map *map)
{
	pthread_mutex_lock(&map->lock);
	map->refresh_wanted |= map->nr_stale > 0;
	map->in_hurry = true;
	pthread_mutex_unlock(&map->lock);
}
