/* SPDX-License-Identifier: MIT */
/*
 * Steps of BLOCK_STATUS: the map, told in the words of each context.
 *
 * STATUS: req_start -> STEP_STATUS -> done
 */
#include <errno.h>

#include "nbd/reply.h"
#include "request/request.h"

/* Values of x-sealblk:encryption (docs/format.md 10). */
enum { STATUS_BASE, STATUS_ZERO, STATUS_PLAIN, STATUS_SEALED };

static uint32_t encryption_state(const struct map *map, uint8_t entry, bool hole)
{
	if (entry == SEAL_ENTRY_ZERO || hole)
		return STATUS_ZERO;
	if (entry == SEAL_ENTRY_BASE)
		return STATUS_BASE;
	return map->config.planes[entry].kind == SEAL_PLANE_SEALED ? STATUS_SEALED : STATUS_PLAIN;
}

static uint32_t state_in(enum req_context context, const struct map *map, uint8_t entry, bool hole)
{
	uint32_t state = encryption_state(map, entry, hole);

	if (context == REQ_CONTEXT_ENCRYPTION)
		return state;
	return state == STATUS_ZERO ? NBD_STATE_HOLE | NBD_STATE_ZERO : 0;
}

/* Add to the extents of @context, joining what is alike. False: no room. */
static bool add_extent(struct request *request, unsigned int context, uint64_t bytes,
		       uint32_t state)
{
	const size_t each_bytes = nbds_extent_bytes(request->wide_extents);
	uint32_t *nr = &request->nr_extents[context];

	assert(request->extents[context]);
	if (*nr > 0 && request->extent_state == state) {
		request->extent_bytes += bytes;
	} else {
		if (*nr == (request->one_extent ? 1 : REQ_EXTENTS_MAX))
			return false;
		(*nr)++;
		request->extent_bytes = bytes;
		request->extent_state = state;
	}
	nbds_encode_extent(request->extents[context] + (*nr - 1) * each_bytes,
			   request->wide_extents, request->extent_bytes, state);
	return true;
}

/* The run at @at_sector, cut where a hole of the base begins or ends. */
static int find(const struct request *request, struct map_run *ret_run, bool *ret_hole)
{
	const struct map *map = &request->lane->disk->map;
	uint64_t left = request->first_sector + request->nr_sectors - request->at_sector;
	int r = map_find(map, request->at_sector, left, ret_run);

	*ret_hole = false;
	if (r < 0 || ret_run->entry != SEAL_ENTRY_BASE)
		return r;
	*ret_hole = true;
	if (map->config.has_base) {
		uint64_t sectors;

		r = map->config.base_extent(map->config.base, request->at_sector,
					    ret_run->nr_sectors, ret_hole, &sectors);
		if (r == 0)
			ret_run->nr_sectors = (uint32_t)sectors;
	}
	return r;
}

/* One context, from @at_sector on. Returns 0 at the end, 1 to wait, or an error. */
static int walk(struct request *request)
{
	struct map *map = &request->lane->disk->map;

	for (unsigned int nr = 1; request->at_sector < request->first_sector + request->nr_sectors;
	     nr++) {
		struct map_run run;
		bool hole;
		int r;

		if (nr % REQ_TURN_RUNS == 0 && req_takes_turns(request))
			return 1;
		r = find(request, &run, &hole);
		if (r == -EAGAIN) {
			request->waiter.wake = req_woken;
			if (map_load_wait(map, request->lane, request->at_sector,
					  &request->waiter) == 1)
				return 1;
			continue;
		}
		if (r < 0)
			return -EIO;
		if (!add_extent(request, request->context, sectors_to_bytes(run.nr_sectors),
				state_in((enum req_context)request->context, map, run.entry, hole)))
			return 0;
		request->at_sector += run.nr_sectors;
	}
	return 0;
}

enum req_step_result step_status(struct request *request)
{
	if (req_is_called_off(request))
		return STEP_NEXT;
	for (; request->context < REQ_CONTEXTS; request->context++) {
		unsigned int context = request->context;
		int r;

		if (!request->wanted[context])
			continue;
		request->extents[context] =
			request->data + context * REQ_EXTENTS_MAX * NBDS_EXTENT_BYTES_MAX;
		r = walk(request);
		if (r == 1)
			return STEP_WAIT;
		if (r < 0)
			return req_failed(request, r);
		request->at_sector = request->first_sector;
	}
	return STEP_NEXT;
}
