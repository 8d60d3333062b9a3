/* SPDX-License-Identifier: MIT */
/*
 * Steps of WRITE, WRITE_ZEROES, TRIM and FLUSH.
 *
 * WRITE: req_start -> STEP_WHOLE -> STEP_ADMIT -> step_keep -> STEP_ENCRYPT -> STEP_STORE
 *        -> STEP_SETTLE -> STEP_DURABLE_IF_FUA -> done
 * ZERO:  req_start -> STEP_ZERO -> STEP_DURABLE_IF_FUA -> done
 *        with NO_HOLE as WRITE, STEP_FILL making the data, a chunk at a time
 */
#include <errno.h>
#include <string.h>

#include "request/cipher.h"
#include "request/request.h"

/* WRITE: the chunk is the whole range, its data is in the buffer. */
enum req_step_result step_whole(struct request *request)
{
	request->at_sectors = request->nr_sectors;
	return STEP_NEXT;
}

/* WRITE_ZEROES with NO_HOLE: the next chunk is zeros. */
enum req_step_result step_fill(struct request *request)
{
	uint64_t left = request->first_sector + request->nr_sectors - request->at_sector;

	request->at_sectors = min_u64(left, ZERO_CHUNK_BYTES >> SECTOR_SHIFT);
	memset(request->data, 0, sectors_to_bytes(request->at_sectors));
	return STEP_NEXT;
}

/*
 * Steady state: every sector already lies in the current plane. Nothing but
 * the data changes, so nothing is locked.
 */
static bool admit_overwrite(struct request *request)
{
	struct lane *lane = request->lane;
	struct map *map = &lane->disk->map;
	uint8_t current;

	request->parity = epoch_enter(&map->epoch, &lane->epoch);
	current = atomic_load(&map->current);
	if (!atomic_load(&map->switching) && !atomic_load(&map->failed) &&
	    map_is_all(map, request->at_sector, request->at_sectors, current)) {
		request->entry = current;
		request->entered = true;
		return true;
	}
	map_leave(map, lane, request->parity);
	return false;
}

enum req_step_result step_admit(struct request *request)
{
	int r;

	if (admit_overwrite(request))
		return STEP_NEXT;
	request->waiter.wake = req_woken;
	r = map_write_begin(&request->lane->disk->map, request->lane, request->at_sector,
			    request->at_sectors, &request->waiter, &request->entry,
			    &request->parity);
	if (r == 1)
		return STEP_WAIT;
	if (r < 0)
		return req_failed(request, r);
	request->first_write = true;
	return STEP_NEXT;
}

/* In place: the buffer is ours until the reply. */
enum req_step_result step_encrypt(struct request *request)
{
	/* As in step_decrypt(). */
	if (!cipher_is_there(request->lane))
		return req_failed(request, -EPERM);
	cipher_encrypt(request->lane, request->entry, request->at_sector, request->at_sectors,
		       request->data);
	return STEP_NEXT;
}

static void stored(struct ring_op *op, int result)
{
	struct req_part *part = CONTAINER_OF(op, struct req_part, op);
	struct request *request = part->request;

	if (result == -ENOSPC || result == -EDQUOT || result == -EFBIG) {
		req_failed(request, -ENOSPC);
	} else if (result < 0) {
		/* What the medium holds now is unknown (invariant 7). */
		map_fail(&request->lane->disk->map, result);
		req_failed(request, -EIO);
	}
	req_continue(request);
}

enum req_step_result step_store(struct request *request)
{
	const struct map_config *config = &request->lane->disk->map.config;
	struct req_part *part = &request->parts[0];

	part->request = request;
	part->op = (struct ring_op){
		.kind = RING_WRITE,
		.fd = config->data_fd,
		.direct = config->direct,
		.offset_bytes = config->planes[request->entry].file_offset_bytes +
				sectors_to_bytes(request->at_sector),
		.data = request->data,
		.bytes = (uint32_t)sectors_to_bytes(request->at_sectors),
		.done = stored,
	};
	ring_submit(request->lane->ring, &part->op);
	return STEP_WAIT;
}

/* The data is written, or failed: tell the map, if it waits for that. */
enum req_step_result step_settle(struct request *request)
{
	struct lane *lane = request->lane;
	struct map *map = &lane->disk->map;

	if (request->first_write)
		map_write_end(map, lane, request->at_sector, request->at_sectors, request->entry,
			      request->parity, request->error);
	else if (request->entered)
		map_leave(map, lane, request->parity);
	request->first_write = false;
	request->entered = false;
	if (!request->error && atomic_load(&map->failed))
		return req_failed(request, -EIO);
	return STEP_NEXT;
}

/*
 * One look at the map. A moment that is held is looked for inside an epoch, as it is by
 * those who write: see moment.h. Returns 0, 1 (wait, then go on), or a negative errno.
 */
static int zero_some(struct request *request, uint64_t nr_sectors)
{
	struct lane *lane = request->lane;
	struct map *map = &lane->disk->map;
	const unsigned int parity = epoch_enter(&map->epoch, &lane->epoch);
	uint64_t done_sectors = 0;
	int r;

	request->waiter.wake = req_woken;
	if (atomic_load(&map->switching)) {
		r = map_switch_wait(map, lane, &request->waiter);
	} else {
		r = req_keep_zeroed(request, nr_sectors, &nr_sectors);
		if (r == 0)
			r = map_zero(map, lane, request->at_sector, nr_sectors, &request->waiter,
				     &done_sectors);
	}
	map_leave(map, lane, parity);
	request->at_sector += done_sectors;
	return r;
}

/* TRIM and WRITE_ZEROES: only the map changes, one map block at a time. */
enum req_step_result step_zero(struct request *request)
{
	const uint64_t end = request->first_sector + request->nr_sectors;

	while (request->at_sector < end) {
		int r;

		/* What is under way when the keys are revoked goes on, but not for ever. */
		if (++request->nr_looks % REQ_TURN_RUNS == 0) {
			if (req_is_called_off(request))
				return STEP_NEXT;
			if (req_takes_turns(request))
				return STEP_WAIT;
		}
		r = zero_some(request, end - request->at_sector);
		if (r == 1)
			return STEP_WAIT;
		if (r < 0)
			return req_failed(request, r);
	}
	return STEP_NEXT;
}

static void durable(struct waiter *waiter)
{
	struct request *request = CONTAINER_OF(waiter, struct request, waiter);

	if (waiter->result < 0)
		req_failed(request, waiter->result);
	req_continue(request);
}

/* Data and map entries of all completed writes, this request's too. */
enum req_step_result step_durable(struct request *request)
{
	struct lane *lane = request->lane;
	int r;

	request->waiter.wake = durable;
	r = map_flush(&lane->disk->map, lane, &request->waiter);
	return r < 0 ? req_failed(request, r) : STEP_WAIT;
}

enum req_step_result step_durable_if_fua(struct request *request)
{
	return request->fua ? step_durable(request) : STEP_NEXT;
}
