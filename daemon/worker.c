/* SPDX-License-Identifier: MIT */
/*
 * A worker's life: turns of waiting for the ring, delivering messages, sending
 * replies. See worker.h.
 */
#include "worker.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "dm/device.h"
#include "dm/serve.h"
#include "net/conn_lend.h"
#include "net/conn_send.h"
#include "net/tls.h"
#include "request/moment.h"

enum {
	TICK_MS = 100,	   /* longest turn: deadlines and commit rounds are looked at */
	QUIET_TURN_MS = 5, /* while stopping: the others are looked at */
};

static uint64_t clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void worker_wake(struct worker *worker)
{
	const uint64_t one = 1;

	/* Fails only when the counter is full: then it is awake anyway. */
	if (write(worker->wake_fd, &one, sizeof(one)) < 0)
		return;
}

void worker_warn(struct worker *worker, const char *fmt, ...)
{
	char text[256];
	va_list args;

	if (++worker->nr_warnings > CONN_WARNINGS_MAX)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	log_line(LOG_LEVEL_WARNING, "%s", text);
}

/*
 * Something has been put into its empty inbox. Awake, it looks there before it
 * sleeps: either it sees the item, or we see that it is asleep.
 */
static void rouse(struct worker *worker)
{
	if (atomic_load(&worker->asleep) && atomic_exchange(&worker->asleep, false))
		worker_wake(worker);
}

static void notify(struct lane *lane)
{
	struct worker *worker = lane->worker;

	/* Our own turn empties the inbox before it waits. */
	if (!pthread_equal(pthread_self(), worker->thread))
		rouse(worker);
}

void worker_post(struct worker *worker, struct inbox_item *item)
{
	if (inbox_push(&worker->inbox, item))
		rouse(worker);
}

static void listen_for_wake(struct worker *worker);

static void woken(struct ring_op *op, int result)
{
	struct worker *worker = CONTAINER_OF(op, struct worker, wake_op);
	uint64_t count;

	(void)result;
	if (read(worker->wake_fd, &count, sizeof(count)) < 0)
		count = 0;
	if (!worker->over)
		listen_for_wake(worker);
}

static void listen_for_wake(struct worker *worker)
{
	worker->wake_op = (struct ring_op){
		.kind = RING_POLL,
		.fd = worker->wake_fd,
		.done = woken,
	};
	ring_submit(worker->ring, &worker->wake_op);
}

/* ---- whose turn it is ---- */

void worker_will_send(struct worker *worker, struct conn *conn)
{
	if (conn->to_send)
		return;
	conn->to_send = true;
	conn->next_to_send = worker->to_send;
	worker->to_send = conn;
}

static void send_all(struct worker *worker)
{
	while (worker->to_send) {
		struct conn *conn = worker->to_send;

		worker->to_send = conn->next_to_send;
		conn->to_send = false;
		conn_send(conn);
		/* Replies that could not be sent have given back their slots. */
		conn_resume(conn);
	}
}

void worker_pause(struct worker *worker, struct conn *conn)
{
	conn->paused = true;
	conn->next_paused = worker->paused;
	worker->paused = conn;
}

/* A long request of one client, which has had its turn. */
static void take_turns(struct lane *lane, struct waiter *waiter)
{
	struct worker *worker = lane->worker;

	waiter_line_add(&worker->turn_takers, waiter);
}

static void resume_turn_takers(struct worker *worker)
{
	struct waiter *waiter = worker->turn_takers.first;

	worker->turn_takers = (struct waiter_line){ 0 };
	while (waiter) {
		struct waiter *next = waiter->next;

		waiter->wake(waiter);
		waiter = next;
	}
}

static void resume_paused(struct worker *worker)
{
	struct conn *paused = worker->paused;

	worker->paused = NULL;
	while (paused) {
		struct conn *conn = paused;

		paused = conn->next_paused;
		conn->paused = false;
		conn->turn_bytes = 0;
		conn_resume(conn);
	}
}

/* ---- connections ---- */

