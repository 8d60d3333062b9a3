/* SPDX-License-Identifier: MIT */
/*
 * From a listener to the worker that serves the connection: see accept.h.
 *
 * accept_start -> accepted -> hand_over -> the worker's inbox -> arrived
 *              -> worker_begin_conn -> conn_start
 */
#include "accept.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "worker.h"

/* A new connection on its way to a worker's thread. */
struct arrival {
	struct inbox_item item;
	struct worker *worker;
	int fd;
	bool is_tcp;
	unsigned int nr_full; /* workers that had no place for it */
};

static void send_to(struct worker *worker, struct arrival *arrival)
{
	arrival->worker = worker;
	worker_post(worker, &arrival->item);
}

static void arrived(struct inbox_item *item)
{
	struct arrival *arrival = CONTAINER_OF(item, struct arrival, item);
	struct server *server = arrival->worker->server;

	if (!worker_has_place(arrival->worker) && ++arrival->nr_full < server->nr_workers &&
	    !atomic_load(&server->stopping)) {
		send_to(&server->workers[(arrival->worker->number + 1) % server->nr_workers],
			arrival);
		return;
	}
	worker_begin_conn(arrival->worker, arrival->fd, arrival->is_tcp);
	free(arrival);
}

/* Connections go to the workers in turn, so that a client's several spread out. */
static void hand_over(struct server *server, int fd, bool is_tcp)
{
	unsigned int turn = atomic_fetch_add(&server->next_worker, 1);
	struct arrival *arrival = malloc(sizeof(*arrival));

	if (!arrival) {
		close(fd);
		return;
	}
	*arrival = (struct arrival){ .item.deliver = arrived, .fd = fd, .is_tcp = is_tcp };
	send_to(&server->workers[turn % server->nr_workers], arrival);
}

static void accept_next(struct acceptor *acceptor);

static void accepted(struct ring_op *op, int result)
{
	struct acceptor *acceptor = CONTAINER_OF(op, struct acceptor, op);
	struct server *server = acceptor->worker->server;

	acceptor->waiting = false;
	if (atomic_load(&server->stopping)) {
		if (result >= 0)
			close(result);
		return;
	}
	if (result < 0) {
		if (!acceptor->failing)
			log_line(LOG_LEVEL_WARNING, "accept failed: %s", strerror(-result));
		acceptor->failing = true;
		return;
	}
	acceptor->failing = false;
	hand_over(server, result, acceptor->listener->is_tcp);
	accept_next(acceptor);
}

static void accept_next(struct acceptor *acceptor)
{
	acceptor->op = (struct ring_op){
		.kind = RING_ACCEPT,
		.fd = acceptor->listener->fd,
		.done = accepted,
	};
	acceptor->waiting = true;
	ring_submit(acceptor->worker->ring, &acceptor->op);
}

void accept_start(struct worker *worker)
{
	const struct server *server = worker->server;

	for (unsigned int i = 0; i < server->nr_listeners; i++) {
		worker->acceptors[i].worker = worker;
		worker->acceptors[i].listener = &server->listeners[i];
		accept_next(&worker->acceptors[i]);
	}
}

void accept_retry(struct worker *worker)
{
	for (unsigned int i = 0; i < worker->server->nr_listeners; i++)
		if (!worker->acceptors[i].waiting)
			accept_next(&worker->acceptors[i]);
}

void accept_stop(struct worker *worker)
{
	for (unsigned int i = 0; i < worker->server->nr_listeners; i++)
		if (worker->acceptors[i].waiting)
			ring_cancel(worker->ring, &worker->acceptors[i].op);
}
