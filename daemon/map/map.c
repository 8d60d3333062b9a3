/* SPDX-License-Identifier: MIT */
/* Looking up entries, and the life of the map: see map.h. */
#include "map/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "map/entries.h"

static uint64_t words_for(uint64_t bits)
{
	return (bits + 63) / 64;
}

static int allocate(struct map *map)
{
	uint64_t nr = map->nr_blocks;

	map->heads = calloc(nr, sizeof(*map->heads));
	map->entries = map->config.entries_memory;
	map->written = calloc(words_for(nr), sizeof(*map->written));
	map->reserved = calloc(words_for(nr), sizeof(*map->reserved));
	map->slots = calloc(words_for(nr), sizeof(*map->slots));
	map->lagging = calloc(words_for(nr), sizeof(*map->lagging));
	map->stale = calloc(words_for(nr), sizeof(*map->stale));
	map->spent = calloc(words_for(nr), sizeof(*map->spent));
	map->taken = calloc(words_for(nr), sizeof(*map->taken));
	map->bitmap_slots = calloc(map->nr_bitmap_blocks, 1);
	map->bitmap_stale = calloc(map->nr_bitmap_blocks, sizeof(*map->bitmap_stale));
	map->dirty_pool = malloc(DIRTY_BLOCKS_MAX * sizeof(*map->dirty_pool));
	map->switch_grace = calloc(1, sizeof(*map->switch_grace));
	if (!map->heads || !map->written || !map->reserved || !map->slots || !map->lagging ||
	    !map->stale || !map->spent || !map->taken || !map->bitmap_slots || !map->bitmap_stale ||
	    !map->dirty_pool || !map->switch_grace)
		return -ENOMEM;
	return 0;
}

static uint64_t blocks_of(uint64_t disk_sectors)
{
	return (disk_sectors + SEAL_BLOCK_SECTORS - 1) / SEAL_BLOCK_SECTORS;
}

uint64_t map_entries_bytes(uint64_t disk_sectors)
{
	return blocks_of(disk_sectors) * SEAL_BLOCK_BODY_BYTES;
}

int map_init(struct map *map, uint8_t current)
{
	int r;

	map->nr_blocks = blocks_of(map->config.disk_sectors);
	map->nr_bitmap_blocks = (map->nr_blocks + SEAL_BITMAP_BITS - 1) / SEAL_BITMAP_BITS;
	atomic_init(&map->epoch.now, 2);
	atomic_init(&map->current, current);
	r = allocate(map);
	if (r < 0)
		return r;
	map->nr_dirty_free = DIRTY_BLOCKS_MAX;
	pthread_mutex_init(&map->lock, NULL);
	r = map_io_init(map);
	if (r == 0)
		r = round_init(map);
	if (r == 0)
		r = sweep_init(map);
	return r;
}

void map_done(struct map *map)
{
	if (!map->switch_grace)
		return;
	sweep_done(map);
	round_done(map);
	map_io_done(map);
	pthread_mutex_destroy(&map->lock);
	free(map->switch_grace);
	free(map->dirty_pool);
	free(map->bitmap_stale);
	free(map->bitmap_slots);
	free(map->taken);
	free(map->spent);
	free(map->stale);
	free(map->lagging);
	free(map->slots);
	free(map->reserved);
	free(map->written);
	free(map->heads);
	memset(map, 0, sizeof(*map));
}

void map_set_lanes(struct map *map, struct lane **lanes, unsigned int nr_lanes)
{
	map->lanes = lanes;
	map->nr_lanes = nr_lanes;
}

struct block_identity map_block_identity(const struct map *map, uint64_t index)
{
	return (struct block_identity){
		.kind = BLOCK_MAP,
		.index = index,
		.uuid = map->config.uuid,
		.mac_key_id = map->config.mac_key_id,
		.plane_born = map->config.plane_born,
	};
}

struct block_identity map_bitmap_identity(const struct map *map, uint64_t index)
{
	struct block_identity id = map_block_identity(map, index);

	id.kind = BLOCK_BITMAP;
	return id;
}

int map_find(const struct map *map, uint64_t first_sector, uint64_t limit_sectors,
	     struct map_run *ret_run)
{
	uint64_t index = map_block_of(first_sector);
	uint32_t at = (uint32_t)(first_sector - map_block_first(index));
	uint32_t end = (uint32_t)min_u64(SEAL_BLOCK_SECTORS, at + limit_sectors);
	uint64_t head = atomic_load(&map->heads[index]);
	const _Atomic uint64_t *entries = map_entries(map, index);
	struct map_run run = { .first_sector = first_sector, .nr_sectors = end - at };

	switch (head_kind(head)) {
	case HEAD_UNLOADED:
		if (map_is_written(map, index))
			return -EAGAIN;
		run.entry = SEAL_ENTRY_BASE;
		break;
	case HEAD_LOADING:
		return -EAGAIN;
	case HEAD_DAMAGED:
		return -EIO;
	case HEAD_UNIFORM:
		run.entry = head_entry(head);
		break;
	case HEAD_MIXED:
		run.entry = entries_get(entries, at);
		run.nr_sectors = entries_run(entries, at, end, run.entry);
		/* Changed since the line before: what that line saw holds for one sector. */
		if (run.nr_sectors == 0)
			run.nr_sectors = 1;
		break;
	}
	*ret_run = run;
	return 0;
}

