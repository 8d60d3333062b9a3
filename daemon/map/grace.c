/* SPDX-License-Identifier: MIT */
/* Waiting for epochs to drain: see epoch.h. */
#include "map/entries.h"

static uint32_t nr_inside(const struct map *map, uint64_t epoch)
{
	uint32_t nr = 0;

	for (unsigned int i = 0; i < map->nr_lanes; i++)
		nr += atomic_load(&map->lanes[i]->epoch.inside[epoch & 1]);
	return nr;
}

void grace_begin(struct map *map, struct map_grace *grace, struct waiter *waiter)
{
	atomic_store(&map->stirred, true);
	grace->waiter = waiter;
	grace->epoch = atomic_load(&map->epoch.now);
	grace->next = map->graces;
	map->graces = grace;
	grace_poll(map);
}

/* Wake those whose epoch is at most @drained. Returns whether others remain. */
static bool wake_drained(struct map *map, uint64_t drained)
{
	struct map_grace **at = &map->graces;

	while (*at) {
		struct map_grace *grace = *at;

		if (grace->epoch <= drained) {
			*at = grace->next;
			waiter_wake(grace->waiter, 0);
		} else {
			at = &grace->next;
		}
	}
	return map->graces != NULL;
}

void grace_poll(struct map *map)
{
	/* Set before the counters are read: who leaves after that will look here. */
	atomic_store(&map->grace_wanted, true);
	for (;;) {
		uint64_t now = atomic_load(&map->epoch.now);
		bool before_drained = nr_inside(map, now - 1) == 0;

		if (!wake_drained(map, before_drained ? now - 1 : now - 2)) {
			atomic_store(&map->grace_wanted, false);
			return;
		}
		if (!before_drained)
			return;
		/* Somebody waits for this epoch: the next one may begin. */
		atomic_store(&map->epoch.now, now + 1);
	}
}

void map_leave(struct map *map, struct lane *lane, unsigned int parity)
{
	epoch_leave(&lane->epoch, parity);
	if (atomic_load(&map->grace_wanted)) {
		pthread_mutex_lock(&map->lock);
		grace_poll(map);
		pthread_mutex_unlock(&map->lock);
	}
}

void map_switch_begin(struct map *map, struct lane *lane, struct waiter *waiter)
{
	waiter->lane = lane;
	pthread_mutex_lock(&map->lock);
	assert(!atomic_load(&map->switching));
	atomic_store(&map->switching, true);
	grace_begin(map, map->switch_grace, waiter);
	pthread_mutex_unlock(&map->lock);
}

int map_switch_wait(struct map *map, struct lane *lane, struct waiter *waiter)
{
	int r = 0;

	waiter->lane = lane;
	pthread_mutex_lock(&map->lock);
	if (atomic_load(&map->switching)) {
		waiter_line_add(&map->switch_waiters, waiter);
		r = 1;
	}
	pthread_mutex_unlock(&map->lock);
	return r;
}

void map_switch_end(struct map *map, uint8_t current)
{
	pthread_mutex_lock(&map->lock);
	atomic_store(&map->current, current);
	atomic_store(&map->switching, false);
	waiter_line_wake(&map->switch_waiters, 0);
	pthread_mutex_unlock(&map->lock);
}
