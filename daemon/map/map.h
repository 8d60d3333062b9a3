/* SPDX-License-Identifier: MIT */
/*
 * The page map of an image: which place holds each sector, and how changes of
 * that become durable (docs/format.md 4, 5 and the state table in 9).
 *
 * Who may change what:
 * - Anybody inside an epoch may read entries (map_find), on any thread, without
 *   a lock. They are atomic words: a reader sees an entry before or after a
 *   change, never between.
 * - Entries, and everything below "under @lock", change under @lock only. A
 *   request takes the lock when it changes a sector's place or waits for
 *   something: never to read, nor to overwrite a sector in the current plane.
 * - A commit round and a sweep each run on the lane that started them, one of
 *   each at a time.
 */
#ifndef MAP_MAP_H
#define MAP_MAP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "map/block.h"
#include "map/counts.h"
#include "map/dirty_file.h"
#include "map/epoch.h"
#include "map/extents.h"
#include "map/lane.h"
#include "sealblk/seal_format.h"

enum {
	MAP_BLOCK_WORDS = SEAL_BLOCK_BODY_BYTES / 8, /* 16 entries to a word */
	MAP_BITSET_WORDS = SEAL_BLOCK_SECTORS / 64,  /* a bit per sector of a block */
};
_Static_assert(SEAL_BLOCK_SECTORS % 64 == 0, "whole words");

/* Where a plane's sectors lie; index: the map value. */
struct map_plane {
	uint8_t kind;		    /* enum seal_plane_kind */
	uint64_t file_offset_bytes; /* of sector 0 of the disk */
};

/* Consecutive sectors in one state. */
struct map_run {
	uint64_t first_sector;
	uint32_t nr_sectors;
	uint8_t entry;
};

/* What the map must know of its image; filled in before map_init(). */
struct map_config {
	int fd;		/* of the image */
	bool in_memory; /* struct store */
	int data_fd;	/* for reads and writes of planes: @fd, or with @direct another */
	bool direct;	/* struct ring_op */
	uint64_t disk_sectors;
	void *entries_memory; /* map_entries_bytes(), zeroed, the caller's; used bit by bit */
	/* Pages of it that are not needed any more: zeros, if ever used again. NULL: it keeps them. */
	void (*give_pages_back)(uint8_t *memory, size_t bytes);
	/*
	 * So many mixed blocks are kept in memory, about: more are read again when they are
	 * needed. For who goes through the disk once; their stale slots are not refreshed
	 * before image_equalise(). 0, or no @give_pages_back: all are kept.
	 */
	uint32_t mixed_blocks_max;
	uint32_t dirty_blocks_spare; /* of DIRTY_BLOCKS_MAX, that writes leave untouched */
	uint64_t bitmap_offset;
	uint64_t map_offset;
	uint8_t uuid[SEAL_UUID_BYTES];
	uint64_t mac_key_id;
	uint64_t open_seq; /* high part of the generations of this open */
	bool has_base;	   /* else sectors of entry 0 read as zeros */
	struct map_plane planes[MAP_VALUES];
	uint64_t plane_born[MAP_VALUES]; /* as in struct block_identity */
	/*
	 * How many of the sectors from @first_sector on are a hole of the base
	 * (*ret_hole true) or data? 1..@limit_sectors. May block on the base.
	 */
	int (*base_extent)(void *base, uint64_t first_sector, uint64_t limit_sectors,
			   bool *ret_hole, uint64_t *ret_sectors);
	void *base;
	const struct extents *base_extents; /* the same in memory; NULL: it is not */
	/* The base is this image's alone: what no entry names is punched out of it as well. */
	bool owns_base;
	int base_fd;
	uint64_t base_sectors; /* from sector 0 on; sector n is at byte 512 n of @base_fd */
};

/*
 * A map block with something not yet settled: entries that are not durable,
 * first writes in flight, or superseded places to punch.
 */
struct dirty_block {
	uint64_t index;
	uint32_t nr_writers;	  /* first writes in flight in this block */
	bool in_round;		  /* part of the round under way */
	bool is_frozen;		  /* and @frozen is being made durable by it */
	bool punching;		  /* punches in flight: no new writers */
	bool refresh;		  /* the round under way writes it, changed or not */
	struct dirty_block *next; /* in the free list or the dirty list */
	struct dirty_block *prev;
	struct seal_block frozen;		/* what the round writes; also the I/O buffer */
	uint8_t durable[SEAL_BLOCK_BODY_BYTES]; /* entries as last made durable */

