/* SPDX-License-Identifier: MIT */
/*
 * The last part of a commit round: bits for blocks that were written for the
 * first time. Durable blocks without a bit do not count yet; a bit without its
 * block would look like damage, so it comes after.
 */
#include <string.h>

#include "map/round.h"

static void bitmap_synced(struct ring_op *op, int result)
{
	struct map_round *round = CONTAINER_OF(op, struct map_round, op);

	round->error = result;
	round_end(round);
}

static void write_next_bitmap(struct map_round *round);

static void bitmap_written(struct ring_op *op, int result)
{
	struct map_round *round = CONTAINER_OF(op, struct map_round, op);
	struct map *map = round->map;

	pthread_mutex_lock(&map->lock);
	map->bitmap_slots[round->bitmap_index] ^= 1;
	refresh_note_bitmap(map, round->bitmap_index, round->bitmap_has_new);
	pthread_mutex_unlock(&map->lock);
	round->error = result < 0 ? result : 0;
	round->bitmap_index++;
	if (round->error)
		round_end(round);
	else
		write_next_bitmap(round);
}

/* Add the first-time blocks of this round to bitmap block @index. Any there? */
static bool add_new_bits(struct map_round *round, uint64_t index)
{
	struct map *map = round->map;
	uint64_t first = index * SEAL_BITMAP_BITS;
	bool any = false;

	for (uint32_t i = 0; i < round->nr_frozen; i++) {
		uint64_t block = round->blocks[i]->index;

		if (block < first || block - first >= SEAL_BITMAP_BITS ||
		    map_is_written(map, block))
			continue;
		atomic_fetch_or(&map->written[block / 64], (uint64_t)1 << (block % 64));
		any = true;
	}
	return any;
}

static void build_bitmap(struct map_round *round, uint64_t index, uint64_t generation)
{
	struct map *map = round->map;
	struct block_identity id = map_bitmap_identity(map, index);
	uint64_t first = index * SEAL_BITMAP_BITS;
	uint64_t end = min_u64(first + SEAL_BITMAP_BITS, map->nr_blocks);

	memset(&round->bitmap, 0, sizeof(round->bitmap));
	block_begin(&round->bitmap, &id, generation);
	for (uint64_t i = first; i < end; i++)
		if (map_is_written(map, i))
			round->bitmap.body[(i - first) / 8] |= (uint8_t)(1 << ((i - first) % 8));
}

/* Only this round's steps change @bitmap_stale. */
static bool is_stale_bitmap(const struct map_round *round, uint64_t index)
{
	return round->refreshes && round->map->bitmap_stale[index];
}

/* Is bitmap block round->bitmap_index to be written? */
static bool wants_bitmap(struct map_round *round)
{
	round->bitmap_has_new = add_new_bits(round, round->bitmap_index);
	return round->bitmap_has_new || is_stale_bitmap(round, round->bitmap_index);
}

static void write_next_bitmap(struct map_round *round)
{
	struct map *map = round->map;

	while (round->bitmap_index < map->nr_bitmap_blocks && !wants_bitmap(round))
		round->bitmap_index++;
	if (round->bitmap_index == map->nr_bitmap_blocks) {
		round_sync(round, bitmap_synced);
		return;
	}
	build_bitmap(round, round->bitmap_index, map_generation_now(map));
	round->error = block_finish(&round->bitmap, &round->lane->mac);
	if (round->error) {
		round_end(round);
		return;
	}
	round->op = (struct ring_op){
		.kind = RING_WRITE,
		.fd = map->config.fd,
		.offset_bytes = map->config.bitmap_offset + round->bitmap_index * SEAL_PAIR_BYTES +
				(map->bitmap_slots[round->bitmap_index] ^ 1u) * SEAL_BLOCK_BYTES,
		.data = (uint8_t *)&round->bitmap,
		.bytes = sizeof(round->bitmap),
		.done = bitmap_written,
	};
	ring_submit(round->lane->ring, &round->op);
}

bool round_writes_bitmap(const struct map_round *round)
{
	for (uint32_t i = 0; i < round->nr_frozen; i++)
		if (!map_is_written(round->map, round->blocks[i]->index))
			return true;
	for (uint64_t i = 0; i < round->map->nr_bitmap_blocks; i++)
		if (is_stale_bitmap(round, i))
			return true;
	return false;
}

void round_write_bitmap(struct map_round *round)
{
	round->bitmap_index = 0;
	write_next_bitmap(round);
}
