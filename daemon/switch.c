/* SPDX-License-Identifier: MIT */
/* Switching planes under load: see switch.h. */
#include "switch.h"

#include <errno.h>
#include <semaphore.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "control/report.h"
#include "describe.h"
#include "errand.h"
#include "revoke.h"

/* One switch; on the stack of the thread that makes it. */
struct switching {
	struct image *image;
	struct waiter waiter; /* for the writes in flight */
	bool drained;
	sem_t wake; /* something has come for this thread */
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

/* Reads of the new plane come after writes to it, and these are still held back. */
static int learn(void *arg, struct lane *lane)
{
	struct image *image = arg;

	return image_lane_learn(image, lane, image->super.current_plane);
}

/* ---- the switch ---- */

static int refuse(const struct server *server, const struct image *image, enum image_target target,
		  struct problem *problem)
{
	if (image->super.revoked)
		return server_refuse_revoked(image, problem);
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

static int run(struct server *server, struct switching *switching, enum image_target target,
	       struct problem *problem)
{
	struct image *image = switching->image;
	const unsigned int before = image->super.current_plane;
	int r;

	hold_writes_back(switching);
	r = image_switch(image, target, (uint64_t)time(NULL), problem);
	if (r == 0 && image->super.current_plane != before) {
		r = errand_run(server, image, learn, image);
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

static void tell(struct server *server, struct image *image)
{
	const struct report report = { .image = image, .live = true };
	json_t *event = json_pack("{s:s}", "event", "encryption");

	log_line(LOG_LEVEL_INFO, "image %s: encryption is %s from here on", image->path,
		 image->super.encryption_enabled ? "on" : "off");
	if (event && json_object_update_new(event, report_encryption_json(&report)) < 0) {
		json_decref(event);
		event = NULL;
	}
	control_publish(&server->events, image, event);
	server_describe_again(server, image);
}

int server_switch(struct server *server, struct image *image, enum image_target target,
		  struct problem *problem)
{
	struct switching switching = { .image = image };
	const bool was_on = image->super.encryption_enabled;
	int r = refuse(server, image, target, problem);

	if (r < 0)
		return r;
	sem_init(&switching.wake, 0, 0);
	r = run(server, &switching, target, problem);
	sem_destroy(&switching.wake);
	if (r < 0)
		log_line(LOG_LEVEL_ERROR, "%s", problem->text);
	else if (was_on != image->super.encryption_enabled)
		tell(server, image);
	return r;
}
