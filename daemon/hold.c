/* SPDX-License-Identifier: MIT */
/* Holding writes back: see hold.h. */
#include "hold.h"

#include <semaphore.h>

/* On the stack of the thread that waits. */
struct holding {
	struct waiter waiter; /* for the writes in flight */
	bool drained;
	sem_t wake; /* something has come for this thread */
};

/* The image's own lane has no worker: what comes for it, comes here. */
static void notify(struct lane *lane)
{
	sem_post(lane->worker);
}

static void drained(struct waiter *waiter)
{
	CONTAINER_OF(waiter, struct holding, waiter)->drained = true;
}

static void deliver_all(struct image *image)
{
	struct inbox_item *item = inbox_take_all(&image->inbox);

	while (item) {
		struct inbox_item *next = item->next;

		item->deliver(item);
		item = next;
	}
}

void server_hold_writes(struct image *image)
{
	void (*const notify_before)(struct lane * lane) = image->lane.notify;
	struct holding holding = { .waiter.wake = drained };

	sem_init(&holding.wake, 0, 0);
	image->lane.worker = &holding.wake;
	image->lane.notify = notify;
	map_switch_begin(&image->disk.map, &image->lane, &holding.waiter);
	while (!holding.drained) {
		while (sem_wait(&holding.wake) < 0)
			;
		deliver_all(image);
	}
	image->lane.notify = notify_before;
	sem_destroy(&holding.wake);
}

void server_release_writes(struct image *image)
{
	map_switch_end(&image->disk.map, image->super.current_plane);
}