	/* Sectors whose first write is in flight; a second one waits for its end. */
	uint64_t writing[MAP_BITSET_WORDS];

	/* Sets of sectors whose places other than the named ones may hold data: */
	uint64_t touched[MAP_BITSET_WORDS];	   /* changed since the last freeze */
	uint64_t frozen_touched[MAP_BITSET_WORDS]; /* changed before it; in the round */
	uint64_t superseded[MAP_BITSET_WORDS];	   /* durable now: to be punched */
	uint64_t sweeping[MAP_BITSET_WORDS];	   /* of these, the ones a sweep has taken */

	/* In any of these sets: sectors that may hold data in what is drained (drain.c). */
	uint64_t undrained[MAP_BITSET_WORDS];
};

struct map_grace;
struct map_io;
struct map_round;
struct map_sweep;

struct map {
	struct map_config config;
	uint64_t nr_blocks;
	uint64_t nr_bitmap_blocks;

	_Atomic uint64_t *heads;   /* a word per block: see map/entries.h */
	_Atomic uint64_t *entries; /* MAP_BLOCK_WORDS per block, used when mixed */
	_Atomic uint64_t *written; /* a bit per block whose entries are on disk */
	uint64_t *reserved;	   /* a bit per block whose pair has space; under @lock */
	uint64_t *slots;	   /* a bit per block: the slot that counts; under @lock */
	uint64_t *lagging;	   /* a bit per block whose slots differ; under @lock */
	uint64_t *stale;	   /* a bit per block whose slots have other entries; under @lock */
	uint64_t *spent;	   /* a bit per block whose entries' memory is not needed; ... */
	uint64_t *taken;	   /* ... and is about to be given back; both under @lock */
	uint64_t nr_spent;	   /* bits in @spent, and at least those in @taken: */
	uint64_t nr_taken;
	uint64_t nr_mixed;     /* blocks whose entries are in use; under @lock */
	uint8_t *bitmap_slots; /* a byte per bitmap block: the slot that counts */
	bool *bitmap_stale;    /* per bitmap block: its slots have other bits; under @lock */

	struct epoch epoch;
	struct lane **lanes;
	unsigned int nr_lanes;

	_Atomic uint8_t current;	 /* map value of the current plane */
	_Atomic bool switching;		 /* writes wait for a new current plane */
	_Atomic bool failed;		 /* invariant 7: writes and flushes answer EIO */
	int failed_error;		 /* why; written once, before @failed */
	_Atomic bool damaged;		 /* a map block was found damaged */
	_Atomic bool grace_wanted;	 /* somebody waits for an epoch to drain */
	_Atomic uint64_t dirty_since_ms; /* 0: nothing waits for a round */
	_Atomic uint64_t now_ms;	 /* set by map_tick() ... */
	_Atomic bool stirred;		 /* ... which has something to look at; set under @lock */

	pthread_mutex_t lock;
	/* Below: under @lock. */
	struct map_counts counts;
	struct dirty_file dirty_file;
	struct dirty_block *dirty_pool; /* DIRTY_BLOCKS_MAX */
	struct dirty_block *dirty_free; /* given back; the pool's tail was never touched */
	struct dirty_block *dirty_list; /* all in use */
	uint32_t nr_dirty_free;		/* both kinds */
	uint32_t nr_dirty_begun;	/* of the pool, ever used: the rest costs no memory */
	struct map_io *io_free;		/* loads and reservations; as with dirty blocks */
	struct map_io *io_pool;
	uint32_t nr_ios_begun;
	struct waiter_line io_waiters;	   /* for a load or a reservation to end */
	struct waiter_line room_waiters;   /* for dirty blocks or records */
	struct waiter_line punch_waiters;  /* for punches in their block to end */
	struct waiter_line write_waiters;  /* for first writes of their sectors to end */
	struct waiter_line switch_waiters; /* writes, while @switching */
	struct map_grace *graces;	   /* who waits for epochs to drain */
	struct map_grace *switch_grace;
	struct waiter_line round_waiters; /* flushes for the next round */
	uint64_t round_no;		  /* low part of the generations of this open */
	bool unsynced_punches;		  /* punched since the last fdatasync began */
	bool unsynced_base;		  /* the base was punched, and is not yet synced */
	uint32_t draining;		  /* a bit per map value that a rewrite empties */
	bool undrained_sync;		  /* as unsynced_punches, of these */
	bool punch_failed;		  /* superseded data could not be removed */
	bool at_rest;			  /* no round and no sweep begins: see map_rest() */
	bool in_hurry;			  /* somebody waits for the sweep to end */
	uint64_t nr_requests_seen;	  /* of clients, and ... */
	uint64_t clients_seen_ms;	  /* ... when that last grew; 0: never */
	uint64_t punch_again_ms; /* no sweep before: the last lacked space; 0: it did not */
	uint64_t nr_stale;	 /* bits in @stale and in @bitmap_stale */
	uint64_t stale_next;	 /* the block to look at next */
	uint64_t stale_since_ms; /* 0: none is stale */
	bool refresh_wanted;	 /* of the next round: see refresh.c */
	struct map_round *round;
	struct map_sweep *sweep;
};

