/* SPDX-License-Identifier: MIT */
/*
 * The sweep: punches places that no entry names any more (invariant 4).
 *
 * sweep_start: take the superseded sets -> wait until every request that may
 * have resolved such a place has left its epoch -> block by block: no writers,
 * keep new ones out, check each place against the live, the frozen and the
 * durable entry, punch it -> fdatasync of the base, if it was punched.
 *
 * What sectors have left in an owned base is punched like their places in planes;
 * it goes by the number of the entry that means it.
 *
 * One punch after the other: the file system has one at a time anyway, and while
 * others wait for it no client can write to the file. For the same reason it is
 * SWEEP_PUNCHES_MAX a tick while clients are there and dirty blocks do not run
 * short (a block's are not parted, but have to be made up for). What waits becomes
 * one large punch, as a rule.
 *
 * What a block holds back (a first write in flight), and what there was no space
 * to punch, goes to the next sweep. All
 * steps run on the lane that started the sweep.
 */
#include <errno.h>
#include <stdlib.h>

#include "map/entries.h"

enum { ZEROS_BYTES = 64 << 10 };

struct punch {
	struct ring_op op;
	struct map *map;
	bool in_base;
	uint32_t first, end; /* sectors in the sweep's block */
};

struct map_sweep {
	struct map *map;
	struct lane *lane;
	bool active;	      /* under the lock */
	bool resting;	      /* between two blocks, and nothing is in flight */
	uint32_t nr_punches;  /* that ticks have not made up for yet */
	struct waiter waiter; /* for the epochs */
	struct map_grace grace;

	/* Where it is: sector @at of the places in plane @plane of @block. */
	struct dirty_block *block; /* NULL: between blocks */
	unsigned int plane;
	uint32_t at;
	struct punch punch;
	struct ring_op base_sync;
};

int sweep_init(struct map *map)
{
	map->sweep = calloc(1, sizeof(*map->sweep));
	if (!map->sweep)
		return -ENOMEM;
	map->sweep->map = map;
	map->sweep->punch.map = map;
	return 0;
}

void sweep_done(struct map *map)
{
	free(map->sweep);
}

bool sweep_is_active(const struct map *map)
{
	return map->sweep->active;
}

bool sweep_is_busy(const struct map *map)
{
	return map->sweep->active && !map->sweep->resting;
}

/* ---- clients come first ---- */

static bool yields(const struct map *map)
{
	return map->clients_seen_ms != 0 && !map->in_hurry &&
	       atomic_load(&map->now_ms) < map->clients_seen_ms + SWEEP_QUIET_MS &&
	       !dirty_is_short(map);
}

bool sweep_tick(struct map *map, uint64_t now_ms)
{
	struct map_sweep *sweep = map->sweep;
	uint64_t nr = 0;

	for (unsigned int i = 0; i < map->nr_lanes; i++)
		nr += atomic_load(&map->lanes[i]->nr_begun);
	if (nr != map->nr_requests_seen)
		map->clients_seen_ms = now_ms;
	map->nr_requests_seen = nr;
	sweep->nr_punches -= (uint32_t)min_u64(sweep->nr_punches, SWEEP_PUNCHES_MAX);
	return yields(map);
}

/* ---- what to punch ---- */

/* Does no entry, live, frozen or durable, name the place of sector @i in @plane? */
static bool is_superseded(const struct map *map, const struct dirty_block *dirty, uint32_t i,
			  unsigned int plane)
{
	return bitset_has(dirty->sweeping, i) &&
	       entries_get(map_entries(map, dirty->index), i) != plane &&
	       block_entry(dirty->durable, i) != plane &&
	       !(dirty->is_frozen && block_entry(dirty->frozen.body, i) == plane);
}

/* The first sector after @first, before @end, of which the live entries do not name the place. */
static uint32_t after_named(const struct map *map, const struct dirty_block *dirty, uint32_t first,
			    uint32_t end, unsigned int plane)
{
	const uint32_t nr = entries_run(map_entries(map, dirty->index), first, end, (uint8_t)plane);

	return first + (nr > 0 ? nr : 1);
}

