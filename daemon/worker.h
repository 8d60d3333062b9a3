/* SPDX-License-Identifier: MIT */
/*
 * A worker: one thread with its own ring, connections, request slots and
 * buffers. A connection lives its whole life on one worker. Nothing here is
 * touched by another thread but the inbox and the eventfd that goes with it.
 */
#ifndef WORKER_H
#define WORKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "accept.h"
#include "background.h"
#include "base/buddy.h"
#include "base/compiler.h"
#include "base/inbox.h"
#include "map/lane.h"
#include "net/conn.h"
#include "server.h"

struct worker {
	struct server *server;
	struct background *background; /* NULL: it serves clients */
	unsigned int number;
	pthread_t thread;
	bool running; /* the thread exists; main thread only */

	struct inbox inbox;
	int wake_fd;		/* eventfd, to wake it */
	_Atomic bool asleep;	/* or about to be: who posts something wakes it */
	struct ring_op wake_op; /* polls it */
	struct ring *ring;
	struct lane *lanes;	 /* by export */
	struct tls_context *tls; /* of new connections; NULL: none */
	uint64_t now_ms;	 /* CLOCK_MONOTONIC, at the last turn */
	uint64_t stop_at_ms;	 /* clients are cut off then; 0: not stopping */
	bool drained;		 /* while stopping: all connections have ended */
	bool over;		 /* the last turn has come */

	struct buddy buddy; /* payloads */
	uint8_t *arena;
	struct conn_slot *slots; /* WORKER_REQUESTS_MAX */
	struct conn_slot *free_slots;
	struct conn *conns;	     /* WORKER_CONNS_MAX; a place costs memory once it was used */
	unsigned int nr_conns_begun; /* of them, ever used: the first ones */
	struct conn *free_conns;     /* of those */
	unsigned int nr_conns;
	_Atomic unsigned int nr_slots_busy; /* written by this worker, read by any */
	struct conn *starved_first;	    /* connections that wait for a slot or a buffer */
	struct conn *starved_last;
	struct conn *to_send;		/* connections with new replies, this turn */
	struct conn *paused;		/* connections that go on in the next turn */
	struct waiter_line turn_takers; /* requests that do */

	unsigned int nr_warnings; /* since @warnings_ms, shown or not */
	uint64_t warnings_ms;

	unsigned int nr_dm_requests; /* of its tags, under way */
	bool dm_over;		     /* no more of them is begun: see dm/serve.h */

	struct acceptor acceptors[LISTENERS_MAX]; /* worker 0 only */
};

/* On the main thread. Returns 0 or a negative errno; worker_done() is due in either case. */
int MUST_CHECK worker_init(struct worker *worker, struct server *server, unsigned int number);
void worker_done(struct worker *worker);

int MUST_CHECK worker_run(struct worker *worker);

/* Is there a place for one more connection? On this worker's thread. */
static inline bool worker_has_place(const struct worker *worker)
{
	return worker->free_conns || worker->nr_conns_begun < WORKER_CONNS_MAX;
}

/* A connection to serve, on this worker's thread. Owns @fd; closed when there is no place for it. */
void worker_begin_conn(struct worker *worker, int fd, bool is_tcp);

/*
 * A log line that a client can cause at will: no more than CONN_WARNINGS_MAX of
 * them in CONN_WARNINGS_MS.
 */
void worker_warn(struct worker *worker, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Any thread: have it look around. */
void worker_wake(struct worker *worker);

/* Any thread: @item->deliver is called on the worker's. */
void worker_post(struct worker *worker, struct inbox_item *item);

/*
 * The worker's own thread, from a message's @deliver: wait for the ring for
 * @timeout_ms, and run what is done.
 */
void worker_turn(struct worker *worker, int timeout_ms);

/* Of WORKER_REQUESTS_MAX. */
unsigned int worker_slots_left(const struct worker *worker);

/* A slot with a buffer of @buffer_bytes (0: none), or NULL: @conn waits in line. */
struct conn_slot *worker_take_slot(struct worker *worker, struct conn *conn, uint64_t buffer_bytes);

/*
 * @conn has replies: they are sent at the end of this turn, together with
 * others that come until then.
 */
void worker_will_send(struct worker *worker, struct conn *conn);

/*
 * @conn has begun enough READs for this turn: what it asks for next is read when
 * their bytes have been decrypted and sent, while they are in the processor's cache.
 */
void worker_pause(struct worker *worker, struct conn *conn);

/* Give back what the slot has; those in line go on from the worker's loop. */
void worker_give_slot(struct worker *worker, struct conn_slot *slot);

/* Let each of those in line try once more; who fails stands in line again. */
void worker_feed_starved(struct worker *worker);

/*
 * Those in line wait for what other connections hold. That ends when the disk is
 * done and the client has taken its reply; a client that does not is in their way:
 * once somebody has stood there for CONN_STALL_MS, whoever stalls for as long goes.
 */
void worker_cut_stalled(struct worker *worker);

#endif
