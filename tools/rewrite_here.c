/* SPDX-License-Identifier: MIT */
/* The rewriter in a tool: see rewrite_here.h. */
#include "rewrite_here.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "image/rewriter.h"

enum {
	TICK_MS = 100,
};

/* The only way to hear of a signal between two pieces. */
static volatile sig_atomic_t interrupted;

static void interrupt(int signal_number)
{
	(void)signal_number;
	interrupted = 1;
}

static uint64_t clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* ---- orders ---- */

static void drained(struct waiter *waiter)
{
	(void)waiter;
}

/* Nobody writes: there is nothing to wait for. */
static int new_plane(struct image *image, struct problem *problem)
{
	struct waiter waiter = { .wake = drained };
	int r;

	map_switch_begin(&image->disk.map, &image->lane, &waiter);
	r = image_turn(image);
	if (r == 0)
		r = image_switch(image, IMAGE_TARGET_NEW_PLANE, (uint64_t)time(NULL), problem);
	else
		problem_set(problem, "image", image->path, "cannot switch planes: %s",
			    strerror(-r));
	map_switch_end(&image->disk.map, image->super.current_plane);
	return r;
}

int rewrite_order_here(struct session *session, const struct rewrite_order *order,
		       struct problem *problem)
{
	struct image *image = session->image;
	int r = 0;

	if (order->action != REWRITE_START)
		return image_rewrite_pause(image, order->which, order->action == REWRITE_PAUSE,
					   problem);
	if (order->which == SEAL_REWRITE_REKEY && !(image->super.rewrites & SEAL_REWRITE_REKEY)) {
		r = image_rekey_check(image, order, problem);
		if (r == 0)
			r = new_plane(image, problem);
		if (r == 0)
			r = image_renew_key(image, order->secret, problem);
	}
	return r == 0 ? image_rewrite_start(image, order->which, problem) : r;
}

/* ---- running ---- */

static int finish(struct rewriter *rewriter, struct problem *problem)
{
	uint32_t gone = 0;
	int r = image_rewrite_finish(rewriter->image, rewriter->jobs, rewriter->entries, &gone,
				     problem);

	if (r == 0)
		image_lane_forget(rewriter->lane, gone);
	return r;
}

static void pause_ms(int ms)
{
	const struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	nanosleep(&pause, NULL);
}

/* Returns 1 when all is done, 0 to go on. */
static int turn(struct rewriter *rewriter, struct ring *ring, struct problem *problem)
{
	struct image *image = rewriter->image;
	int wait_ms = rewriter_turn(rewriter);
	int r = 0;

	if (rewriter->phase == REWRITER_IDLE)
		return 1;
	if (rewriter->phase == REWRITER_LOOK)
		r = rewriter_look(rewriter, ring);
	if (r == 0 && rewriter->phase == REWRITER_READY)
		return finish(rewriter, problem);
	map_tick(&image->disk.map, &image->lane, clock_us() / 1000);
	if (r == 0)
		r = image_turn(image);
	if (r < 0) {
		problem_set(problem, "image", image->path, "%s", strerror(-r));
		return r;
	}
	if (wait_ms > 0 && image->ring->nr_in_flight == 0)
		pause_ms(wait_ms < TICK_MS ? wait_ms : TICK_MS);
	return 0;
}

static int why_not(const struct image *image, struct problem *problem)
{
	const int error = atomic_load(&image->rewrite.error);

	if (atomic_load(&image->disk.map.failed)) {
		problem_set(problem, "image", image->path, "writing to it failed: %s",
			    strerror(-image->disk.map.failed_error));
		return -EIO;
	}
	if (error)
		problem_set(problem, "image", image->path,
			    "%llu bytes could not be rewritten: %s; all data is where it was, ask "
			    "again to go on",
			    (unsigned long long)sectors_to_bytes(
				    atomic_load(&image->rewrite.failed_sectors)),
			    strerror(-error));
	return error;
}

static int run(struct rewriter *rewriter, struct ring *ring, const struct tool_options *options,
	       const char *what, struct problem *problem)
{
	const struct image *image = rewriter->image;
	struct progress progress;
	int r = 0;

	progress_begin(&progress, options->progress, what);
	while (r == 0) {
		r = turn(rewriter, ring, problem);
		progress_show(&progress, sectors_to_bytes(atomic_load(&image->rewrite.at_sector)),
			      sectors_to_bytes(image->disk.nr_sectors));
		if (r == 0)
			r = why_not(image, problem);
		if (r == 0 && interrupted) {
			problem_set(problem, "image", image->path,
				    "interrupted: ask again to go on, or serve it");
			r = -EINTR;
		}
	}
	progress_end(&progress);
	rewriter_stop(rewriter);
	while (rewriter_is_busy(rewriter) && image_turn(rewriter->image) == 0)
		;
	return r > 0 ? 0 : r;
}

int rewrite_run_here(struct session *session, const struct tool_options *options, const char *what,
		     struct problem *problem)
{
	const struct sigaction catch = { .sa_handler = interrupt };
	struct rewriter *rewriter = calloc(1, sizeof(*rewriter));
	struct rewriter_work *work = mmap(NULL, sizeof(*work), PROT_READ | PROT_WRITE,
					  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct ring *ring = NULL;
	int r = rewriter && work != MAP_FAILED ? ring_sync_new(&ring) : -ENOMEM;

	if (r < 0) {
		problem_set(problem, "image", options->image, "no memory to rewrite it");
	} else {
		sigaction(SIGINT, &catch, NULL);
		sigaction(SIGTERM, &catch, NULL);
		rewriter_init(rewriter, session->image, &session->image->lane, clock_us, work);
		if (options->has_max_rate)
			atomic_store(&session->image->rewrite.max_rate, options->max_rate);
		r = run(rewriter, ring, options, what, problem);
	}
	ring_free(ring);
	if (work != MAP_FAILED)
		munmap(work, sizeof(*work));
	free(rewriter);
	return r;
}
