/* SPDX-License-Identifier: MIT */
/*
 * Orders about rewrites under load: see rewrite.h. A rekey:
 *
 * a new plane becomes current -> a new image key -> the job is durable -> the
 * worker in the background sees it
 */
#include "rewrite.h"

#include <errno.h>

#include "revoke.h"
#include "switch.h"
#include "worker.h"

static int refuse(const struct server *server, const struct image *image, struct problem *problem)
{
	if (server->options->read_only) {
		problem_set(problem, "image", image->path, "is served --read-only");
		return -EROFS;
	}
	return image->super.revoked ? server_refuse_revoked(image, problem) : 0;
}

/* Of one that is under way only the key is looked at. */
static int begin_rekey(struct server *server, struct image *image,
		       const struct rewrite_order *order, struct problem *problem)
{
	int r = image_rekey_check(image, order, problem);

	if (r < 0 || (image->super.rewrites & SEAL_REWRITE_REKEY))
		return r;
	r = server_switch(server, image, IMAGE_TARGET_NEW_PLANE, problem);
	return r == 0 ? image_renew_key(image, order->secret, problem) : r;
}

static int start(struct server *server, struct image *image, const struct rewrite_order *order,
		 struct problem *problem)
{
	int r = 0;

	if (order->which == SEAL_REWRITE_REKEY)
		r = begin_rekey(server, image, order, problem);
	return r == 0 ? image_rewrite_start(image, order->which, problem) : r;
}

int server_rewrite(struct server *server, struct image *image, const struct rewrite_order *order,
		   struct problem *problem)
{
	const uint64_t old_rate = atomic_load(&image->rewrite.max_rate);
	int r = refuse(server, image, problem);

	if (r < 0)
		return r;
	/* First, or a job would begin without its limit. */
	if (order->has_max_rate)
		atomic_store(&image->rewrite.max_rate, order->max_rate);
	if (order->action == REWRITE_START)
		r = start(server, image, order, problem);
	else
		r = image_rewrite_pause(image, order->which, order->action == REWRITE_PAUSE,
					problem);
	if (r < 0)
		atomic_store(&image->rewrite.max_rate, old_rate);
	worker_wake(&server->workers[server->nr_workers]);
	return r;
}
