/* SPDX-License-Identifier: MIT */
/* Lines of waiters, and waking them on their own threads. */
#include "map/lane.h"

void waiter_line_add(struct waiter_line *line, struct waiter *waiter)
{
	waiter->next = NULL;
	if (line->last)
		line->last->next = waiter;
	else
		line->first = waiter;
	line->last = waiter;
}

void waiter_line_move(struct waiter_line *to, struct waiter_line *from)
{
	if (!from->first)
		return;
	if (to->last)
		to->last->next = from->first;
	else
		to->first = from->first;
	to->last = from->last;
	*from = (struct waiter_line){ 0 };
}

static void deliver(struct inbox_item *item)
{
	struct waiter *waiter = CONTAINER_OF(item, struct waiter, item);

	waiter->wake(waiter);
}

void waiter_wake(struct waiter *waiter, int result)
{
	struct lane *lane = waiter->lane;

	waiter->result = result;
	waiter->item.deliver = deliver;
	if (inbox_push(lane->inbox, &waiter->item))
		lane->notify(lane);
}

void waiter_line_wake(struct waiter_line *line, int result)
{
	struct waiter *waiter = line->first;

	*line = (struct waiter_line){ 0 };
	while (waiter) {
		struct waiter *next = waiter->next;

		waiter_wake(waiter, result);
		waiter = next;
	}
}
