/* SPDX-License-Identifier: MIT */
/* Requests carried out by another worker: see conn_lend.h. */
#include "net/conn_lend.h"

#include "net/conn_send.h"
#include "worker.h"

static void take_back(struct inbox_item *item)
{
	conn_reply(&CONTAINER_OF(item, struct conn_slot, item)->request);
}

/* On the other worker. */
static void carried_out(struct request *request)
{
	struct conn_slot *slot = CONTAINER_OF(request, struct conn_slot, request);

	slot->item.deliver = take_back;
	worker_post(slot->conn->worker, &slot->item);
}

static void carry_out(struct inbox_item *item)
{
	struct conn_slot *slot = CONTAINER_OF(item, struct conn_slot, item);
	struct worker *worker = slot->request.lane->worker;

	req_start(&slot->request);
	/* Decrypt it and send it back while it is in the cache, before the next one. */
	worker_turn(worker, 0);
}

/* Somebody else who serves no request of his own; NULL: nobody. */
static struct worker *find_idle(const struct worker *self)
{
	const struct server *server = self->server;

	for (unsigned int i = 1; i < server->nr_workers; i++) {
		struct worker *other = &server->workers[(self->number + i) % server->nr_workers];

		if (atomic_load_explicit(&other->nr_slots_busy, memory_order_relaxed) == 0)
			return other;
	}
	return NULL;
}

/* ---- does it pay? ---- */

void conn_lend_tick(struct conn *conn)
{
	struct conn_trial *trial = &conn->trial;
	const uint64_t now_ms = conn->worker->now_ms;
	const uint64_t passed_ms = now_ms - trial->tick_ms;
	const uint64_t rate = passed_ms ? trial->moved_bytes / passed_ms : 0;
	const bool is_busy = trial->moved_bytes >= CONN_TRIAL_BYTES_MIN;

	trial->tick_ms = now_ms;
	trial->moved_bytes = 0;
	if (!is_busy) {
		trial->phase = CONN_TRIAL_LENT;
		trial->nr_ticks = 0;
		return;
	}
	/* In its first tick there is some of the phase before; a new client is slow at first. */
	if (trial->nr_ticks++ == 0)
		return;
	if (trial->phase == CONN_TRIAL_LENT) {
		if (trial->nr_ticks <= CONN_TRIAL_START_TICKS)
			return;
		trial->lent_rate = rate;
		trial->phase = CONN_TRIAL_OWN;
	} else if (trial->phase == CONN_TRIAL_OWN) {
		trial->phase = trial->lent_rate > rate ? CONN_TRIAL_LENT_IS_BEST
						       : CONN_TRIAL_OWN_IS_BEST;
	} else if (trial->nr_ticks > CONN_TRIAL_KEPT_TICKS) {
		trial->phase = CONN_TRIAL_LENT;
	} else {
		return;
	}
	trial->nr_ticks = 0;
}

static bool pays(const struct conn *conn)
{
	return conn->trial.phase == CONN_TRIAL_LENT || conn->trial.phase == CONN_TRIAL_LENT_IS_BEST;
}

/* ---- lending ---- */

/* Does it take longer than to wake somebody up, and is there something else to do meanwhile? */
static bool is_worth_it(const struct conn_slot *slot)
{
	const struct request *request = &slot->request;
	const struct conn *conn = slot->conn;

	return pays(conn) && (request->op == REQ_READ || request->op == REQ_WRITE) &&
	       sectors_to_bytes(request->nr_sectors) >= CONN_LEND_BYTES_MIN &&
	       (conn->nr_requests > 1 || conn->recv_end > conn->recv_at);
}

bool conn_lend(struct conn_slot *slot)
{
	struct worker *other = is_worth_it(slot) ? find_idle(slot->conn->worker) : NULL;

	if (!other)
		return false;
	slot->request.lane = &other->lanes[slot->conn->session.export_index];
	slot->request.done = carried_out;
	slot->item.deliver = carry_out;
	worker_post(other, &slot->item);
	return true;
}
