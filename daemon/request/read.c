/* SPDX-License-Identifier: MIT */
/*
 * Steps of READ and CACHE.
 *
 * READ: req_start -> STEP_ENTER -> { STEP_MAP -> STEP_LOAD -> STEP_DECRYPT -> STEP_NEXT_ROUND }
 *       -> STEP_LEAVE -> done
 */
#include <errno.h>
#include <string.h>

#include "request/cipher.h"
#include "request/request.h"

/* Places found from here on stay readable until step_leave (invariant 4). */
enum req_step_result step_enter(struct request *request)
{
	struct lane *lane = request->lane;

	request->parity = epoch_enter(&lane->disk->map.epoch, &lane->epoch);
	request->entered = true;
	return STEP_NEXT;
}

enum req_step_result step_leave(struct request *request)
{
	if (request->entered)
		map_leave(&request->lane->disk->map, request->lane, request->parity);
	request->entered = false;
	return STEP_NEXT;
}

/*
 * Where the run's bytes are, and how many of them exist there: the rest reads
 * as zeros. @run is cut where the base's place ends. Returns 0 or a negative errno.
 */
static int locate(const struct disk *disk, struct map_run *run, struct base_place *ret_place)
{
	uint64_t offset = sectors_to_bytes(run->first_sector);
	uint64_t bytes = sectors_to_bytes(run->nr_sectors);
	int r = 0;

	if (run->entry == SEAL_ENTRY_BASE && disk->base_locate) {
		r = disk->base_locate(disk->base, run->first_sector, run->nr_sectors, ret_place);
		if (r == 0)
			run->nr_sectors = (uint32_t)ret_place->nr_sectors;
		return r;
	}
	*ret_place = (struct base_place){ .nr_sectors = run->nr_sectors };
	if (run->entry >= SEAL_ENTRY_PLANE_FIRST) {
		ret_place->fd = disk->map.config.data_fd;
		ret_place->direct = disk->map.config.direct;
		ret_place->in_memory = disk->map.config.in_memory;
		ret_place->offset_bytes =
			disk->map.config.planes[run->entry].file_offset_bytes + offset;
		ret_place->stored_bytes = bytes;
	} else if (run->entry == SEAL_ENTRY_BASE && disk->base_fd >= 0 &&
		   offset < disk->base_data_bytes) {
		ret_place->fd = disk->base_fd;
		ret_place->in_memory = disk->base_in_memory;
		ret_place->offset_bytes = offset;
		ret_place->stored_bytes = min_u64(bytes, disk->base_data_bytes - offset);
	}
	return r;
}

/* Does @run, at @place, go on where @part ends? Then one ring operation serves both. */
static bool continues(const struct req_part *part, const struct map_run *run,
		      const struct base_place *place)
{
	if (part->run.entry != run->entry ||
	    part->run.first_sector + part->run.nr_sectors != run->first_sector)
		return false;
	if (base_place_is_hole(place))
		return base_place_is_hole(&part->place);
	return part->place.fd == place->fd && !base_place_is_hole(&part->place) &&
	       part->place.offset_bytes + sectors_to_bytes(part->run.nr_sectors) ==
		       place->offset_bytes;
}

/* Returns false when there is no room for another part. */
static bool add_part(struct request *request, const struct map_run *run,
		     const struct base_place *place)
{
	struct req_part *last = request->nr_parts > 0 ? &request->parts[request->nr_parts - 1]
						      : NULL;

	if (last && continues(last, run, place)) {
		last->run.nr_sectors += run->nr_sectors;
		last->place.stored_bytes += place->stored_bytes;
		return true;
	}
	if (request->nr_parts == REQ_RUNS_MAX)
		return false;
	last = &request->parts[request->nr_parts++];
	last->run = *run;
	last->place = *place;
	return true;
}

/*
 * Find the runs from @at_sector on, REQ_RUNS_MAX at most; a more scattered
 * range, or a very long one (of CACHE), comes back here for the rest.
 */
enum req_step_result step_map(struct request *request)
{
	const struct map *map = &request->lane->disk->map;
	uint64_t end = request->first_sector + request->nr_sectors;
	uint64_t at = request->at_sector;