/* How much config.entries_memory a disk needs: 1 GiB per TiB, hardly any of it ever touched. */
uint64_t map_entries_bytes(uint64_t disk_sectors);

/*
 * @map->config is filled in. Allocates; nothing is read. All blocks count as
 * never written. @current: map value. Returns 0 or -ENOMEM.
 */
int MUST_CHECK map_init(struct map *map, uint8_t current);

/* Nothing may be in flight. Accepts a map whose map_init() failed, or a zeroed one. */
void map_done(struct map *map);

/* Before serving: the lanes whose epochs count. Not copied. */
void map_set_lanes(struct map *map, struct lane **lanes, unsigned int nr_lanes);

/*
 * The state at @first_sector and how far it reaches, at most @limit_sectors
 * (> 0, inside the disk) and never past the end of the map block.
 * Returns 0; -EAGAIN: the block is not in memory (map_load_wait()); -EIO: its
 * block is damaged. Any thread, inside an epoch or under the lock; no lock.
 */
int MUST_CHECK map_find(const struct map *map, uint64_t first_sector, uint64_t limit_sectors,
			struct map_run *ret_run);

/* Are all sectors of the range in @entry, and their blocks in memory? As map_find(). */
bool map_is_all(const struct map *map, uint64_t first_sector, uint64_t nr_sectors, uint8_t entry);

/*
 * See that the block of @sector is in memory. Returns 0 when it is (or is
 * damaged), or 1: @waiter will be woken, then ask again.
 */
int MUST_CHECK map_load_wait(struct map *map, struct lane *lane, uint64_t sector,
			     struct waiter *waiter);

/*
 * First write to sectors that are not (all) in the current plane.
 *
 * map_write_begin(): everything the later map_write_end() needs is set aside,
 * so that it cannot fail: blocks in memory, space for them in the image, room
 * in the dirty file. *ret_entry: the plane to write to; *ret_parity: an epoch
 * has been entered. Returns 0, 1 (wait: @waiter will be woken, then try again),
 * -EIO (failed or damaged), -ENOSPC.
 * map_write_end(): the data write has completed with @result (0 or negative).
 * On success the sectors are in @entry from here on. Leaves the epoch.
 */
int MUST_CHECK map_write_begin(struct map *map, struct lane *lane, uint64_t first_sector,
			       uint64_t nr_sectors, struct waiter *waiter, uint8_t *ret_entry,
			       unsigned int *ret_parity);
void map_write_end(struct map *map, struct lane *lane, uint64_t first_sector, uint64_t nr_sectors,
		   uint8_t entry, unsigned int parity, int result);

/*
 * The background rewrite. Claim, as map_write_begin() would, the first run of
 * sectors of the range, which lies in one map block, whose entry is one of
 * @wanted (bit n: map value n; bit 0: data of the base) and not the current
 * plane. *ret_run: where it is; its entry is the plane to write it to. The same
 * sectors go to map_write_end(). Returns 0, 1 (wait, then try again), -ENOENT:
 * there is none; -EIO: failed, damaged, or the base cannot be asked; -ENOSPC.
 */
int MUST_CHECK map_rewrite_begin(struct map *map, struct lane *lane, uint64_t first_sector,
				 uint64_t nr_sectors, uint32_t wanted, struct waiter *waiter,
				 struct map_run *ret_run, unsigned int *ret_parity);

/* May block @index hold any of @wanted? One that is damaged may. Costs nothing. Any thread. */
bool map_may_want(const struct map *map, uint64_t index, uint32_t wanted);