/* One that somebody has left, before one whose memory was never touched. */
static struct conn *take_place(struct worker *worker)
{
	struct conn *conn = worker->free_conns;

	if (conn)
		worker->free_conns = conn->next;
	else
		conn = &worker->conns[worker->nr_conns_begun++];
	worker->nr_conns++;
	return conn;
}

void worker_begin_conn(struct worker *worker, int fd, bool is_tcp)
{
	const bool has_place = worker_has_place(worker);
	struct conn *conn;

	if (!has_place || atomic_load(&worker->server->stopping)) {
		if (!has_place)
			worker_warn(worker, "a connection was refused: there are %u already",
				    worker->nr_conns * worker->server->nr_workers);
		close(fd);
		return;
	}
	conn = take_place(worker);
	memset(conn, 0, offsetof(struct conn, recv_bytes));
	conn->worker = worker;
	conn->fd = fd;
	conn_start(conn, is_tcp, atomic_fetch_add(&worker->server->next_conn_id, 1),
		   clock_ms() + HANDSHAKE_MS);
}

/* ---- turns ---- */

static void deliver_all(struct worker *worker)
{
	struct inbox_item *item;

	while ((item = inbox_take_all(&worker->inbox)))
		while (item) {
			struct inbox_item *next = item->next;

			item->deliver(item);
			item = next;
		}
}

static void check_deadlines(struct worker *worker)
{
	for (unsigned int i = 0; i < worker->nr_conns_begun; i++) {
		struct conn *conn = &worker->conns[i];

		if (conn->fd < 0 || conn->chosen || conn->recv_over ||
		    worker->now_ms < conn->deadline_ms)
			continue;
		worker_warn(worker, "conn %u (%s): closed: no export chosen in %d s", conn->id,
			    conn->peer, HANDSHAKE_MS / 1000);
		conn_stop(conn, true);
	}
}

static void tell_of_warnings(struct worker *worker)
{
	if (worker->now_ms < worker->warnings_ms + CONN_WARNINGS_MS)
		return;
	if (worker->nr_warnings > CONN_WARNINGS_MAX)
		log_line(LOG_LEVEL_WARNING, "%u more warnings about clients were left out",
			 worker->nr_warnings - CONN_WARNINGS_MAX);
	worker->nr_warnings = 0;
	worker->warnings_ms = worker->now_ms;
}

/* Invariant 7, said once. The map itself does not log. */
static void tell_of_failure(struct server *server, unsigned int number)
{
	const struct image *image = server->images[number];

	if (server->failure_told[number] || !atomic_load(&image->disk.map.failed))
		return;
	/* Not a failure: see server_revoke(), which tells. */
	if (image->disk.map.failed_error == -ENOKEY)
		return;
	server->failure_told[number] = true;
	log_line(LOG_LEVEL_ERROR,
		 "image %s: writing to it failed: %s; until it is opened again, writes and flushes "
		 "answer EIO; reads go on",
		 image->path, strerror(-image->disk.map.failed_error));
	control_publish(&server->events, image,
			json_pack("{s:s, s:s}", "event", "failed", "reason",
				  strerror(-image->disk.map.failed_error)));
}

static void tick(struct worker *worker)
{
	struct server *server = worker->server;
	uint64_t now = clock_ms();

	if (now < worker->now_ms + TICK_MS / 2)
		return;
	worker->now_ms = now;
	check_deadlines(worker);
	for (unsigned int i = 0; i < worker->nr_conns_begun; i++)
		if (worker->conns[i].fd >= 0 && worker->conns[i].chosen)
			conn_lend_tick(&worker->conns[i]);
	worker_cut_stalled(worker);
	tell_of_warnings(worker);
	if (worker->number == 0 && !atomic_load(&server->stopping))
		accept_retry(worker);
	if (worker->background)
		return;
	for (unsigned int i = worker->number; i < server->nr_exports; i += server->nr_workers) {
		map_tick(&server->images[i]->disk.map, &worker->lanes[i], now);
		moment_tick(&server->images[i]->disk, now);
		tell_of_failure(server, i);
	}
}

