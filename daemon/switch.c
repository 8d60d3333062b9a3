/* SPDX-License-Identifier: MIT */
/* Switching planes under load: see switch.h. */
#include "switch.h"

#include <errno.h>
#include <semaphore.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "worker.h"

/* What one worker is asked to do. */
struct lesson {
	struct inbox_item item;
	struct switching *switching;
	struct worker *worker;
	int result;
};

/* One switch; on the control thread's stack. */
struct switching {
	struct server *server;
	struct image *image;
	unsigned int export;
	struct waiter waiter; /* for the writes in flight */
	bool drained;
	sem_t wake; /* something has come for this thread */
	struct lesson lessons[WORKERS_MAX];
};

static void wait_for_wake(struct switching *switching)
{
	while (sem_wait(&switching->wake) < 0)
		;
}

/* ---- writes in flight ---- */

/* The image's own lane has no worker: what comes for it, comes here. */
static void notify(struct lane *lane)
{
	sem_post(lane->worker);
}

static void drained(struct waiter *waiter)
{
	CONTAINER_OF(waiter, struct switching, waiter)->drained = true;
}

static void hold_writes_back(struct switching *switching)
{
	struct image *image = switching->image;
	void (*const notify_before)(struct lane * lane) = image->lane.notify;

	image->lane.worker = &switching->wake;
	image->lane.notify = notify;
	switching->waiter.wake = drained;
	map_switch_begin(&image->disk.map, &image->lane, &switching->waiter);
	while (!switching->drained) {
		struct inbox_item *item;

		wait_for_wake(switching);
		item = inbox_take_all(&image->inbox);
		while (item) {
			struct inbox_item *next = item->next;

			item->deliver(item);
			item = next;
		}
	}
	image->lane.notify = notify_before;
}

/* ---- keys ---- */

/* On the worker's thread, whose lane it is. */
static void learn(struct inbox_item *item)
{
	struct lesson *lesson = CONTAINER_OF(item, struct lesson, item);
	const struct switching *switching = lesson->switching;

	lesson->result = image_lane_learn(switching->image,
					  lesson->worker->lane_of[switching->export],
					  switching->image->super.current_plane);
	sem_post(&lesson->switching->wake);
}

/* Reads of the new plane come after writes to it, and these are still held back. */
static int teach_workers(struct switching *switching)
{
	struct server *server = switching->server;
	int r = 0;

	for (unsigned int i = 0; i < server->nr_workers; i++) {
		struct lesson *lesson = &switching->lessons[i];

		lesson->item.deliver = learn;
		lesson->switching = switching;
		lesson->worker = &server->workers[i];
		if (inbox_push(&server->workers[i].inbox, &lesson->item))
			worker_wake(&server->workers[i]);
	}
	for (unsigned int i = 0; i < server->nr_workers; i++)
		wait_for_wake(switching);
	for (unsigned int i = 0; i < server->nr_workers && r == 0; i++)
		r = switching->lessons[i].result;
	return r;
}

/* ---- the switch ---- */

static int refuse(const struct server *server, const struct image *image, enum image_target target,
		  struct problem *problem)
{
	if (server->options->read_only) {
		problem_set(problem, "image", image->path, "is served --read-only");
		return -EROFS;
	}
	if (server->options->require_encryption && target == IMAGE_TARGET_PLAIN) {
		problem_set(problem, "image", image->path,
			    "its daemon was started with --require-encryption");
		return -EPERM;
	}
	return 0;
}

static int run(struct switching *switching, enum image_target target, struct problem *problem)
{
	struct image *image = switching->image;
	const unsigned int before = image->super.current_plane;
	int r;

	hold_writes_back(switching);
	r = image_switch(image, target, (uint64_t)time(NULL), problem);
	if (r == 0 && image->super.current_plane != before) {
		r = teach_workers(switching);
		if (r < 0) {
			/* The superblock names the plane, and not everybody could write to it. */
			map_fail(&image->disk.map, r);
			problem_set(problem, "image", image->path,
				    "a worker cannot take its key: %s", strerror(-r));
		}
	}
	map_switch_end(&image->disk.map, image->super.current_plane);
	return r;
}

int server_switch(struct server *server, struct image *image, enum image_target target,
		  struct problem *problem)
{
	struct switching switching = { .server = server, .image = image };
	const bool was_on = image->super.encryption_enabled;
	int r = refuse(server, image, target, problem);

	if (r < 0)
		return r;
	while (server->images[switching.export] != image)
		switching.export ++;
	sem_init(&switching.wake, 0, 0);
	r = run(&switching, target, problem);
	sem_destroy(&switching.wake);
	if (r < 0)
		log_line(LOG_LEVEL_ERROR, "%s", problem->text);
	else if (was_on != image->super.encryption_enabled)
		log_line(LOG_LEVEL_INFO, "image %s: encryption is %s from here on", image->path,
			 was_on ? "off" : "on");
	return r;
}
