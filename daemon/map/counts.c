/* SPDX-License-Identifier: MIT */
/* Counting sectors by their entry: see counts.h. */
#include "map/entries.h"

struct map_counts map_counts(struct map *map)
{
	struct map_counts counts;

	pthread_mutex_lock(&map->lock);
	counts = map->counts;
	pthread_mutex_unlock(&map->lock);
	return counts;
}

void counts_reset(struct map *map)
{
	const struct extents *base = map->config.base_extents;

	map->counts = (struct map_counts){
		.known = true,
		.sectors[SEAL_ENTRY_BASE] = map->config.disk_sectors,
		.base_known = base || !map->config.has_base,
	};
	if (base)
		map->counts.base_data = extents_count_data(base, 0, map->config.disk_sectors);
}

void counts_change(struct map *map, uint64_t first_sector, uint64_t nr_sectors, uint8_t old,
		   uint8_t new)
{
	struct map_counts *counts = &map->counts;

	counts->sectors[old] -= nr_sectors;
	counts->sectors[new] += nr_sectors;
	if (old != SEAL_ENTRY_BASE || new == SEAL_ENTRY_BASE || !map->config.has_base)
		return;
	if (map->config.base_extents)
		counts->base_data -=
			extents_count_data(map->config.base_extents, first_sector, nr_sectors);
	else
		counts->base_known = false;
}

void counts_add_block(struct map *map, uint64_t index, const uint8_t body[SEAL_BLOCK_BODY_BYTES])
{
	uint64_t first = map_block_first(index);
	uint32_t end = map_block_sectors(map, index);
	uint32_t nr;

	for (uint32_t at = 0; at < end; at += nr) {
		nr = block_run(body, at, end);
		counts_change(map, first + at, nr, SEAL_ENTRY_BASE, block_entry(body, at));
	}
}
