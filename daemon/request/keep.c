/* SPDX-License-Identifier: MIT */
/*
 * Before a request changes sectors: what a moment that is held needs of them is copied
 * away first (moment.h). Where none is, as nearly always, this is one look at a pointer.
 *
 * WRITE: step_admit -> STEP_KEEP -> step_encrypt -> step_store -> step_settle -> done
 */
#include <errno.h>

#include "request/moment.h"

enum { ZEROED_SECTORS = MOMENT_ROOM_MIN * MOMENT_CHUNK_SECTORS }; /* kept at a time */

static struct moment *moment_of(const struct request *request)
{
	return atomic_load_explicit(&request->lane->disk->moment, memory_order_acquire);
}

enum req_step_result step_keep(struct request *request)
{
	struct moment *moment = moment_of(request);

	if (__builtin_expect(!moment, 1))
		return STEP_NEXT;
	request->waiter.wake = req_woken;
	return moment_keep(moment, request->lane, request->at_sector, request->at_sectors,
			   &request->waiter) == 1
		       ? STEP_WAIT
		       : STEP_NEXT;
}

int req_keep_zeroed(struct request *request, uint64_t nr_sectors, uint64_t *ret_sectors)
{
	struct moment *moment = moment_of(request);
	struct lane *lane = request->lane;
	struct map *map = &lane->disk->map;
	struct map_run run;
	int r;

	*ret_sectors = nr_sectors;
	if (__builtin_expect(!moment, 1))
		return 0;
	r = map_find(map, request->at_sector, nr_sectors, &run);
	if (r == -EAGAIN && map_load_wait(map, lane, request->at_sector, &request->waiter) == 1)
		return 1;
	/* What reads as zeros already is not changed: a disk may be trimmed from end to end. */
	if (r == 0 && (run.entry == SEAL_ENTRY_ZERO ||
		       (run.entry == SEAL_ENTRY_BASE && !map->config.has_base))) {
		*ret_sectors = run.nr_sectors;
		return 0;
	}
	*ret_sectors = min_u64(r == 0 ? run.nr_sectors : nr_sectors, ZEROED_SECTORS);
	return moment_keep(moment, lane, request->at_sector, *ret_sectors, &request->waiter);
}
