/* SPDX-License-Identifier: MIT */
/*
 * Steps of the background rewrite: a WRITE whose data is what the sectors hold.
 *
 * REWRITE: req_start -> STEP_CLAIM -> { STEP_MAP -> STEP_LOAD -> STEP_DECRYPT -> STEP_NEXT_ROUND }
 *          -> STEP_RESEAL -> STEP_STORE -> STEP_SETTLE -> done
 */
#include "request/request.h"

/*
 * Of the range the first run to be moved; the request is narrowed to it. Nobody
 * can change these sectors until step_settle. -ENOENT: there is none.
 */
enum req_step_result step_claim(struct request *request)
{
	struct lane *lane = request->lane;
	struct map_run run;
	int r;

	request->waiter.wake = req_woken;
	r = map_rewrite_begin(&lane->disk->map, lane, request->first_sector, request->nr_sectors,
			      request->moved_entries, &request->waiter, &run, &request->parity);
	if (r == 1)
		return STEP_WAIT;
	if (r < 0)
		return req_failed(request, r);
	request->first_write = true;
	request->entry = run.entry;
	request->first_sector = run.first_sector;
	request->nr_sectors = run.nr_sectors;
	request->at_sector = run.first_sector;
	return STEP_NEXT;
}

/* All of it has been read, or not: what was claimed is settled as a whole. */
enum req_step_result step_reseal(struct request *request)
{
	request->at_sector = request->first_sector;
	request->at_sectors = request->nr_sectors;
	return request->error ? STEP_NEXT : step_encrypt(request);
}
