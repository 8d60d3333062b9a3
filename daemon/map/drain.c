/* SPDX-License-Identifier: MIT */
/*
 * Draining planes and the base: a rewrite ends when every place that sectors have
 * left there is punched. Clients go on meanwhile, and what they supersede in other
 * places is never all punched at any one time: so the sectors that count are told
 * from the others.
 *
 * dirty_set -> drain_note -> (round, sweep) -> drain_swept -> the next round's
 * fdatasync: drained
 */
#include "map/entries.h"

void map_drain(struct map *map, uint32_t entries)
{
	pthread_mutex_lock(&map->lock);
	map->draining = entries;
	/* Who knows what those that wait already have left. */
	for (struct dirty_block *d = map->dirty_list; d; d = d->next)
		for (uint32_t i = 0; i < MAP_BITSET_WORDS; i++)
			d->undrained[i] = entries ? d->touched[i] | d->frozen_touched[i] |
							    d->superseded[i] | d->sweeping[i]
						  : 0;
	map->undrained_sync = entries && (map->unsynced_punches || round_covers_punches(map));
	pthread_mutex_unlock(&map->lock);
}

void drain_note(struct map *map, struct dirty_block *dirty, uint32_t first, uint32_t end,
		uint8_t old)
{
	if (map->draining >> old & 1)
		bitset_add_range(dirty->undrained, first, end);
}

void drain_swept(struct map *map, struct dirty_block *dirty)
{
	for (uint32_t i = 0; i < MAP_BITSET_WORDS; i++) {
		/* What could not be punched yet is superseded again. */
		const uint64_t gone = dirty->undrained[i] & dirty->sweeping[i] &
				      ~dirty->superseded[i];

		dirty->undrained[i] &= ~gone;
		map->undrained_sync |= gone != 0;
	}
}

/* Under the lock. */
static bool is_drained(const struct map *map)
{
	for (const struct dirty_block *d = map->dirty_list; d; d = d->next)
		if (!bitset_is_empty(d->undrained, MAP_BITSET_WORDS))
			return false;
	if (map->draining >> SEAL_ENTRY_BASE & 1 && map->unsynced_base)
		return false;
	return !map->undrained_sync && !round_covers_drain(map);
}

bool map_is_drained(struct map *map, bool *ret_unpunched)
{
	bool drained;

	pthread_mutex_lock(&map->lock);
	drained = is_drained(map);
	*ret_unpunched = map->punch_failed;
	pthread_mutex_unlock(&map->lock);
	return drained;
}
