/* SPDX-License-Identifier: MIT */
/*
 * Inside map/: how blocks and entries lie in memory, and the parts of the map
 * that its files share. See map.h for who may change what.
 *
 * The head of a block is one atomic word: its kind in bits 0..3, the entry of a
 * uniform block in bits 4..7, and in bits 32..63 one more than the number of
 * its struct dirty_block, or 0. All zeros: not in memory; a block that was
 * never written is then known to be all `base`.
 */
#ifndef MAP_ENTRIES_H
#define MAP_ENTRIES_H

#include "base/bitset.h"
#include "map/map.h"

enum head_kind {
	HEAD_UNLOADED,
	HEAD_LOADING,
	HEAD_DAMAGED,
	HEAD_UNIFORM,
	HEAD_MIXED,
};

static inline enum head_kind head_kind(uint64_t head)
{
	return (enum head_kind)(head & 15);
}

static inline uint8_t head_entry(uint64_t head)
{
	return head >> 4 & 15;
}

static inline uint64_t head_uniform(uint8_t entry)
{
	return HEAD_UNIFORM | (uint64_t)entry << 4;
}

static inline uint64_t map_block_of(uint64_t sector)
{
	return sector / SEAL_BLOCK_SECTORS;
}

static inline uint64_t map_block_first(uint64_t index)
{
	return index * SEAL_BLOCK_SECTORS;
}

/* Sectors of block @index that exist: the last block may be cut by the disk's end. */
static inline uint32_t map_block_sectors(const struct map *map, uint64_t index)
{
	return (uint32_t)min_u64(map->config.disk_sectors - map_block_first(index),
				 SEAL_BLOCK_SECTORS);
}

static inline uint64_t map_pair_offset(const struct map *map, uint64_t index)
{
	return map->config.map_offset + index * SEAL_PAIR_BYTES;
}

/* Of what the latest round writes (docs/format.md 4). Under the lock, or by the round. */
static inline uint64_t map_generation_now(const struct map *map)
{
	return map->config.open_seq << SEAL_ROUND_BITS | map->round_no;
}

static inline bool map_is_written(const struct map *map, uint64_t index)
{
	return atomic_load(&map->written[index / 64]) >> (index % 64) & 1;
}

/* Sixteen times the same entry. */
static inline uint64_t entries_pattern(uint8_t entry)
{
	return entry * 0x1111111111111111u;
}

static inline _Atomic uint64_t *map_entries(const struct map *map, uint64_t index)
{
	return map->entries + index * MAP_BLOCK_WORDS;
}

/* Sector @i of the block whose entries these are. */
static inline uint8_t entries_get(const _Atomic uint64_t *entries, uint32_t i)
{
	return atomic_load_explicit(&entries[i / 16], memory_order_relaxed) >> (i % 16 * 4) & 15;
}

/* Sectors [first, end) of the block; under the lock. */
void entries_set(_Atomic uint64_t *entries, uint32_t first, uint32_t end, uint8_t entry);

/* To and from the bytes of a map block's body. */
void entries_store(const _Atomic uint64_t *entries, uint8_t body[SEAL_BLOCK_BODY_BYTES]);
void entries_load(_Atomic uint64_t *entries, const uint8_t body[SEAL_BLOCK_BODY_BYTES]);

/* How many sectors from @first on, before @end, have @entry; 0: not even @first. */
uint32_t entries_run(const _Atomic uint64_t *entries, uint32_t first, uint32_t end, uint8_t entry);

/* Take over the entries of a block read from the image; under the lock. */
void map_install(struct map *map, uint64_t index, const uint8_t body[SEAL_BLOCK_BODY_BYTES],
		 unsigned int slot);

/* What a block of this image must say of itself. */
struct block_identity map_block_identity(const struct map *map, uint64_t index);
struct block_identity map_bitmap_identity(const struct map *map, uint64_t index);

/* Less than half is left of the dirty blocks that writes may use. Under the lock. */
static inline bool dirty_is_short(const struct map *map)
{
	const uint32_t spare = map->config.dirty_blocks_spare;

	return map->nr_dirty_free <= spare + (DIRTY_BLOCKS_MAX - spare) / 2;
}

