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

static void loaded(struct waiter *waiter)
{
	struct request *request = CONTAINER_OF(waiter, struct request, waiter);

	if (waiter->result < 0) {
		req_failed(request, waiter->result);
		req_continue(request);
		return;
	}
	req_again(request);
}

/* Does @run go on where @part ends? Then one ring operation serves both. */
static bool continues(const struct req_part *part, const struct map_run *run)
{
	return part->run.entry == run->entry &&
	       part->run.first_sector + part->run.nr_sectors == run->first_sector;
}

/*
 * Find the runs from @at_sector on, REQ_RUNS_MAX at most; a more scattered
 * range comes back here for the rest.
 */
enum req_step_result step_map(struct request *request)
{
	const struct map *map = &request->lane->disk->map;
	uint64_t end = request->first_sector + request->nr_sectors;
	uint64_t at = request->at_sector;

	request->nr_parts = 0;
	while (at < end) {
		struct map_run run;
		int r = map_find(map, at, end - at, &run);

		if (r == -EAGAIN) {
			request->waiter.wake = loaded;
			if (map_load_wait(&request->lane->disk->map, request->lane, at,
					  &request->waiter) == 1)
				return STEP_WAIT;
			continue;
		}
		if (r < 0)
			return req_failed(request, r);
		if (request->nr_parts > 0 &&
		    continues(&request->parts[request->nr_parts - 1], &run)) {
			request->parts[request->nr_parts - 1].run.nr_sectors += run.nr_sectors;
		} else {
			if (request->nr_parts == REQ_RUNS_MAX)
				break;
			request->parts[request->nr_parts++].run = run;
		}
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

/*
 * Where the run's bytes are: the file, the place, and how many of them exist
 * there; the rest of the run reads as zeros.
 */
static uint64_t locate(const struct disk *disk, const struct map_run *run, int *ret_fd,
		       uint64_t *ret_offset_bytes)
{
	uint64_t offset = sectors_to_bytes(run->first_sector);
	uint64_t bytes = sectors_to_bytes(run->nr_sectors);

	if (run->entry >= SEAL_ENTRY_PLANE_FIRST) {
		*ret_fd = disk->map.config.fd;
		*ret_offset_bytes = disk->map.config.planes[run->entry].file_offset_bytes + offset;
		return bytes;
	}
	*ret_fd = disk->base_fd;
	*ret_offset_bytes = offset;
	if (run->entry == SEAL_ENTRY_ZERO || disk->base_fd < 0 || offset >= disk->base_data_bytes)
		return 0;
	return min_u64(bytes, disk->base_data_bytes - offset);
}

static void submit_part(struct request *request, struct req_part *part, enum ring_kind kind)
{
	uint64_t offset;
	int fd;
	uint64_t stored = locate(request->lane->disk, &part->run, &fd, &offset);

	if (stored == 0)
		return;
	part->request = request;
	part->op = (struct ring_op){
		.kind = kind,
		.fd = fd,
		.offset_bytes = offset,
		.range_bytes = stored,
		.done = part_done,
	};
	if (kind == RING_READ) {
		part->op.data = data_of(request, &part->run);
		part->op.bytes = (uint32_t)stored;
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
		uint64_t offset, stored;
		int fd;

		stored = locate(request->lane->disk, run, &fd, &offset);
		memset(data_of(request, run) + stored, 0,
		       sectors_to_bytes(run->nr_sectors) - stored);
	}
	return submit_parts(request, RING_READ);
}

enum req_step_result step_decrypt(struct request *request)
{
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

/* More of the range than fits one round goes back to step_map. */
enum req_step_result step_next_round(struct request *request)
{
	request->at_sector += request->at_sectors;
	return request->at_sector < request->first_sector + request->nr_sectors ? STEP_REPEAT
										: STEP_NEXT;
}
