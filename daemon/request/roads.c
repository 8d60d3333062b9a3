/* SPDX-License-Identifier: MIT */
/*
 * The roads: what happens to each kind of request, one line each.
 *
 * READ:  conn_recv -> nbds_feed -> gate_check -> req_start
 *        -> step_enter -> { step_map -> step_load -> step_decrypt -> step_next_round }
 *        -> step_leave
 *        -> done: conn_reply -> conn_send
 * WRITE: conn_recv -> nbds_feed -> gate_check -> req_start
 *        -> step_admit -> step_keep -> step_encrypt -> step_store -> step_settle
 *        -> step_durable_if_fua
 *        -> done: conn_reply -> conn_send
 *
 * A step returns at once; what it waits for comes back through the ring or the
 * lane's inbox. After an error only the steps marked `always` still run: they
 * undo what earlier steps did. A new command is a new row.
 */
#include <errno.h>
#include <string.h>

#include "nbd/reply.h"
#include "request/request.h"

enum { ROAD_STEPS_MAX = 8 };

/* Roads that no command names: kinds of a command that go another way. */
enum { ROAD_FILL = REQ_OPS, ROAD_REWRITE, ROAD_NOTHING, ROADS };

struct road_step {
	enum req_step_result (*run)(struct request *request);
	bool always;
};

struct road {
	unsigned int repeat_at;			/* where STEP_REPEAT goes */
	struct road_step steps[ROAD_STEPS_MAX]; /* the unused tail is NULL */
};

/* clang-format off */
static const struct road roads[ROADS] = {
	[REQ_READ] = { 1, { { step_enter, false }, { step_map, false }, { step_load, false },
			    { step_decrypt, false }, { step_next_round, false },
			    { step_leave, true } } },
	[REQ_WRITE] = { 0, { { step_whole, false }, { step_admit, false }, { step_keep, false },
			     { step_encrypt, false }, { step_store, false },
			     { step_settle, true }, { step_durable_if_fua, false } } },
	[REQ_FLUSH] = { 0, { { step_durable, false } } },
	[REQ_TRIM] = { 0, { { step_zero, false }, { step_durable_if_fua, false } } },
	[REQ_ZERO] = { 0, { { step_zero, false }, { step_durable_if_fua, false } } },
	[REQ_CACHE] = { 1, { { step_enter, false }, { step_map, false }, { step_advise, false },
			     { step_next_round, false }, { step_leave, true } } },
	[REQ_STATUS] = { 0, { { step_status, false } } },
	[ROAD_FILL] = { 0, { { step_fill, false }, { step_admit, false }, { step_keep, false },
			     { step_encrypt, false }, { step_store, false },
			     { step_settle, true }, { step_next_round, false },
			     { step_durable_if_fua, false } } },
	[ROAD_REWRITE] = { 1, { { step_claim, false }, { step_map, false }, { step_load, false },
				{ step_decrypt, false }, { step_next_round, false },
				{ step_reseal, true }, { step_store, false },
				{ step_settle, true } } },
};
/* clang-format on */

static const struct road *road_of(const struct request *request)
{
	if (request->nr_sectors == 0 && request->op != REQ_FLUSH)
		return &roads[ROAD_NOTHING];
	if (request->op == REQ_ZERO && request->no_hole)
		return &roads[ROAD_FILL];
	if (request->op == REQ_WRITE && request->rewrite)
		return &roads[ROAD_REWRITE];
	return &roads[request->op];
}

/* This thread alone writes it: a plain addition, but whoever then reads 0 sees what was done. */
static void count_request(struct lane *lane, int difference)
{
	const uint32_t before = atomic_load_explicit(&lane->nr_requests, memory_order_relaxed);

	atomic_store_explicit(&lane->nr_requests, before + (uint32_t)difference,
			      memory_order_release);
}

/* A request that is under way goes on, but in no more rounds than it has begun. */
static void refuse_if_revoked(struct request *request)
{
	if (atomic_load(&request->lane->disk->revoked))
		req_failed(request, -EPERM);
}

bool req_is_called_off(struct request *request)
{
	refuse_if_revoked(request);
	if (request->lane->ending)
		req_failed(request, -ESHUTDOWN);
	return request->error != 0;
}

bool req_takes_turns(struct request *request)
{
	struct lane *lane = request->lane;

	if (!lane->take_turns)
		return false;
	request->waiter.wake = req_woken;
	request->waiter.result = 0;
	lane->take_turns(lane, &request->waiter);
	return true;
}

static void run(struct request *request)
{
	const struct road *road = road_of(request);

	while (request->step < ROAD_STEPS_MAX && road->steps[request->step].run) {
		const struct road_step *step = &road->steps[request->step];

		if (request->error && !step->always) {
			request->step++;
			continue;
		}
		switch (step->run(request)) {
		case STEP_NEXT:
			request->step++;
			break;
		case STEP_WAIT:
			return;
		case STEP_REPEAT:
			request->step = road->repeat_at;
			(void)req_is_called_off(request);
			break;
		}
	}
	/* Before @done, which may start another request. */
	count_request(request->lane, -1);
	request->done(request);
}

void req_continue(struct request *request)
{
	request->step++;
	run(request);
}

void req_woken(struct waiter *waiter)
{
	struct request *request = CONTAINER_OF(waiter, struct request, waiter);

	if (waiter->result < 0) {
		req_failed(request, waiter->result);
		request->step++;
	}
	run(request);
}

enum req_step_result req_failed(struct request *request, int error)
{
	if (!request->error)
		request->error = error;
	return STEP_NEXT;
}

uint64_t req_buffer_bytes(enum req_op op, bool no_hole, uint64_t nr_sectors)
{
	uint64_t bytes = sectors_to_bytes(nr_sectors);

	switch (op) {
	case REQ_READ:
	case REQ_WRITE:
		return bytes;
	case REQ_ZERO:
		return no_hole ? min_u64(bytes, ZERO_CHUNK_BYTES) : 0;
	case REQ_STATUS:
		return REQ_CONTEXTS * REQ_EXTENTS_MAX * NBDS_EXTENT_BYTES_MAX;
	case REQ_FLUSH:
	case REQ_TRIM:
	case REQ_CACHE:
	case REQ_DISC:
	case REQ_OPS:
		break;
	}
	return 0;
}

void req_start(struct request *request)
{
	/* Nobody else writes it: no need of a locked instruction. */
	atomic_store_explicit(&request->lane->nr_begun,
			      atomic_load_explicit(&request->lane->nr_begun, memory_order_relaxed) +
				      !request->rewrite,
			      memory_order_relaxed);
	request->error = 0;
	request->step = 0;
	request->entered = false;
	request->first_write = false;
	request->at_sector = request->first_sector;
	request->at_sectors = 0;
	request->nr_looks = 0;
	request->context = 0;
	request->nr_pending = 0;
	for (int i = 0; i < REQ_CONTEXTS; i++)
		request->nr_extents[i] = 0;
	count_request(request->lane, 1);
	refuse_if_revoked(request);
	run(request);
}
