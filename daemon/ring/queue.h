/* SPDX-License-Identifier: MIT */
/*
 * Operations in line, first in first out, linked through ring_op.next. For
 * engines only: an operation is in at most one queue, and only while in flight.
 */
#ifndef RING_QUEUE_H
#define RING_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

#include "ring/ring.h"

struct ring_queue {
	struct ring_op *head; /* NULL: empty */
	struct ring_op *tail; /* meaningless when empty */
};

static inline void ring_queue_push(struct ring_queue *queue, struct ring_op *op)
{
	op->next = NULL;
	if (queue->head)
		queue->tail->next = op;
	else
		queue->head = op;
	queue->tail = op;
}

/* The longest waiting operation, or NULL. */
static inline struct ring_op *ring_queue_pop(struct ring_queue *queue)
{
	struct ring_op *op = queue->head;

	if (op)
		queue->head = op->next;
	return op;
}

/* Take @op out of the middle. Returns whether it was there. */
static inline bool ring_queue_remove(struct ring_queue *queue, struct ring_op *op)
{
	struct ring_op *before = NULL;

	for (struct ring_op *at = queue->head; at != op; at = at->next) {
		if (!at)
			return false;
		before = at;
	}
	if (before)
		before->next = op->next;
	else
		queue->head = op->next;
	if (queue->tail == op)
		queue->tail = before;
	return true;
}

/*
 * Call the @done of everything in @queue. What a @done adds waits for the next
 * call, so that operations which follow one another cannot hold the thread.
 */
static inline void ring_queue_deliver(struct ring *ring, struct ring_queue *queue)
{
	struct ring_queue batch = *queue;
	struct ring_op *op;

	queue->head = NULL;
	while ((op = ring_queue_pop(&batch))) {
		ring->nr_in_flight--;
		op->done(op, op->result);
	}
}

#endif