bool map_is_all(const struct map *map, uint64_t first_sector, uint64_t nr_sectors, uint8_t entry)
{
	while (nr_sectors > 0) {
		struct map_run run;

		if (map_find(map, first_sector, nr_sectors, &run) < 0 || run.entry != entry)
			return false;
		first_sector += run.nr_sectors;
		nr_sectors -= run.nr_sectors;
	}
	return true;
}

static bool find_uniform(const uint8_t *body, uint8_t *ret_entry)
{
	uint8_t entry = body[0] & 15;

	if (body[0] != (entry | entry << 4) ||
	    memcmp(body, body + 1, SEAL_BLOCK_BODY_BYTES - 1) != 0)
		return false;
	*ret_entry = entry;
	return true;
}

void map_install(struct map *map, uint64_t index, const uint8_t body[SEAL_BLOCK_BODY_BYTES],
		 unsigned int slot)
{
	uint8_t entry;

	if (slot)
		bitset_add(map->slots, index);
	else
		bitset_remove(map->slots, index);
	bitset_add(map->reserved, index);
	if (find_uniform(body, &entry)) {
		atomic_store(&map->heads[index], head_uniform(entry));
		return;
	}
	reclaim_forget(map, index);
	entries_load(map_entries(map, index), body);
	atomic_store(&map->heads[index], (uint64_t)HEAD_MIXED);
}

int map_copy_block(struct map *map, uint64_t index, uint8_t ret_body[SEAL_BLOCK_BODY_BYTES])
{
	uint64_t head;
	int r = 0;

	pthread_mutex_lock(&map->lock);
	head = atomic_load(&map->heads[index]);
	switch (head_kind(head)) {
	case HEAD_LOADING:
	case HEAD_UNLOADED:
		if (map_is_written(map, index))
			r = -EAGAIN;
		else
			memset(ret_body, 0, SEAL_BLOCK_BODY_BYTES);
		break;
	case HEAD_DAMAGED:
		r = -EIO;
		break;
	case HEAD_UNIFORM:
		memset(ret_body, (int)(head_entry(head) * 0x11), SEAL_BLOCK_BODY_BYTES);
		break;
	case HEAD_MIXED:
		entries_store(map_entries(map, index), ret_body);
		break;
	}
	pthread_mutex_unlock(&map->lock);
	return r;
}

uint64_t map_add_plane(struct map *map, uint8_t value, const struct map_plane *plane)
{
	uint64_t born;

	pthread_mutex_lock(&map->lock);
	born = map_generation_now(map) + 1; /* a round under way has frozen its blocks before */
	map->config.planes[value] = *plane;
	map->config.plane_born[value] = born;
	pthread_mutex_unlock(&map->lock);
	return born;
}

void map_drop_plane(struct map *map, uint8_t value)
{
	pthread_mutex_lock(&map->lock);
	map->config.planes[value].kind = SEAL_PLANE_NONE;
	map->config.plane_born[value] = UINT64_MAX;
	pthread_mutex_unlock(&map->lock);
}

bool map_has_stale_bitmap(struct map *map)
{
	bool any = false;

	pthread_mutex_lock(&map->lock);
	for (uint64_t i = 0; i < map->nr_bitmap_blocks; i++)
		any |= map->bitmap_stale[i];
	pthread_mutex_unlock(&map->lock);
	return any;
}

void map_fail(struct map *map, int error)
{
	pthread_mutex_lock(&map->lock);
	if (!atomic_load(&map->failed))
		map->failed_error = error;
	atomic_store(&map->failed, true);
	if (error != -ENOKEY)
		dirty_file_void(&map->dirty_file);
	pthread_mutex_unlock(&map->lock);
}

static bool anything_dirty(const struct map *map)
{
	return map->nr_dirty_free != DIRTY_BLOCKS_MAX;
}

bool map_is_settled(struct map *map)
{
	bool settled;

	pthread_mutex_lock(&map->lock);
	settled = !anything_dirty(map) && !round_is_active(map) && !sweep_is_active(map);
	pthread_mutex_unlock(&map->lock);
	return settled;
}

bool map_is_busy(struct map *map)
{
	bool busy;

	pthread_mutex_lock(&map->lock);
	busy = round_is_active(map) || sweep_is_busy(map);
	pthread_mutex_unlock(&map->lock);
	return busy;
}

/* Under the lock: is a place being punched, or waiting for it? */
static bool is_sweeping(const struct map *map)
{
	for (const struct dirty_block *d = map->dirty_list; d; d = d->next)
		if (d->punching || !bitset_is_empty(d->touched, MAP_BITSET_WORDS) ||
		    !bitset_is_empty(d->frozen_touched, MAP_BITSET_WORDS) ||
		    !bitset_is_empty(d->superseded, MAP_BITSET_WORDS) ||
		    !bitset_is_empty(d->sweeping, MAP_BITSET_WORDS))
			return true;
	return map->unsynced_punches || map->unsynced_base || round_covers_punches(map);
}

bool map_is_swept(struct map *map)
{
	bool swept;

	pthread_mutex_lock(&map->lock);
	swept = !is_sweeping(map) && !map->punch_failed;
	pthread_mutex_unlock(&map->lock);
	return swept;
}