/*
 * What was received is finished. Then the connection ends without a word: a client
 * that connects again (QEMU does) asks again, and its user sees no error. With
 * --stop-errors, and in the handshake, it is told instead: later requests are
 * refused, who says nothing is left, and who goes on asking is cut off in the end.
 */
static void stop_conns(struct worker *worker, uint64_t now_ms)
{
	const bool tells = worker->server->options->stop_errors;

	for (unsigned int i = 0; i < worker->nr_conns_begun; i++) {
		struct conn *conn = &worker->conns[i];

		if (conn->fd < 0)
			continue;
		conn_wind_down(conn);
		if (now_ms >= worker->stop_at_ms)
			conn_stop(conn, true);
		else if (conn->recv_over)
			continue;
		else if (conn->chosen && !tells)
			conn_stop(conn, false);
		else if (conn_is_quiet(conn) && now_ms >= conn->moved_ms + STOP_QUIET_MS)
			conn_stop(conn, false);
	}
}

/* While stopping. Returns true when this worker may end. */
static bool wind_down(struct worker *worker)
{
	struct server *server = worker->server;

	const uint64_t now_ms = clock_ms();

	if (worker->stop_at_ms == 0) {
		worker->stop_at_ms = now_ms + STOP_MS;
		if (worker->number == 0)
			accept_stop(worker);
	}
	for (unsigned int i = 0; i < server->nr_exports && now_ms >= worker->stop_at_ms; i++)
		worker->lanes[i].ending = !worker->background;
	stop_conns(worker, now_ms);
	if (!worker->drained && worker->nr_conns == 0 && dm_stop(worker)) {
		worker->drained = true;
		if (!worker->background)
			atomic_fetch_add(&server->nr_drained, 1);
	}
	if (worker->background && !background_stop(worker->background))
		return false;
	/* All that was begun is committed; what was not goes to the next daemon. */
	if (worker->number == 0 && atomic_load(&server->nr_drained) == server->nr_workers)
		dm_close_all(server);
	/* A round or sweep of ours may still serve others. */
	return atomic_load(&server->nr_drained) == server->nr_workers && server_is_quiet(server) &&
	       worker->ring->nr_in_flight == 1 && !inbox_has_items(&worker->inbox);
}

void worker_turn(struct worker *worker, int timeout_ms)
{
	int r = ring_wait(worker->ring, timeout_ms);

	if (r == 0)
		return;
	/* What is in flight is unknown from here on: as good as a crash, so be one. */
	log_line(LOG_LEVEL_ERROR, "worker %u: the ring failed: %s", worker->number, strerror(-r));
	abort();
}

/* Returns false when there is a message. See rouse(). */
static bool fall_asleep(struct worker *worker)
{
	atomic_store(&worker->asleep, true);
	if (!inbox_has_items(&worker->inbox))
		return true;
	atomic_store_explicit(&worker->asleep, false, memory_order_relaxed);
	return false;
}

static void *run(void *arg)
{
	struct worker *worker = arg;
	struct server *server = worker->server;

	listen_for_wake(worker);
	if (worker->number == 0)
		accept_start(worker);
	dm_start(worker);
	for (;;) {
		bool stopping = atomic_load(&server->stopping);
		int wait_ms = TICK_MS;

		if (stopping && wind_down(worker))
			break;
		deliver_all(worker);
		worker_feed_starved(worker);
		send_all(worker);
		resume_paused(worker);
		resume_turn_takers(worker);
		if (worker->background)
			wait_ms = background_turn(worker->background, TICK_MS);
		/* Reading what is nowhere stored may be done already, its reply waiting. */
		if (worker->paused || worker->to_send || worker->turn_takers.first)
			wait_ms = 0;
		if (!fall_asleep(worker))
			continue;
		worker_turn(worker, stopping && wait_ms > QUIET_TURN_MS ? QUIET_TURN_MS : wait_ms);
		deliver_all(worker);
		tick(worker);
	}
	worker->over = true;
	ring_cancel(worker->ring, &worker->wake_op);
	while (worker->ring->nr_in_flight > 0)
		worker_turn(worker, -1);
	return NULL;
}

