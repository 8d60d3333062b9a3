/* SPDX-License-Identifier: MIT */
/*
 * Request slots and buffers of a worker: who gets some, who stands in line, and who
 * is cut off because others do. See worker.h.
 */
#include "worker.h"

static void count_busy(struct worker *worker, int difference)
{
	const unsigned int before =
		atomic_load_explicit(&worker->nr_slots_busy, memory_order_relaxed);

	atomic_store_explicit(&worker->nr_slots_busy, before + (unsigned int)difference,
			      memory_order_relaxed);
}

/*
 * Who has little may have a little more, as long as no less would be left than it has
 * then: however many take all they can and give nothing back, there is something for
 * the next one. All else comes out of what is above the reserve, in the order of the
 * line, or a large request would never get its buffer.
 */
static bool may_have(const struct worker *worker, const struct conn *conn, uint64_t block_bytes)
{
	const uint64_t held_bytes = conn->block_bytes + block_bytes;
	uint64_t left_bytes;

	if (block_bytes > worker->buddy.free_bytes)
		return false;
	left_bytes = worker->buddy.free_bytes - block_bytes;
	if (held_bytes <= CONN_LITTLE_BYTES && held_bytes <= left_bytes)
		return true;
	return !worker->starved_first && left_bytes >= WORKER_RESERVE_BYTES;
}

unsigned int worker_slots_left(const struct worker *worker)
{
	return WORKER_REQUESTS_MAX -
	       atomic_load_explicit(&worker->nr_slots_busy, memory_order_relaxed);
}

struct conn_slot *worker_take_slot(struct worker *worker, struct conn *conn, uint64_t buffer_bytes)
{
	struct conn_slot *slot = worker->free_slots;
	uint8_t *data = NULL;

	if (slot && buffer_bytes == 0)
		goto out_taken;
	if (slot && may_have(worker, conn, buddy_block_bytes(buffer_bytes))) {
		data = buddy_take(&worker->buddy, buffer_bytes);
		if (data)
			goto out_taken;
	}
	if (!conn->starved_ms)
		conn->starved_ms = worker->now_ms;
	conn->starved = true;
	conn->next = NULL;
	if (worker->starved_last)
		worker->starved_last->next = conn;
	else
		worker->starved_first = conn;
	worker->starved_last = conn;
	return NULL;

out_taken:
	conn->starved_ms = 0;
	count_busy(worker, 1);
	worker->free_slots = slot->next;
	slot->next = NULL;
	slot->request.data = data;
	return slot;
}

void worker_give_slot(struct worker *worker, struct conn_slot *slot)
{
	count_busy(worker, -1);
	if (slot->request.data)
		buddy_give(&worker->buddy, slot->request.data);
	slot->request.data = NULL;
	slot->next = worker->free_slots;
	worker->free_slots = slot;
}

void worker_feed_starved(struct worker *worker)
{
	struct conn *line = worker->starved_first;

	worker->starved_first = NULL;
	worker->starved_last = NULL;
	while (line) {
		struct conn *conn = line;

		line = conn->next;
		conn->starved = false;
		conn_resume(conn);
	}
}

void worker_cut_stalled(struct worker *worker)
{
	const struct conn *waiting = worker->starved_first;

	while (waiting && worker->now_ms < waiting->starved_ms + CONN_STALL_MS)
		waiting = waiting->next;
	if (!waiting)
		return;
	for (unsigned int i = 0; i < worker->nr_conns_begun; i++) {
		struct conn *conn = &worker->conns[i];

		if (conn->fd < 0 || !conn_is_stalling(conn) ||
		    worker->now_ms < conn->moved_ms + CONN_STALL_MS)
			continue;
		worker_warn(
			worker,
			"conn %u (%s): closed: stalled for %d s while others waited for buffers",
			conn->id, conn->peer, CONN_STALL_MS / 1000);
		conn_stop(conn, true);
	}
}