/* Is a slot stale? If so, the next round refreshes some, however young. */
bool map_is_stale(struct map *map);
void map_refresh_all(struct map *map);

/*
 * Make sectors read as zeros; those that do already are left alone. Does the
 * part of the range in the first map block; *ret_sectors: how far it came.
 * Returns 0, 1 (wait, then call again from *ret_sectors on), -EIO, -ENOSPC.
 */
int MUST_CHECK map_zero(struct map *map, struct lane *lane, uint64_t first_sector,
			uint64_t nr_sectors, struct waiter *waiter, uint64_t *ret_sectors);

/*
 * FLUSH: @waiter is woken with 0 when everything that completed before this
 * call is durable, or with -EIO. Returns 1, or -EIO at once when failed.
 */
int MUST_CHECK map_flush(struct map *map, struct lane *lane, struct waiter *waiter);

/* Leave an epoch entered with epoch_enter(); runs what waited for that. */
void map_leave(struct map *map, struct lane *lane, unsigned int parity);

/* The worker of the image's first lane calls this a few times a second. */
void map_tick(struct map *map, struct lane *lane, uint64_t now_ms);

/*
 * Invariant 7: from here on writes and flushes fail until the image is reopened.
 * @error: why. -ENOKEY: the keys were taken away while something was under way;
 * no write has failed, so what the dirty file says is still true.
 */
void map_fail(struct map *map, int error);

/*
 * Before the keys of an image that is being served are taken away, and no
 * request is in flight: is all that needs them over? Returns 0: yes, and nothing
 * begins any more until map_resume(). -ENOSPC: likewise, but places wait to be
 * punched. -EAGAIN: no; after map_hurry() ask again. -EIO: the map has failed.
 * Any thread.
 */
int MUST_CHECK map_rest(struct map *map);

/* Begin at once what map_tick() would begin some time. On @lane's thread. */
void map_hurry(struct map *map, struct lane *lane);

/*
 * After map_rest(): the two slots of every block hold the same now, @open_seq
 * is the new open's, and rounds and sweeps may begin again. Nothing may be in
 * flight.
 */
void map_resume(struct map *map, uint64_t open_seq);

/*
 * Invariant 9. Begin: no new write (or TRIM, which asks map_switch_wait()) starts; @waiter is woken with 0 when those
 * in flight have ended. End: writes go to plane @current.
 */
void map_switch_begin(struct map *map, struct lane *lane, struct waiter *waiter);
void map_switch_end(struct map *map, uint8_t current);

/* Between the two: returns 1, @waiter will be woken at the end. 0: it is over already. */
int MUST_CHECK map_switch_wait(struct map *map, struct lane *lane, struct waiter *waiter);

/*
 * Between the two: plane @value exists from here on. Blocks of the rounds to
 * come may name it, older ones may not. Returns that generation, for its row.
 */
uint64_t map_add_plane(struct map *map, uint8_t value, const struct map_plane *plane);

/* No entry, in memory or in a slot, names plane @value any more: it is no plane. */
void map_drop_plane(struct map *map, uint8_t value);

/* Is a slot of a bitmap block stale? */
bool map_has_stale_bitmap(struct map *map);

/* Nothing dirty, nothing to punch, no round or sweep under way? */
bool map_is_settled(struct map *map);

/* A round or a sweep is under way, on some lane. */
bool map_is_busy(struct map *map);

/*
 * Every superseded place is punched and that is durable? Part of what
 * server_encrypted means (invariant 11).
 */
bool map_is_swept(struct map *map);

/*
 * A rewrite begins to empty the map values of @entries, a bit each; 0: none. What has
 * left them before counts, if it is not punched. Any thread.
 */
void map_drain(struct map *map, uint32_t entries);

/*
 * Is every place punched, durably, that sectors have left in what is drained,
 * or cannot be in this session (*@ret_unpunched: some could not)? Entries are not looked at.
 */
bool map_is_drained(struct map *map, bool *ret_unpunched);

/*
 * Copy the entries of block @index, for reports: from memory when it is there.
 * Returns 0; -EAGAIN: not in memory, written: read it from the image; -EIO:
 * damaged. Any thread.
 */
int MUST_CHECK map_copy_block(struct map *map, uint64_t index,
			      uint8_t ret_body[SEAL_BLOCK_BODY_BYTES]);

#endif
