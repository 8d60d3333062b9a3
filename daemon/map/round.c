/* SPDX-License-Identifier: MIT */
/*
 * A commit round: makes what has changed durable, in the only order that
 * survives a crash (invariants 2, 3 and 7; docs/format.md 5).
 *
 * round_start: freeze -> SYNC_DATA -> WRITE_BLOCKS -> SYNC_BLOCKS
 *              -> WRITE_BITMAP -> SYNC_BITMAP -> round_end: replies, then sweep
 *
 * The bitmap comes last and only when blocks were written for the first time:
 * a bit that is durable before its block would make a crash look like damage.
 * Until the bit is there, the new block does not count.
 *
 * A round with nothing frozen is one fdatasync. All steps run on the lane that
 * started the round.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "map/entries.h"

struct block_write {
	struct ring_op op;
	struct map *map;
	struct dirty_block *dirty; /* NULL: not in use */
	unsigned int slot;	   /* written: the one that does not count */
};

struct map_round {
	struct map *map;
	struct lane *lane;
	bool active;		    /* under the lock */
	bool covers_punches;	    /* its first fdatasync makes punches durable */
	int error;		    /* the first one */
	struct waiter_line waiters; /* flushes this round serves */

	/* Dirty blocks in this round; those with new entries come first. */
	struct dirty_block *blocks[DIRTY_BLOCKS_MAX];
	uint32_t nr_blocks;
	uint32_t nr_frozen;  /* have new entries */
	uint32_t next_block; /* to be written */
	uint32_t nr_writing;
	struct block_write writes[COMMIT_WRITES_MAX];

	struct ring_op op; /* fdatasync, bitmap write */
	struct seal_block bitmap;
	uint64_t bitmap_index; /* being written */
};

int round_init(struct map *map)
{
	map->round = calloc(1, sizeof(*map->round));
	if (!map->round)
		return -ENOMEM;
	map->round->map = map;
	for (int i = 0; i < COMMIT_WRITES_MAX; i++)
		map->round->writes[i].map = map;
	return 0;
}

void round_done(struct map *map)
{
	free(map->round);
}

bool round_is_active(const struct map *map)
{
	return map->round->active;
}

bool round_covers_punches(const struct map *map)
{
	return map->round->active && map->round->covers_punches;
}

static void sync_file(struct map_round *round, void (*done)(struct ring_op *op, int result))
{
	round->op = (struct ring_op){
		.kind = RING_FDATASYNC,
		.fd = round->map->config.fd,
		.done = done,
	};
	ring_submit(round->lane->ring, &round->op);
}

/* What a durable block leaves behind: the entries, the slot, places to punch. */
static void settle_block(struct map *map, struct dirty_block *dirty)
{
	if (dirty->is_frozen) {
		memcpy(dirty->durable, dirty->frozen.body, sizeof(dirty->durable));
		bitset_add(map->lagging, dirty->index);
	}
	bitset_move(dirty->superseded, dirty->frozen_touched, MAP_BITSET_WORDS);
	dirty->in_round = false;
	dirty->is_frozen = false;
	dirty_release_if_settled(map, dirty);
}

static void round_end(struct map_round *round)
{
	struct map *map = round->map;
	int result = round->error ? -EIO : 0;

	if (result < 0)
		map_fail(map, round->error);
	pthread_mutex_lock(&map->lock);
	if (result == 0) {
		for (uint32_t i = 0; i < round->nr_blocks; i++)
			settle_block(map, round->blocks[i]);
		if (round->nr_blocks > 0)
			dirty_file_clear_frozen(&map->dirty_file);
	}
	round->active = false;
	waiter_line_wake(&round->waiters, result);
	waiter_line_wake(&map->room_waiters, result);
	if (result < 0)
		waiter_line_wake(&map->round_waiters, result);
	else
		sweep_start(map, round->lane);
	if (map->round_waiters.first)
		round_start(map, round->lane);
	pthread_mutex_unlock(&map->lock);
}

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

	round->map->bitmap_slots[round->bitmap_index] ^= 1;
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

