/* SPDX-License-Identifier: MIT */
/* Messages to the workers and back: see errand.h. */
#include "errand.h"

#include <semaphore.h>

#include "worker.h"

/* What one worker is asked to do. */
struct errand {
	struct inbox_item item;
	struct errands *all;
	struct lane *lane;
	int result;
};

struct errands {
	int (*run)(void *arg, struct lane *lane);
	void *arg;
	sem_t done; /* once for each worker */
	struct errand each[WORKERS_MAX + 1];
};

static void deliver(struct inbox_item *item)
{
	struct errand *errand = CONTAINER_OF(item, struct errand, item);
	struct errands *all = errand->all;

	errand->result = all->run(all->arg, errand->lane);
	sem_post(&all->done);
}

static void send_to(struct errands *all, struct worker *worker, unsigned int export)
{
	struct errand *errand = &all->each[worker->number];

	errand->item.deliver = deliver;
	errand->all = all;
	errand->lane = &worker->lanes[export];
	if (pthread_equal(pthread_self(), worker->thread))
		deliver(&errand->item);
	else
		worker_post(worker, &errand->item);
}

int errand_run(struct server *server, const struct image *image,
	       int (*run)(void *arg, struct lane *lane), void *arg)
{
	struct errands all = { .run = run, .arg = arg };
	unsigned int export = 0;
	int r = 0;

	while (server->images[export] != image)
		export ++;
	sem_init(&all.done, 0, 0);
	for (unsigned int i = 0; i < server->nr_threads; i++)
		send_to(&all, &server->workers[i], export);
	for (unsigned int i = 0; i < server->nr_threads; i++)
		while (sem_wait(&all.done) < 0)
			;
	sem_destroy(&all.done);
	for (unsigned int i = 0; i < server->nr_threads && r == 0; i++)
		r = all.each[i].result;
	return r;
}
