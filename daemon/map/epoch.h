/* SPDX-License-Identifier: MIT */
/*
 * Epochs: how to know that every request that resolved a place in the image
 * before now has finished, without a lock on the data path (invariant 4).
 *
 * A request enters before it looks at the map and leaves when its I/O is done.
 * At most two epochs are alive, so two counters per lane are enough: epoch n+1
 * begins only when n-1 has drained. Counters are written by their own lane and
 * read by whoever polls under the map's lock; all accesses are sequentially
 * consistent, since entering (store) must be seen before the map is read (load).
 */
#ifndef MAP_EPOCH_H
#define MAP_EPOCH_H

#include <stdatomic.h>
#include <stdint.h>

struct epoch {
	_Atomic uint64_t now; /* starts at 2: two earlier ones have drained */
};

struct epoch_lane {
	_Atomic uint32_t inside[2]; /* by the parity of the epoch entered */
};

/* Returns the parity to give back to epoch_leave(). On the lane's own thread. */
static inline unsigned int epoch_enter(struct epoch *epoch, struct epoch_lane *lane)
{
	for (;;) {
		uint64_t now = atomic_load(&epoch->now);

		atomic_fetch_add(&lane->inside[now & 1], 1);
		if (atomic_load(&epoch->now) == now)
			return now & 1;
		atomic_fetch_sub(&lane->inside[now & 1], 1);
	}
}

static inline void epoch_leave(struct epoch_lane *lane, unsigned int parity)
{
	atomic_fetch_sub(&lane->inside[parity], 1);
}

#endif
