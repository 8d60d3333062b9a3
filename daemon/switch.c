/* SPDX-License-Identifier: MIT */
/* Switching planes under load: see switch.h. */
#include "switch.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "control/report.h"
#include "describe.h"
#include "errand.h"
#include "hold.h"
#include "revoke.h"

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

static int run(struct server *server, struct image *image, enum image_target target,
	       struct problem *problem)
{
	const unsigned int before = image->super.current_plane;
	int r;

	server_hold_writes(image);
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
	server_release_writes(image);
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
	const bool was_on = image->super.encryption_enabled;
	int r = refuse(server, image, target, problem);

	if (r < 0)
		return r;
	r = run(server, image, target, problem);
	if (r < 0)
		log_line(LOG_LEVEL_ERROR, "%s", problem->text);
	else if (was_on != image->super.encryption_enabled)
		tell(server, image);
	return r;
}
