/* SPDX-License-Identifier: MIT */
/* Taking keys out of memory under load, and bringing them back: see revoke.h. */
#include "revoke.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "errand.h"
#include "image/revoke.h"
#include "keys/key_mem.h"
#include "moment.h"

enum { LOOK_MS = 1 }; /* between two looks at what is under way */

static uint64_t clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void pause_a_little(void)
{
	const struct timespec pause = { .tv_nsec = LOOK_MS * 1000000 };

	nanosleep(&pause, NULL);
}

int server_refuse_revoked(const struct image *image, struct problem *problem)
{
	problem_set(problem, "image", image->path,
		    "its keys are revoked: sealblk key restore lets them be used again");
	return -EKEYREJECTED;
}

static int refuse_read_only(const struct image *image, struct problem *problem)
{
	problem_set(problem, "image", image->path, "is served --read-only");
	return -EROFS;
}

/* ---- errands, on the workers' threads ---- */

static int pass_by(void *arg, struct lane *lane)
{
	(void)arg;
	(void)lane;
	return 0;
}

static int hurry(void *arg, struct lane *lane)
{
	struct image *image = arg;

	map_hurry(&image->disk.map, lane);
	return 0;
}

static int forget(void *arg, struct lane *lane)
{
	(void)arg;
	image_lane_done(lane);
	key_mem_wipe_stack();
	return 0;
}

static int learn(void *arg, struct lane *lane)
{
	struct image *image = arg;

	return image_lane_init(image, lane, image->xts);
}

/* ---- revoke ---- */

static bool is_drained(const struct map *map)
{
	for (unsigned int i = 0; i < map->nr_lanes; i++)
		if (atomic_load(&map->lanes[i]->nr_requests) > 0)
			return false;
	return true;
}

/*
 * Looks, instead of being told: whoever would tell might never do so, with a disk
 * that hangs, and then nothing of ours may be left in his hands.
 */
static int come_to_rest(struct server *server, struct image *image)
{
	struct map *map = &image->disk.map;
	const uint64_t deadline_ms = clock_ms() + REVOKE_MS;
	int r = -EAGAIN;

	/* When all have passed by, no request that has not seen @revoked can come. */
	(void)errand_run(server, image, pass_by, NULL);
	while (r == -EAGAIN && clock_ms() < deadline_ms) {
		if (is_drained(map))
			r = map_rest(map);
		if (r != -EAGAIN)
			break;
		(void)errand_run(server, image, hurry, image);
		pause_a_little();
	}
	return r;
}

static int revoke(struct server *server, struct image *image, struct problem *problem)
{
	const uint64_t start_ms = clock_ms();
	struct revoked_supers supers;
	bool clean = false;
	int rest, prepared, r;

	atomic_store(&image->disk.revoked, true);
	server_moment_revoke(image);
	rest = come_to_rest(server, image);
	/* What is still under way will miss the keys: nothing may begin after it. */
	if (rest == -EAGAIN)
		map_fail(&image->disk.map, -ENOKEY);
	prepared = image_revoke_prepare(image, &supers);
	(void)errand_run(server, image, forget, NULL);
	image_forget_keys(image);
	key_mem_wipe_stack();
	log_line(LOG_LEVEL_INFO, "image %s: its keys are revoked, and left memory after %u ms",
		 image->path, (unsigned int)(clock_ms() - start_ms));
	if (prepared < 0) {
		image->super.revoked = 1;
		map_fail(&image->disk.map, -ENOKEY);
		problem_set(problem, "image", image->path,
			    "its keys have left memory and all I/O is refused, but its superblock "
			    "has no MAC: %s",
			    strerror(-prepared));
		return -EIO;
	}
	r = image_revoke_finish(image, &supers, rest, &clean, problem);
	if (r == 0 && !clean)
		log_line(LOG_LEVEL_WARNING,
			 "image %s: was revoked without being closed cleanly: %s", image->path,
			 rest == -EAGAIN ? "its disk is too slow"
					 : "something could not be "
					   "written or punched out");
	return r;
}

int server_revoke(struct server *server, struct image *image, bool *ret_changed,
		  struct problem *problem)
{
	int r;

	*ret_changed = false;
	if (!image->writable)
		return refuse_read_only(image, problem);
	if (image->super.revoked)
		return 0;
	*ret_changed = true;
	r = revoke(server, image, problem);
	if (r < 0)
		log_line(LOG_LEVEL_ERROR, "%s", problem->text);
	return r;
}

/* ---- restore ---- */

static int restore(struct server *server, struct image *image, const struct key_secret *secret,
		   struct problem *problem)
{
	int r = image_restore_keys(image, secret, problem);

	if (r < 0)
		return r;
	r = errand_run(server, image, learn, image);
	if (r < 0)
		problem_set(problem, "image", image->path, "a worker cannot take its keys: %s",
			    strerror(-r));
	else
		r = image_restore_finish(image, problem);
	if (r < 0) {
		(void)errand_run(server, image, forget, NULL);
		image_forget_keys(image);
		return r;
	}
	atomic_store(&image->disk.revoked, false);
	return 0;
}

int server_restore(struct server *server, struct image *image, const struct key_secret *secret,
		   bool *ret_changed, struct problem *problem)
{
	int r;

	*ret_changed = image->super.revoked;
	if (!image->writable)
		return refuse_read_only(image, problem);
	if (!image->super.revoked)
		return image_check_key(image, secret, problem);
	r = restore(server, image, secret, problem);
	if (r == 0)
		log_line(LOG_LEVEL_INFO, "image %s: its keys are restored: I/O goes on",
			 image->path);
	else if (r != -EKEYREJECTED)
		log_line(LOG_LEVEL_ERROR, "%s", problem->text);
	return r;
}
