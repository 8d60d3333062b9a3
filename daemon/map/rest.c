/* SPDX-License-Identifier: MIT */
/*
 * Rest: nothing that needs a key is under way, and nothing begins by itself.
 * Between map_rest() and map_resume() the image has no keys in memory.
 */
#include <errno.h>

#include "map/entries.h"

/* Entries or punches that are not durable, or somebody who waits for that. */
static bool wants_round(const struct map *map)
{
	if (map->unsynced_punches || map->round_waiters.first)
		return true;
	for (const struct dirty_block *d = map->dirty_list; d; d = d->next)
		if (!bitset_is_empty(d->touched, MAP_BITSET_WORDS))
			return true;
	return false;
}

/* Places to be punched, and the space to do it. */
static bool wants_sweep(const struct map *map)
{
	return map->dirty_list && map->punch_again_ms == 0;
}

int map_rest(struct map *map)
{
	int r = 0;

	pthread_mutex_lock(&map->lock);
	if (atomic_load(&map->failed))
		r = -EIO;
	else if (round_is_active(map) || sweep_is_active(map) || wants_round(map) ||
		 wants_sweep(map))
		r = -EAGAIN;
	else if (map->dirty_list || map->punch_failed)
		r = -ENOSPC;
	if (r == 0 || r == -ENOSPC)
		map->at_rest = true;
	pthread_mutex_unlock(&map->lock);
	return r;
}

void map_hurry(struct map *map, struct lane *lane)
{
	pthread_mutex_lock(&map->lock);
	map->in_hurry = true;
	if (wants_round(map))
		round_start(map, lane);
	sweep_start(map, lane);
	pthread_mutex_unlock(&map->lock);
}

void map_resume(struct map *map, uint64_t open_seq)
{
	pthread_mutex_lock(&map->lock);
	for (uint64_t i = 0; i < (map->nr_blocks + 63) / 64; i++) {
		map->lagging[i] = 0;
		map->stale[i] = 0;
	}
	for (uint64_t i = 0; i < map->nr_bitmap_blocks; i++)
		map->bitmap_stale[i] = false;
	map->nr_stale = 0;
	map->stale_since_ms = 0;
	map->refresh_wanted = false;
	map->config.open_seq = open_seq;
	map->round_no = 0;
	map->at_rest = false;
	pthread_mutex_unlock(&map->lock);
}