	request->nr_parts = 0;
	for (unsigned int nr = 0; at < end && nr < REQ_TURN_RUNS; nr++) {
		struct base_place place = { 0 };
		struct map_run run;
		int r = map_find(map, at, end - at, &run);

		if (r == -EAGAIN) {
			request->waiter.wake = req_woken;
			if (map_load_wait(&request->lane->disk->map, request->lane, at,
					  &request->waiter) == 1)
				return STEP_WAIT;
			continue;
		}
		if (r == 0)
			r = locate(request->lane->disk, &run, &place);
		if (r < 0)
			return req_failed(request, r);
		if (!add_part(request, &run, &place))
			break;
		at += run.nr_sectors;
	}
	request->at_sectors = at - request->at_sector;
	return STEP_NEXT;
}

static uint8_t *data_of(const struct request *request, const struct map_run *run)
{
	return request->data + sectors_to_bytes(run->first_sector - request->first_sector);
}

static void part_done(struct ring_op *op, int result)
{
	struct req_part *part = CONTAINER_OF(op, struct req_part, op);
	struct request *request = part->request;

	if (result < 0)
		req_failed(request, -EIO);
	if (--request->nr_pending == 0)
		req_continue(request);
}

static void submit_part(struct request *request, struct req_part *part, enum ring_kind kind)
{
	const struct base_place *place = &part->place;

	if (base_place_is_hole(place))
		return;
	part->request = request;
	part->op = (struct ring_op){
		.kind = kind,
		.fd = place->fd,
		.in_memory = place->in_memory,
		.direct = place->direct,
		.offset_bytes = place->offset_bytes,
		.range_bytes = place->stored_bytes,
		.done = part_done,
	};
	if (kind == RING_READ) {
		part->op.data = data_of(request, &part->run);
		part->op.bytes = (uint32_t)place->stored_bytes;
	}
	request->nr_pending++;
	ring_submit(request->lane->ring, &part->op);
}

static enum req_step_result submit_parts(struct request *request, enum ring_kind kind)
{
	request->nr_pending = 0;
	for (unsigned int i = 0; i < request->nr_parts; i++)
		submit_part(request, &request->parts[i], kind);
	return request->nr_pending == 0 ? STEP_NEXT : STEP_WAIT;
}

enum req_step_result step_load(struct request *request)
{
	for (unsigned int i = 0; i < request->nr_parts; i++) {
		const struct map_run *run = &request->parts[i].run;
		uint64_t stored = request->parts[i].place.stored_bytes;

		memset(data_of(request, run) + stored, 0,
		       sectors_to_bytes(run->nr_sectors) - stored);
	}
	return submit_parts(request, RING_READ);
}

enum req_step_result step_decrypt(struct request *request)
{
	/* Revoked, and the disk was too slow for this request to be waited for. */
	if (!cipher_is_there(request->lane))
		return req_failed(request, -EPERM);
	for (unsigned int i = 0; i < request->nr_parts; i++) {
		const struct map_run *run = &request->parts[i].run;

		if (run->entry >= SEAL_ENTRY_PLANE_FIRST)
			cipher_decrypt(request->lane, run->entry, run->first_sector,
				       run->nr_sectors, data_of(request, run));
	}
	return STEP_NEXT;
}

/* CACHE: the file systems read ahead; nobody waits for the data itself. */
enum req_step_result step_advise(struct request *request)
{
	return submit_parts(request, RING_ADVISE);
}

/*
 * More of the range than fits one round goes back to step_map. A round of CACHE may
 * have nothing to wait for, so that it has to let others in by itself; it comes back
 * here with the round counted already.
 */
enum req_step_result step_next_round(struct request *request)
{
	const uint64_t sectors = request->at_sectors;

	request->at_sector += sectors;
	request->at_sectors = 0;
	if (request->at_sector >= request->first_sector + request->nr_sectors)
		return STEP_NEXT;
	if (request->op == REQ_CACHE && sectors > 0 && req_takes_turns(request))
		return STEP_WAIT;
	return STEP_REPEAT;
}
