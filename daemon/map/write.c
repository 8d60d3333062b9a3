/* SPDX-License-Identifier: MIT */
/*
 * Changing where sectors are: first writes to the current plane, and zeroes.
 *
 * WRITE: req_start -> step_admit -> MAP_WRITE_BEGIN -> step_encrypt -> step_store
 *        -> MAP_WRITE_END -> step_durable (FUA) -> step_reply
 * ZERO:  req_start -> MAP_ZERO (block by block) -> step_durable (FUA) -> step_reply
 */
#include <errno.h>

#include "map/entries.h"

/* A part of a range that lies in one block: sectors [first, end) of it. */
struct piece {
	uint64_t index;
	uint32_t first, end;
};

static struct piece piece_at(uint64_t sector, uint64_t end_sector)
{
	uint64_t index = map_block_of(sector);
	uint64_t base = map_block_first(index);

	return (struct piece){
		.index = index,
		.first = (uint32_t)(sector - base),
		.end = (uint32_t)min_u64(end_sector - base, SEAL_BLOCK_SECTORS),
	};
}

/* No room for what the caller needs: a round and a sweep will make some. */
static int wait_for_room(struct map *map, struct lane *lane, struct waiter *waiter)
{
	waiter->lane = lane;
	waiter_line_add(&map->room_waiters, waiter);
	round_start(map, lane);
	sweep_start(map, lane);
	return 1;
}

/*
 * Is a first write of any of these sectors in flight? Then another first write
 * and a TRIM of them wait for its end. That end makes the map name the place,
 * whoever wrote there last: it could bring back an overwrite that the TRIM, sent
 * after it, had taken away.
 */
static bool wait_for_writers(struct map *map, struct lane *lane, const struct dirty_block *dirty,
			     struct piece piece, struct waiter *waiter)
{
	if (bitset_next(dirty->writing, piece.first, piece.end) >= piece.end)
		return false;
	waiter->lane = lane;
	waiter_line_add(&map->write_waiters, waiter);
	return true;
}

/* Punches in flight could run into a first write. */
static bool wait_for_punches(struct map *map, struct lane *lane, const struct dirty_block *dirty,
			     struct waiter *waiter)
{
	if (!dirty->punching)
		return false;
	waiter->lane = lane;
	waiter_line_add(&map->punch_waiters, waiter);
	return true;
}

static int prepare_blocks(struct map *map, struct lane *lane, uint64_t first_sector,
			  uint64_t end_sector, struct waiter *waiter)
{
	uint32_t nr_new = 0;

	for (uint64_t at = first_sector; at < end_sector;) {
		struct piece piece = piece_at(at, end_sector);
		const struct dirty_block *dirty;
		int r = map_io_prepare(map, lane, piece.index, true, waiter);

		if (r != 0)
			return r;
		dirty = dirty_find(map, piece.index);
		if (dirty && (wait_for_punches(map, lane, dirty, waiter) ||
			      wait_for_writers(map, lane, dirty, piece, waiter)))
			return 1;
		nr_new += !dirty;
		at = map_block_first(piece.index) + piece.end;
	}
	if (nr_new + map->config.dirty_blocks_spare > map->nr_dirty_free ||
	    !dirty_file_has_room(&map->dirty_file, 1))
		return wait_for_room(map, lane, waiter);
	return 0;
}

int map_begin_first_write(struct map *map, struct lane *lane, uint64_t first_sector,
			  uint64_t nr_sectors, struct waiter *waiter)
{
	uint64_t end_sector = first_sector + nr_sectors;
	int r;

	if (atomic_load(&map->failed))
		return -EIO;
	if (atomic_load(&map->switching)) {
		waiter->lane = lane;
		waiter_line_add(&map->switch_waiters, waiter);
		return 1;
	}
	r = prepare_blocks(map, lane, first_sector, end_sector, waiter);
	if (r != 0)
		return r;
	for (uint64_t at = first_sector; at < end_sector;) {
		struct piece piece = piece_at(at, end_sector);
		struct dirty_block *dirty = dirty_get(map, piece.index);

		dirty->nr_writers++;
		bitset_add_range(dirty->writing, piece.first, piece.end);
		at = map_block_first(piece.index) + piece.end;
	}
	map->dirty_file.nr_reserved++;
	return 0;
}

int map_write_begin(struct map *map, struct lane *lane, uint64_t first_sector, uint64_t nr_sectors,
		    struct waiter *waiter, uint8_t *ret_entry, unsigned int *ret_parity)
{
	int r;

	pthread_mutex_lock(&map->lock);
	r = map_begin_first_write(map, lane, first_sector, nr_sectors, waiter);
	if (r == 0) {
		*ret_entry = atomic_load(&map->current);
		*ret_parity = epoch_enter(&map->epoch, &lane->epoch);
	}
	pthread_mutex_unlock(&map->lock);
	return r;
}