int worker_run(struct worker *worker)
{
	int r = pthread_create(&worker->thread, NULL, run, worker);

	worker->running = r == 0;
	return -r;
}

/* ---- making and unmaking ---- */

static int init_memory(struct worker *worker)
{
	void *arena = mmap(NULL, WORKER_BUFFER_BYTES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (arena == MAP_FAILED)
		return -errno;
	worker->arena = arena;
	buddy_init(&worker->buddy, worker->arena, WORKER_BUFFER_BYTES);
	/* Payloads are plaintext: not in core dumps, and no business of a child. */
	(void)madvise(arena, WORKER_BUFFER_BYTES, MADV_DONTDUMP);
	worker->slots = calloc(WORKER_REQUESTS_MAX, sizeof(*worker->slots));
	worker->conns = calloc(WORKER_CONNS_MAX, sizeof(*worker->conns));
	worker->lanes = calloc(worker->server->nr_exports, sizeof(*worker->lanes));
	if (!worker->slots || !worker->conns || !worker->lanes)
		return -ENOMEM;
	for (unsigned int i = WORKER_REQUESTS_MAX; i-- > 0;) {
		worker->slots[i].next = worker->free_slots;
		worker->free_slots = &worker->slots[i];
	}
	return 0;
}

static int init_lanes(struct worker *worker)
{
	struct server *server = worker->server;

	for (unsigned int i = 0; i < server->nr_exports; i++) {
		struct lane *lane = &worker->lanes[i];
		int r = image_lane_init(server->images[i], lane, server->xts);

		if (r < 0)
			return r;
		lane->ring = worker->ring;
		lane->inbox = &worker->inbox;
		lane->notify = notify;
		lane->take_turns = take_turns;
		lane->worker = worker;
	}
	return 0;
}

static bool any_goes_past_cache(const struct server *server)
{
	for (unsigned int i = 0; i < server->nr_exports; i++)
		if (server->images[i]->disk.map.config.direct)
			return true;
	return false;
}

static void keep_arena_in_place(struct worker *worker)
{
	int r;

	/* The one in the background serves no client: its arena stays empty. */
	if (worker->number >= worker->server->nr_workers || !any_goes_past_cache(worker->server))
		return;
	r = ring_keep_in_place(worker->ring, worker->arena, WORKER_BUFFER_BYTES);
	/* Where it fails for one it fails for all after it: one line. */
	if (r < 0 && worker->number + 1 == worker->server->nr_workers)
		log_line(LOG_LEVEL_INFO,
			 "requests' memory cannot be kept in place (%s): --cache none costs more; "
			 "raise the limit of locked memory (LimitMEMLOCK=)",
			 strerror(-r));
}

int worker_init(struct worker *worker, struct server *server, unsigned int number)
{
	int r;

	worker->server = server;
	worker->number = number;
	worker->tls = tls_context_get(server->tls);
	inbox_init(&worker->inbox);
	worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (worker->wake_fd < 0)
		return -errno;
	r = init_memory(worker);
	if (r == 0)
		r = server->new_ring(server->ring_entries, &worker->ring);
	if (r == 0)
		keep_arena_in_place(worker);
	if (r == 0 && server->trace)
		r = ring_trace_new(server->trace, number + 1, worker->ring, &worker->ring);
	if (r == 0)
		r = init_lanes(worker);
	return r;
}

void worker_done(struct worker *worker)
{
	worker->background = background_free(worker->background);
	if (worker->lanes)
		for (unsigned int i = 0; i < worker->server->nr_exports; i++)
			image_lane_done(&worker->lanes[i]);
	free(worker->lanes);
	worker->tls = tls_context_put(worker->tls);
	ring_free(worker->ring);
	free(worker->conns);
	free(worker->slots);
	if (worker->arena)
		munmap(worker->arena, WORKER_BUFFER_BYTES);
	if (worker->server)
		close(worker->wake_fd);
}