/* dirty.c: under the lock. */
struct dirty_block *dirty_find(const struct map *map, uint64_t index); /* or NULL */
struct dirty_block *dirty_get(struct map *map, uint64_t index);	       /* room was seen to */
void dirty_release_if_settled(struct map *map, struct dirty_block *dirty);
void dirty_set(struct map *map, struct dirty_block *dirty, uint32_t first, uint32_t end,
	       uint8_t entry);
void dirty_touch(struct map *map, struct dirty_block *dirty, uint32_t first, uint32_t end);

/*
 * drain.c: under the lock. Sectors [@first, @end) of the block leave @old; what is in
 * @dirty->sweeping is swept, but for what is superseded again.
 */
void drain_note(struct map *map, struct dirty_block *dirty, uint32_t first, uint32_t end,
		uint8_t old);
void drain_swept(struct map *map, struct dirty_block *dirty);

/*
 * io.c: under the lock. See that block @index is in memory and has space in the
 * image. Returns 0, 1 (@waiter stands in line), -EIO (damaged), -ENOSPC.
 */
int MUST_CHECK map_io_prepare(struct map *map, struct lane *lane, uint64_t index, bool reserve,
			      struct waiter *waiter);
int MUST_CHECK map_io_init(struct map *map);
void map_io_done(struct map *map);

/* write.c: under the lock. All of map_write_begin() but for entering the epoch. */
int MUST_CHECK map_begin_first_write(struct map *map, struct lane *lane, uint64_t first_sector,
				     uint64_t nr_sectors, struct waiter *waiter);

/*
 * reclaim.c: under the lock. Block @index does not use its entries any more, or again
 * (call it once, as it becomes mixed). Of those that do not: take some, and, when all epochs
 * have ended that began before that, give their memory back. Are there more mixed blocks
 * than are to be kept?
 */
void reclaim_note(struct map *map, uint64_t index);
void reclaim_forget(struct map *map, uint64_t index);
bool reclaim_is_due(const struct map *map);
void reclaim_take(struct map *map);
void reclaim_give(struct map *map);

/* round.c: under the lock. Starts a round on @lane unless one is under way. */
void round_start(struct map *map, struct lane *lane);
int MUST_CHECK round_init(struct map *map);
void round_done(struct map *map);
bool round_is_active(const struct map *map);
bool round_covers_punches(const struct map *map);
bool round_covers_drain(const struct map *map);

/*
 * refresh.c: under the lock. Note that the slots of a block that is durable now
 * hold other entries, or the same. Is it time to make stale slots the same? Take
 * some of them into the round that begins.
 */
void refresh_note(struct map *map, uint64_t index, bool is_stale);
void refresh_note_bitmap(struct map *map, uint64_t index, bool is_stale);
bool refresh_is_due(const struct map *map, uint64_t now_ms);
void refresh_take(struct map *map);

/*
 * sweep.c: under the lock. Starts a sweep on @lane if there is something to punch,
 * or goes on there with one that has let clients pass.
 */
void sweep_start(struct map *map, struct lane *lane);

/* The time has come to punch some more. Returns whether there are clients to make way for. */
bool MUST_CHECK sweep_tick(struct map *map, uint64_t now_ms);
int MUST_CHECK sweep_init(struct map *map);
void sweep_done(struct map *map);
bool sweep_is_active(const struct map *map);

/* Active, and not letting clients pass: something is in flight, or waits for epochs. */
bool sweep_is_busy(const struct map *map);

/*
 * In an owned base, zeros take the place of a hole where the file system cannot
 * punch. @op, a punch of the base or what this made of one, has ended with
 * @result: true: there is more to do, and @op says what.
 */
bool MUST_CHECK sweep_goes_on(struct ring_op *op, int result);

/* grace.c: wait until every epoch up to now has drained. Under the lock. */
struct map_grace {
	struct map_grace *next;
	uint64_t epoch;
	struct waiter *waiter; /* woken with 0 */
};
void grace_begin(struct map *map, struct map_grace *grace, struct waiter *waiter);
void grace_poll(struct map *map);

#endif
