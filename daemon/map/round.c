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
 * A round with nothing frozen is one fdatasync. Once in a while a round also writes
 * blocks that have not changed: see refresh.c. All steps run on the lane that
 * started the round.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "map/round.h"

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

bool round_covers_drain(const struct map *map)
{
	return map->round->active && map->round->covers_drain;
}

void round_sync(struct map_round *round, void (*done)(struct ring_op *op, int result))
{
	round->op = (struct ring_op){
		.kind = RING_FDATASYNC,
		.fd = round->map->config.fd,
		.in_memory = round->map->config.in_memory,
		.done = done,
	};
	ring_submit(round->lane->ring, &round->op);
}

/* What a durable block leaves behind: the entries, the slot, places to punch. */
static void settle_block(struct map *map, struct dirty_block *dirty)
{
	if (dirty->is_frozen) {
		refresh_note(map, dirty->index,
			     memcmp(dirty->durable, dirty->frozen.body, sizeof(dirty->durable)) !=
				     0);
		memcpy(dirty->durable, dirty->frozen.body, sizeof(dirty->durable));
		bitset_add(map->lagging, dirty->index);
	}
	bitset_move(dirty->superseded, dirty->frozen_touched, MAP_BITSET_WORDS);
	dirty->in_round = false;
	dirty->is_frozen = false;
	dirty->refresh = false;
	dirty_release_if_settled(map, dirty);
}

void round_end(struct map_round *round)
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

static void blocks_synced(struct ring_op *op, int result)
{
	struct map_round *round = CONTAINER_OF(op, struct map_round, op);

	round->error = result;
	if (round->error || !round_writes_bitmap(round)) {
		round_end(round);
		return;
	}
	round_write_bitmap(round);
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
		round_sync(round, blocks_synced);
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
	if (round->error || (round->nr_frozen == 0 && !round_writes_bitmap(round))) {
		round_end(round);
		return;
	}
	round->next_block = 0;
	write_more_blocks(round);
}

/*
 * Freeze @dirty: all its entries are of completed writes (map_write_end), so the
 * block to be written is its entries as they are now. Later changes wait for
 * the next round. Returns whether it is to be written.
 */
static bool freeze_block(struct map *map, struct dirty_block *dirty)
{
	struct block_identity id = map_block_identity(map, dirty->index);

	dirty->in_round = true;
	bitset_move(dirty->frozen_touched, dirty->touched, MAP_BITSET_WORDS);
	entries_store(map_entries(map, dirty->index), dirty->frozen.body);
	dirty->is_frozen = dirty->refresh ||
			   memcmp(dirty->frozen.body, dirty->durable, sizeof(dirty->durable)) != 0;
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
	round->refreshes = map->refresh_wanted;
	map->refresh_wanted = false;
	if (round->refreshes)
		refresh_take(map);
	for (struct dirty_block *d = map->dirty_list; d; d = d->next) {
		if (bitset_is_empty(d->touched, MAP_BITSET_WORDS) && !d->refresh)
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
	round->covers_drain = map->undrained_sync;
	map->undrained_sync = false;
}

void round_start(struct map *map, struct lane *lane)
{
	struct map_round *round = map->round;

	if (round->active || map->at_rest || atomic_load(&map->failed))
		return;
	round->active = true;
	atomic_store(&map->stirred, true);
	round->lane = lane;
	round->error = 0;
	waiter_line_move(&round->waiters, &map->round_waiters);
	freeze(round);
	round_sync(round, data_synced);
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

/* Under the lock: is there anything that time alone brings on? */
static bool waits_for_time(const struct map *map)
{
	return map->dirty_list || map->graces || map->nr_stale > 0 || map->unsynced_punches ||
	       map->unsynced_base || map->round->active || sweep_is_active(map);
}

/*
 * One image in a thousand has something to do: the others cost two loads. What
 * begins after the last look (a dirty block, a grace, a round) sets @stirred.
 */
void map_tick(struct map *map, struct lane *lane, uint64_t now_ms)
{
	uint64_t since;
	bool yields;

	atomic_store(&map->now_ms, now_ms);
	if (!atomic_load(&map->stirred))
		return;
	pthread_mutex_lock(&map->lock);
	since = atomic_load(&map->dirty_since_ms);
	yields = sweep_tick(map, now_ms);
	if (map->graces)
		grace_poll(map);
	if (refresh_is_due(map, now_ms))
		map->refresh_wanted = true;
	if ((since != 0 && now_ms >= since + ROUND_MS) || map->refresh_wanted ||
	    (map->unsynced_punches && !yields))
		round_start(map, lane);
	sweep_start(map, lane);
	atomic_store(&map->stirred, waits_for_time(map));
	pthread_mutex_unlock(&map->lock);
}
