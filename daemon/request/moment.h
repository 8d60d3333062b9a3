/* SPDX-License-Identifier: MIT */
/*
 * A moment: the disk as it was at one instant, held while clients go on changing it, so
 * that it can be exported. Who is about to change a chunk of the disk for the first
 * time since has it copied away first:
 *
 * WRITE: step_admit -> STEP_KEEP -> step_encrypt ...
 * TRIM, WRITE_ZEROES: STEP_ZERO
 *
 * ON_DISK -> BUSY: being read, who wants to change it waits
 *         -> IN_BUFFER: it may be changed -> IN_SCRATCH, or ZERO: it was nothing else
 * ON_DISK -> GIVEN: it has been given out, and is of no more use here
 *
 * The copy goes to a scratch file, at the chunk's own offset, under a key that is nowhere
 * else. Nothing of a moment outlives the daemon, and no format knows of it. Moving a
 * sector to another plane changes no content, so the background rewrite passes by.
 *
 * The instant: writes are held back and those in flight have ended (map_switch_begin())
 * when disk->moment is set. Requests look at it inside an epoch that they have entered
 * before they saw that nobody was being held back: whoever saw none has ended before the
 * instant. Nobody remembers it beyond one step: when disk->moment is NULL again and every
 * lane's thread has passed by, it is the slots alone that use it.
 *
 * Clients always win: when a chunk cannot be copied (no space, an error) the moment is
 * given up, and nobody waits for it any more.
 */
#ifndef REQUEST_MOMENT_H
#define REQUEST_MOMENT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "crypt/xts.h"
#include "request/request.h"
#include "sealblk/limits.h"

enum {
	MOMENT_CHUNK_SECTORS = MOMENT_CHUNK_BYTES / SECTOR_BYTES,
	MOMENT_GROUP_CHUNKS = 4096, /* their states fill a page of memory */
};

enum moment_state {
	MOMENT_ON_DISK, /* nobody has changed it: zeroed memory says so */
	MOMENT_BUSY,
	MOMENT_IN_BUFFER, /* here and in those below it may be changed */
	MOMENT_IN_SCRATCH,
	MOMENT_ZERO,
	MOMENT_GIVEN,
};

/* A chunk on its way to the scratch file. */
struct moment_slot {
	struct moment *moment;
	struct moment_slot *next; /* free, or just begun */
	bool busy;
	uint64_t chunk;
	struct waiter_line waiters; /* until it may be changed */
	struct request request;	    /* reads it, on the lane of who is about to change it */
	struct ring_op op;	    /* writes it */
	uint8_t *data;
};

struct moment {
	struct disk *disk;
	int scratch_fd; /* borrowed */
	uint64_t nr_chunks;
	_Atomic uint8_t *states; /* enum moment_state; changed under @lock */
	_Atomic bool *touched;	 /* groups of chunks, one of which at least is not ON_DISK */
	_Atomic int error;	 /* why it was given up; 0: it holds; set under @lock */

	pthread_mutex_t lock;
	/* Below: under @lock. */
	struct xts *xts; /* a key for each TiB; NULL: wiped */
	struct moment_slot *free;
	unsigned int nr_busy;
	struct waiter_line room_waiters; /* for slots */
	uint64_t nr_freed;		 /* slots, ever, ... */
	uint64_t nr_freed_seen;		 /* ... at ... */
	uint64_t moved_ms;		 /* the tick that saw that grow last */
	struct moment_slot slots[MOMENT_SLOTS_MAX];

	/* What clients are about to overwrite: plaintext, then sealed. Aligned for O_DIRECT. */
	uint8_t data[MOMENT_SLOTS_MAX][MOMENT_CHUNK_BYTES] __attribute__((aligned(4096)));
};

/* How many chunks, each with a byte of its own, a disk has. */
static inline uint64_t moment_nr_chunks(const struct disk *disk)
{
	return (disk->nr_sectors + MOMENT_CHUNK_SECTORS - 1) / MOMENT_CHUNK_SECTORS;
}

/*
 * @moment: zeroed, aligned as it is declared, the caller's. @states: zeroed,
 * moment_nr_chunks(). @scratch_fd: an empty file, to be read and written; borrowed,
 * like @disk. Returns 0 (moment_done() it) or a negative errno.
 */
int MUST_CHECK moment_init(struct moment *moment, struct disk *disk, const struct xts_ops *ops,
			   int scratch_fd, _Atomic uint8_t *states);

/* Nobody keeps anything any more: moment_is_idle(). Accepts a zeroed struct, and what failed. */
void moment_done(struct moment *moment);

/*
 * For a client's request, inside its epoch: may it change these sectors? Returns 0, or 1:
 * @waiter will be woken with 0, then ask again. On @lane's thread.
 */
int MUST_CHECK moment_keep(struct moment *moment, struct lane *lane, uint64_t first_sector,
			   uint64_t nr_sectors, struct waiter *waiter);

/*
 * It cannot be held: nobody waits for it any more, and its keys go. @error: why, a
 * negative errno; the first one counts. Any thread.
 */
void moment_give_up(struct moment *moment, int error);

/*
 * Of the moment that @disk has, if it has one: clients do not wait for a scratch file that
 * does not move. A few times a second, on the thread of a lane.
 */
void moment_tick(const struct disk *disk, uint64_t now_ms);

/* Is no slot in use? Any thread; once given up, it stays so. */
bool moment_is_idle(struct moment *moment);

/* Where is chunk @chunk? Any thread. */
static inline enum moment_state moment_look(const struct moment *moment, uint64_t chunk)
{
	/* Looking would give memory to what nobody has touched. */
	if (!atomic_load(&moment->touched[chunk / MOMENT_GROUP_CHUNKS]))
		return MOMENT_ON_DISK;
	return (enum moment_state)atomic_load(&moment->states[chunk]);
}

/*
 * Give out chunk @chunk: *ret_state is where it was. ON_DISK: what was read of the disk
 * before this call is it, and from here on nobody keeps it. IN_SCRATCH: it is to be read
 * there, and unsealed. BUSY and IN_BUFFER: ask again soon. Any thread. Returns 0, or why it was given
 * up.
 */
int MUST_CHECK moment_give(struct moment *moment, uint64_t chunk, enum moment_state *ret_state);

/* Decrypt what was read of chunk @chunk from the scratch file, in place. Returns as moment_give(). */
int MUST_CHECK moment_unseal(struct moment *moment, uint64_t chunk, uint8_t *data);

/* How many sectors a chunk has: the last one may have fewer. */
static inline uint32_t moment_chunk_sectors(const struct moment *moment, uint64_t chunk)
{
	return (uint32_t)min_u64(MOMENT_CHUNK_SECTORS,
				 moment->disk->nr_sectors - chunk * MOMENT_CHUNK_SECTORS);
}

#endif
