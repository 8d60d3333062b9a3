/* SPDX-License-Identifier: MIT */
/*
 * Bringing map blocks into memory, and reserving space in the image for those
 * that will be written for the first time: a full disk must show at the WRITE,
 * never first at the FLUSH that needs the block.
 */
#include <errno.h>
#include <stdlib.h>

#include "map/entries.h"

enum {
	MAP_IOS_MAX = 32,
	/* So many blocks get their space at once: 512 KiB for 248 MiB of the disk. */
	RESERVE_BLOCKS = 64,
};

struct map_io {
	struct ring_op op;
	struct map *map;
	struct lane *lane;
	struct waiter *waiter; /* who asked, and gets the result; NULL: not in use */
	bool load;	       /* else it reserves */
	struct map_io *next;   /* in the free list */
	uint64_t index;	       /* the block; or the first one */
	uint64_t end;	       /* of those that are reserved */
	struct seal_block pair[2];
};

int map_io_init(struct map *map)
{
	/* Filled in by io_begin(): memory that no operation has used yet stays untouched. */
	map->io_pool = malloc(MAP_IOS_MAX * sizeof(*map->io_pool));
	return map->io_pool ? 0 : -ENOMEM;
}

void map_io_done(struct map *map)
{
	free(map->io_pool);
}

/* One given back or, before the pool's tail is touched, one never used; NULL: all are in use. */
static struct map_io *io_take(struct map *map)
{
	struct map_io *io = map->io_free;

	if (io) {
		map->io_free = io->next;
		return io;
	}
	return map->nr_ios_begun < MAP_IOS_MAX ? &map->io_pool[map->nr_ios_begun++] : NULL;
}

/* Under the lock: @io is over; everybody else in line looks again. */
static void io_end(struct map_io *io, int result)
{
	struct map *map = io->map;

	waiter_wake(io->waiter, result);
	waiter_line_wake(&map->io_waiters, 0);
	io->waiter = NULL;
	io->next = map->io_free;
	map->io_free = io;
}

/* A pair whose slots differ was written since the image was opened, and left memory. */
static int judge(const struct map_io *io, unsigned int *ret_slot)
{
	struct map *map = io->map;
	const struct block_identity id = map_block_identity(map, io->index);
	bool lagging;

	pthread_mutex_lock(&map->lock);
	lagging = bitset_has(map->lagging, io->index);
	*ret_slot = bitset_has(map->slots, io->index);
	pthread_mutex_unlock(&map->lock);
	if (!lagging)
		return block_pick(io->pair, &id, &io->lane->mac, false, ret_slot);
	return block_is_whole(&io->pair[*ret_slot])
		       ? block_check(&io->pair[*ret_slot], &id, &io->lane->mac)
		       : -EBADMSG;
}

static void load_done(struct ring_op *op, int result)
{
	struct map_io *io = CONTAINER_OF(op, struct map_io, op);
	struct map *map = io->map;
	unsigned int slot = 0;
	int verdict = -EBADMSG;

	if (result >= 0)
		verdict = judge(io, &slot);
	/* Not judged: that says nothing about the block. */
	if (verdict < 0 && verdict != -EBADMSG)
		result = verdict;

	pthread_mutex_lock(&map->lock);
	if (result < 0) {
		atomic_store(&map->heads[io->index], (uint64_t)HEAD_UNLOADED);
	} else if (verdict < 0) {
		atomic_store(&map->heads[io->index], (uint64_t)HEAD_DAMAGED);
		atomic_store(&map->damaged, true);
	} else {
		map_install(map, io->index, io->pair[slot].body, slot);
	}
	io_end(io, result < 0 ? -EIO : 0);
	pthread_mutex_unlock(&map->lock);
}

static void reserve_done(struct ring_op *op, int result)
{
	struct map_io *io = CONTAINER_OF(op, struct map_io, op);
	struct map *map = io->map;

	pthread_mutex_lock(&map->lock);
	/* A file system that cannot reserve is believed to have the space. */
	if (result == -EOPNOTSUPP)
		result = 0;
	if (result == 0)
		for (uint64_t i = io->index; i < io->end; i++)
			bitset_add(map->reserved, i);
	io_end(io, result == -EDQUOT || result == -EFBIG ? -ENOSPC : result);
	pthread_mutex_unlock(&map->lock);
}

/* Is space for block @index being reserved? */
static bool is_being_reserved(const struct map *map, uint64_t index)
{
	for (uint32_t i = 0; i < map->nr_ios_begun; i++) {
		const struct map_io *io = &map->io_pool[i];

		if (io->waiter && !io->load && index >= io->index && index < io->end)
			return true;
	}
	return false;
}

/* Returns 1: @waiter waits for the operation, another one's, or a free struct map_io. */
static int io_begin(struct map *map, struct lane *lane, uint64_t index, bool load,
		    struct waiter *waiter)
{
	struct map_io *io = !load && is_being_reserved(map, index) ? NULL : io_take(map);

	waiter->lane = lane;
	if (!io) {
		waiter_line_add(&map->io_waiters, waiter);
		return 1;
	}
	io->map = map;
	io->lane = lane;
	io->waiter = waiter;
	io->load = load;
	io->index = load ? index : index / RESERVE_BLOCKS * RESERVE_BLOCKS;
	io->end = load ? index + 1 : min_u64(io->index + RESERVE_BLOCKS, map->nr_blocks);
	io->op = (struct ring_op){
		.kind = load ? RING_READ : RING_ALLOCATE,
		.fd = map->config.fd,
		.offset_bytes = map_pair_offset(map, io->index),
		.range_bytes = (io->end - io->index) * SEAL_PAIR_BYTES,
		.data = (uint8_t *)io->pair,
		.bytes = sizeof(io->pair),
		.done = load ? load_done : reserve_done,
	};
	if (load)
		atomic_store(&map->heads[index], (uint64_t)HEAD_LOADING);
	ring_submit(lane->ring, &io->op);
	return 1;
}

int map_io_prepare(struct map *map, struct lane *lane, uint64_t index, bool reserve,
		   struct waiter *waiter)
{
	uint64_t head = atomic_load(&map->heads[index]);

	switch (head_kind(head)) {
	case HEAD_UNLOADED:
		if (map_is_written(map, index))
			return io_begin(map, lane, index, true, waiter);
		break;
	case HEAD_LOADING:
		waiter->lane = lane;
		waiter_line_add(&map->io_waiters, waiter);
		return 1;
	case HEAD_DAMAGED:
		return -EIO;
	case HEAD_UNIFORM:
	case HEAD_MIXED:
		break;
	}
	if (reserve && !bitset_has(map->reserved, index))
		return io_begin(map, lane, index, false, waiter);
	return 0;
}

int map_load_wait(struct map *map, struct lane *lane, uint64_t sector, struct waiter *waiter)
{
	int r;

	pthread_mutex_lock(&map->lock);
	r = map_io_prepare(map, lane, map_block_of(sector), false, waiter);
	pthread_mutex_unlock(&map->lock);
	return r == 1 ? 1 : 0;
}