static void write_end_piece(struct map *map, struct piece piece, uint8_t entry, bool written)
{
	struct dirty_block *dirty = dirty_find(map, piece.index);

	/* A failed write may have left data in the place: it is to be punched. */
	if (written)
		dirty_set(map, dirty, piece.first, piece.end, entry);
	else
		dirty_touch(map, dirty, piece.first, piece.end);
	bitset_remove_range(dirty->writing, piece.first, piece.end);
	dirty->nr_writers--;
}

void map_write_end(struct map *map, struct lane *lane, uint64_t first_sector, uint64_t nr_sectors,
		   uint8_t entry, unsigned int parity, int result)
{
	uint64_t end_sector = first_sector + nr_sectors;

	pthread_mutex_lock(&map->lock);
	map->dirty_file.nr_reserved--;
	if (result >= 0)
		dirty_file_add(&map->dirty_file, first_sector, (uint32_t)nr_sectors, entry);
	for (uint64_t at = first_sector; at < end_sector;) {
		struct piece piece = piece_at(at, end_sector);

		write_end_piece(map, piece, entry, result >= 0);
		at = map_block_first(piece.index) + piece.end;
	}
	if (dirty_file_is_filling(&map->dirty_file))
		round_start(map, lane);
	waiter_line_wake(&map->write_waiters, 0);
	epoch_leave(&lane->epoch, parity);
	if (atomic_load(&map->grace_wanted))
		grace_poll(map);
	pthread_mutex_unlock(&map->lock);
}

/*
 * How far the sectors from @first on are alike, and whether they must change
 * to read as zeros. Returns 0 or -EIO: the base cannot be asked.
 */
static int zero_run(struct map *map, struct piece piece, uint32_t *ret_end, bool *ret_change)
{
	const _Atomic uint64_t *entries = map_entries(map, piece.index);
	uint64_t head = atomic_load(&map->heads[piece.index]);
	uint8_t entry = SEAL_ENTRY_BASE;
	uint32_t end = piece.end;
	uint64_t extent;
	bool hole;

	if (head_kind(head) == HEAD_UNIFORM)
		entry = head_entry(head);
	if (head_kind(head) == HEAD_MIXED) {
		entry = entries_get(entries, piece.first);
		end = piece.first + entries_run(entries, piece.first, piece.end, entry);
	}
	*ret_change = entry >= SEAL_ENTRY_PLANE_FIRST;
	if (entry == SEAL_ENTRY_BASE && map->config.has_base) {
		if (map->config.base_extent(map->config.base,
					    map_block_first(piece.index) + piece.first,
					    end - piece.first, &hole, &extent) < 0)
			return -EIO;
		*ret_change = !hole;
		end = piece.first + (uint32_t)extent;
	}
	*ret_end = end;
	return 0;
}

/* Zero @piece as far as there is room. Returns 0 or what map_zero() returns. */
static int zero_piece(struct map *map, struct lane *lane, struct piece piece, struct waiter *waiter,
		      uint32_t *ret_end)
{
	const struct dirty_block *dirty = dirty_find(map, piece.index);

	*ret_end = piece.first;
	if (dirty && wait_for_writers(map, lane, dirty, piece, waiter))
		return 1;
	while (piece.first < piece.end) {
		uint32_t end;
		bool change;
		int r;

		*ret_end = piece.first;
		r = zero_run(map, piece, &end, &change);
		if (r < 0)
			return r;
		if (change) {
			r = map_io_prepare(map, lane, piece.index, true, waiter);
			if (r != 0)
				return r;
			if ((!dirty_find(map, piece.index) && map->nr_dirty_free == 0) ||
			    !dirty_file_has_room(&map->dirty_file, 1))
				return wait_for_room(map, lane, waiter);
			dirty_file_add(&map->dirty_file, map_block_first(piece.index) + piece.first,
				       end - piece.first, SEAL_ENTRY_ZERO);
			dirty_set(map, dirty_get(map, piece.index), piece.first, end,
				  SEAL_ENTRY_ZERO);
		}
		piece.first = end;
	}
	*ret_end = piece.end;
	return 0;
}

int map_zero(struct map *map, struct lane *lane, uint64_t first_sector, uint64_t nr_sectors,
	     struct waiter *waiter, uint64_t *ret_sectors)
{
	struct piece piece = piece_at(first_sector, first_sector + nr_sectors);
	uint32_t end = piece.first;
	int r;

	pthread_mutex_lock(&map->lock);
	if (atomic_load(&map->failed))
		r = -EIO;
	else
		r = map_io_prepare(map, lane, piece.index, false, waiter);
	if (r == 0)
		r = zero_piece(map, lane, piece, waiter, &end);
	if (r == 0 && dirty_file_is_filling(&map->dirty_file))
		round_start(map, lane);
	pthread_mutex_unlock(&map->lock);
	*ret_sectors = end - piece.first;
	return r;
}
