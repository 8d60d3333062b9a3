/* SPDX-License-Identifier: MIT */
/* Messages to the workers and back: see errand.h. */
#include "errand.h"

#include <semaphore.h>

#include "worker.h"

/* What one worker is asked to do. */
struct errand {
	struct inbox_item item;
	struct errands *all;
	struct worker *worker;
	int result;
};

struct errands {
	int (*run)(void *arg, struct worker *worker);
	void *arg;
	sem_t done; /* once for each worker */
	struct errand each[WORKERS_MAX + 1];
};

static void deliver(struct inbox_item *item)
{
	struct errand *errand = CONTAINER_OF(item, struct errand, item);
	struct errands *all = errand->all;

	errand->result = all->run(all->arg, errand->worker);
	sem_post(&all->done);
}

static void send_to(struct errands *all, struct worker *worker)
{
	struct errand *errand = &all->each[worker->number];

	errand->item.deliver = deliver;
	errand->all = all;
	errand->worker = worker;
	if (pthread_equal(pthread_self(), worker->thread))
		deliver(&errand->item);
	else
		worker_post(worker, &errand->item);
}

int errand_run_on_workers(struct server *server, int (*run)(void *arg, struct worker *worker),
			  void *arg)
{
	struct errands all = { .run = run, .arg = arg };
	int r = 0;

	sem_init(&all.done, 0, 0);
	for (unsigned int i = 0; i < server->nr_threads; i++)
		send_to(&all, &server->workers[i]);
	for (unsigned int i = 0; i < server->nr_threads; i++)
		while (sem_wait(&all.done) < 0)
			;
	sem_destroy(&all.done);
	for (unsigned int i = 0; i < server->nr_threads && r == 0; i++)
		r = all.each[i].result;
	return r;
}

/* An errand to one lane of each worker. */
struct lane_errand {
	unsigned int export;
	int (*run)(void *arg, struct lane *lane);
	void *arg;
};

static int run_on_lane(void *arg, struct worker *worker)
{
	const struct lane_errand *errand = arg;

	return errand->run(errand->arg, &worker->lanes[errand->export]);
}

int errand_run(struct server *server, const struct image *image,
	       int (*run)(void *arg, struct lane *lane), void *arg)
{
	struct lane_errand errand = { .run = run, .arg = arg };

	while (server->images[errand.export] != image)
		errand.export ++;
	return errand_run_on_workers(server, run_on_lane, &errand);
}