/* How many sectors of block @index have a place in @plane? */
static uint32_t nr_places(const struct map *map, uint64_t index, unsigned int plane)
{
	const struct map_config *config = &map->config;
	uint64_t first = map_block_first(index);

	if (plane == SEAL_ENTRY_BASE && config->owns_base && config->base_sectors > first)
		return (uint32_t)min_u64(config->base_sectors - first,
					 map_block_sectors(map, index));
	return config->planes[plane].kind == SEAL_PLANE_NONE ? 0 : map_block_sectors(map, index);
}

/* The next run of places to punch in the block. Returns false at its end. */
static bool next_run(struct map_sweep *sweep, uint32_t *ret_first, uint32_t *ret_end)
{
	const struct map *map = sweep->map;

	for (; sweep->plane < MAP_VALUES; sweep->plane++, sweep->at = 0) {
		const uint32_t end = nr_places(map, sweep->block->index, sweep->plane);

		while (sweep->at < end) {
			uint32_t first = sweep->at;

			while (sweep->at < end &&
			       is_superseded(map, sweep->block, sweep->at, sweep->plane))
				sweep->at++;
			if (sweep->at > first) {
				*ret_first = first;
				*ret_end = sweep->at;
				return true;
			}
			sweep->at = after_named(map, sweep->block, first, end, sweep->plane);
			sweep->at = (uint32_t)bitset_next(sweep->block->sweeping, sweep->at, end);
		}
	}
	return false;
}

static struct dirty_block *next_block(struct map *map)
{
	for (struct dirty_block *d = map->dirty_list; d; d = d->next) {
		if (bitset_is_empty(d->sweeping, MAP_BITSET_WORDS))
			continue;
		if (d->nr_writers == 0)
			return d;
		bitset_move(d->superseded, d->sweeping, MAP_BITSET_WORDS);
	}
	return NULL;
}

static void punch_done(struct ring_op *op, int result);

static void submit_punch(struct map_sweep *sweep, uint32_t first, uint32_t end)
{
	struct map *map = sweep->map;
	struct punch *punch = &sweep->punch;
	const struct map_config *config = &map->config;
	uint64_t sector = map_block_first(sweep->block->index) + first;

	punch->in_base = sweep->plane == SEAL_ENTRY_BASE;
	punch->first = first;
	punch->end = end;
	punch->op = (struct ring_op){
		.kind = RING_PUNCH,
		.fd = punch->in_base ? config->base_fd : config->fd,
		.in_memory = !punch->in_base && config->in_memory,
		.offset_bytes =
			config->planes[sweep->plane].file_offset_bytes + sectors_to_bytes(sector),
		.range_bytes = sectors_to_bytes(end - first),
		.done = punch_done,
	};
	map->unsynced_base |= punch->in_base;
	sweep->nr_punches++;
	ring_submit(sweep->lane->ring, &punch->op);
}

static void end_block(struct map_sweep *sweep)
{
	static const uint64_t nothing[MAP_BITSET_WORDS];
	struct map *map = sweep->map;
	struct dirty_block *dirty = sweep->block;

	drain_swept(map, dirty);
	for (uint32_t i = 0; i < MAP_BITSET_WORDS; i++)
		dirty->sweeping[i] = nothing[i];
	dirty->punching = false;
	map->unsynced_punches = true;
	sweep->block = NULL;
	dirty_release_if_settled(map, dirty);
	waiter_line_wake(&map->punch_waiters, 0);
}

static void sweep_over(struct map_sweep *sweep)
{
	sweep->active = false;
	sweep->map->in_hurry = false;
}

/* What the map says is gone from the base is so on the medium only now. */
static void base_synced(struct ring_op *op, int result)
{
	struct map_sweep *sweep = CONTAINER_OF(op, struct map_sweep, base_sync);
	struct map *map = sweep->map;

	if (result < 0)
		map_fail(map, result);
	pthread_mutex_lock(&map->lock);
	map->unsynced_base = result < 0;
	sweep_over(sweep);
	pthread_mutex_unlock(&map->lock);
}