static void write_next_bitmap(struct map_round *round)
{
	struct map *map = round->map;

	while (round->bitmap_index < map->nr_bitmap_blocks &&
	       !add_new_bits(round, round->bitmap_index))
		round->bitmap_index++;
	if (round->bitmap_index == map->nr_bitmap_blocks) {
		sync_file(round, bitmap_synced);
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

static bool has_first_time_block(const struct map_round *round)
{
	for (uint32_t i = 0; i < round->nr_frozen; i++)
		if (!map_is_written(round->map, round->blocks[i]->index))
			return true;
	return false;
}

static void blocks_synced(struct ring_op *op, int result)
{
	struct map_round *round = CONTAINER_OF(op, struct map_round, op);

	round->error = result;
	if (round->error || !has_first_time_block(round)) {
		round_end(round);
		return;
	}
	round->bitmap_index = 0;
	write_next_bitmap(round);
}

/* The slot that does not count, of a block to be written now. */
static unsigned int slot_to_write(struct map *map, uint64_t index)
{
	unsigned int slot = 0;

	pthread_mutex_lock(&map->lock);
	if (map_is_written(map, index))
		slot = !bitset_has(map->slots, index);
	pthread_mutex_unlock(&map->lock);
	return slot;
}

static void block_written(struct ring_op *op, int result);

static void write_more_blocks(struct map_round *round)
{
	struct map *map = round->map;

	for (int i = 0; i < COMMIT_WRITES_MAX && round->next_block < round->nr_frozen; i++) {
		struct block_write *write = &round->writes[i];
		struct dirty_block *dirty;
		int r;

		if (write->dirty)
			continue;
		dirty = round->blocks[round->next_block++];
		r = block_finish(&dirty->frozen, &round->lane->mac);
		if (r < 0) {
			round->error = r;
			round->next_block = round->nr_frozen;
			break;
		}
		write->dirty = dirty;
		write->slot = slot_to_write(map, dirty->index);
		write->op = (struct ring_op){
			.kind = RING_WRITE,
			.fd = map->config.fd,
			.offset_bytes =
				map_pair_offset(map, dirty->index) + write->slot * SEAL_BLOCK_BYTES,
			.data = (uint8_t *)&dirty->frozen,
			.bytes = sizeof(dirty->frozen),
			.done = block_written,
		};
		round->nr_writing++;
		ring_submit(round->lane->ring, &write->op);
	}
	if (round->nr_writing > 0)
		return;
	if (round->error)
		round_end(round);
	else
		sync_file(round, blocks_synced);
}

static void block_written(struct ring_op *op, int result)
{
	struct block_write *write = CONTAINER_OF(op, struct block_write, op);
	struct map *map = write->map;
	struct map_round *round = map->round;
	uint64_t index = write->dirty->index;

	if (result < 0) {
		if (!round->error)
			round->error = result;
		round->next_block = round->nr_frozen;
	}
	pthread_mutex_lock(&map->lock);
	if (write->slot)
		bitset_add(map->slots, index);
	else
		bitset_remove(map->slots, index);
	pthread_mutex_unlock(&map->lock);
	write->dirty = NULL;
	round->nr_writing--;
	write_more_blocks(round);
}

static void data_synced(struct ring_op *op, int result)
{
	struct map_round *round = CONTAINER_OF(op, struct map_round, op);

	round->error = result;
	if (round->error || round->nr_frozen == 0) {
		round_end(round);
		return;
	}
	round->next_block = 0;
	write_more_blocks(round);
}

/*
 * Freeze @dirty: all its entries are of completed writes (map_write_end), so the
 * block to be written is its entries as they are now. Later changes wait for
 * the next round. Returns whether there are new entries.
 */
static bool freeze_block(struct map *map, struct dirty_block *dirty)
{
	struct block_identity id = map_block_identity(map, dirty->index);

	dirty->in_round = true;
	bitset_move(dirty->frozen_touched, dirty->touched, MAP_BITSET_WORDS);
	entries_store(map_entries(map, dirty->index), dirty->frozen.body);
	dirty->is_frozen = memcmp(dirty->frozen.body, dirty->durable, sizeof(dirty->durable)) != 0;
	if (dirty->is_frozen)
		block_begin(&dirty->frozen, &id, map_generation_now(map));
	return dirty->is_frozen;
}

static void freeze(struct map_round *round)
{
	struct map *map = round->map;

	map->round_no++;
	round->nr_blocks = 0;
	round->nr_frozen = 0;
	for (struct dirty_block *d = map->dirty_list; d; d = d->next) {
		if (bitset_is_empty(d->touched, MAP_BITSET_WORDS))
			continue;
		round->blocks[round->nr_blocks++] = d;
		if (freeze_block(map, d)) {
			round->blocks[round->nr_blocks - 1] = round->blocks[round->nr_frozen];
			round->blocks[round->nr_frozen++] = d;
		}
	}
	if (round->nr_blocks > 0)
		dirty_file_freeze(&map->dirty_file);
	atomic_store(&map->dirty_since_ms, 0);
	round->covers_punches = map->unsynced_punches;
	map->unsynced_punches = false;
}

void round_start(struct map *map, struct lane *lane)
{
	struct map_round *round = map->round;

	if (round->active || atomic_load(&map->failed))
		return;
	round->active = true;
	round->lane = lane;
	round->error = 0;
	waiter_line_move(&round->waiters, &map->round_waiters);
	freeze(round);
	sync_file(round, data_synced);
}

int map_flush(struct map *map, struct lane *lane, struct waiter *waiter)
{
	int r = 1;

	waiter->lane = lane;
	pthread_mutex_lock(&map->lock);
	if (atomic_load(&map->failed)) {
		r = -EIO;
	} else {
		waiter_line_add(&map->round_waiters, waiter);
		round_start(map, lane);
	}
	pthread_mutex_unlock(&map->lock);
	return r;
}

void map_tick(struct map *map, struct lane *lane, uint64_t now_ms)
{
	uint64_t since = atomic_load(&map->dirty_since_ms);

	atomic_store(&map->now_ms, now_ms);
	pthread_mutex_lock(&map->lock);
	if (map->graces)
		grace_poll(map);
	if ((since != 0 && now_ms >= since + ROUND_MS) || map->unsynced_punches)
		round_start(map, lane);
	sweep_start(map, lane);
	pthread_mutex_unlock(&map->lock);
}