/* Under the lock. */
static void end_sweep(struct map_sweep *sweep)
{
	if (!sweep->map->unsynced_base) {
		sweep_over(sweep);
		return;
	}
	sweep->base_sync = (struct ring_op){
		.kind = RING_FDATASYNC,
		.fd = sweep->map->config.base_fd,
		.done = base_synced,
	};
	ring_submit(sweep->lane->ring, &sweep->base_sync);
}

/* Under the lock: begin the next punch, let clients pass, or end the sweep. */
static void sweep_run(struct map_sweep *sweep)
{
	const struct map *map = sweep->map;
	uint32_t first, end;

	for (;;) {
		if (!sweep->block) {
			sweep->resting = sweep->nr_punches >= SWEEP_PUNCHES_MAX && yields(map);
			if (sweep->resting)
				return;
			sweep->block = next_block(sweep->map);
			if (!sweep->block)
				break;
			sweep->block->punching = true;
			sweep->plane = SEAL_ENTRY_BASE;
			sweep->at = 0;
		}
		if (next_run(sweep, &first, &end)) {
			submit_punch(sweep, first, end);
			return;
		}
		end_block(sweep);
	}
	end_sweep(sweep);
}

/*
 * A full XFS may lack the space to punch a hole: the place waits for a later
 * sweep, unless too many blocks wait already. Any other failure is for good.
 */
static void punch_failed(struct map *map, const struct punch *punch, int error)
{
	if (error != -ENOSPC || dirty_is_short(map)) {
		map->punch_failed = true;
		return;
	}
	bitset_add_range(map->sweep->block->superseded, punch->first, punch->end);
	map->punch_again_ms = atomic_load(&map->now_ms) + ROUND_MS;
}

bool sweep_goes_on(struct ring_op *op, int result)
{
	static const uint8_t zeros[ZEROS_BYTES];
	union {
		const uint8_t *in;
		uint8_t *out; /* a WRITE only reads it */
	} data = { .in = zeros };

	if (op->kind == RING_PUNCH && result != -EOPNOTSUPP)
		return false;
	if (op->kind == RING_WRITE) {
		if (result < 0)
			return false;
		op->offset_bytes += op->bytes;
		op->range_bytes -= op->bytes;
	}
	op->kind = RING_WRITE;
	op->data = data.out;
	op->bytes = (uint32_t)min_u64(op->range_bytes, sizeof(zeros));
	return op->bytes > 0;
}

static void punch_done(struct ring_op *op, int result)
{
	struct punch *punch = CONTAINER_OF(op, struct punch, op);
	struct map *map = punch->map;
	struct map_sweep *sweep = map->sweep;

	if (punch->in_base && sweep_goes_on(op, result)) {
		ring_submit(sweep->lane->ring, op);
		return;
	}
	pthread_mutex_lock(&map->lock);
	if (result < 0)
		punch_failed(map, punch, result);
	sweep_run(sweep);
	pthread_mutex_unlock(&map->lock);
}

static void epochs_drained(struct waiter *waiter)
{
	struct map_sweep *sweep = CONTAINER_OF(waiter, struct map_sweep, waiter);

	pthread_mutex_lock(&sweep->map->lock);
	reclaim_give(sweep->map);
	sweep_run(sweep);
	pthread_mutex_unlock(&sweep->map->lock);
}

void sweep_start(struct map *map, struct lane *lane)
{
	struct map_sweep *sweep = map->sweep;
	bool any = false;

	if (sweep->resting) {
		sweep->lane = lane;
		sweep_run(sweep);
		return;
	}
	if (sweep->active || map->at_rest || atomic_load(&map->failed) ||
	    atomic_load(&map->now_ms) < map->punch_again_ms)
		return;
	for (struct dirty_block *d = map->dirty_list; d; d = d->next) {
		if (bitset_is_empty(d->superseded, MAP_BITSET_WORDS))
			continue;
		bitset_move(d->sweeping, d->superseded, MAP_BITSET_WORDS);
		any = true;
	}
	if (!any && !reclaim_is_due(map))
		return;
	map->punch_again_ms = 0;
	sweep->active = true;
	sweep->lane = lane;
	sweep->waiter = (struct waiter){ .lane = lane, .wake = epochs_drained };
	reclaim_take(map);
	grace_begin(map, &sweep->grace, &sweep->waiter);
}
