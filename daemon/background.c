/* SPDX-License-Identifier: MIT */
/* Rewriting images while they are served: see background.h. */
#include "background.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/log.h"
#include "control/report.h"
#include "errand.h"
#include "image/rewriter.h"
#include "worker.h"

enum {
	BUSY_MS = 20,	    /* somebody changes something: look again */
	PROGRESS_MS = 1000, /* between two events */
};

/* One image. */
struct chore {
	struct rewriter rewriter;
	uint32_t jobs_told;
	uint64_t progress_us; /* when it was told last, and ... */
	uint64_t at_sector;   /* ... how far it was */
};

struct background {
	struct server *server;
	struct worker *worker;
	struct ring *ring;    /* to look at slots: blocking, without disturbing what is in flight */
	struct chore *chores; /* by export */
	struct rewriter_work *works; /* likewise, touched as they are used */
};

static uint64_t clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* ---- telling ---- */

static const char *name_of(uint32_t jobs)
{
	if (jobs == SEAL_REWRITE_ENCRYPT)
		return "encrypt";
	return jobs == SEAL_REWRITE_REKEY ? "rekey" : "encrypt and rekey";
}

static void publish(struct background *background, const struct image *image, const char *event)
{
	json_t *object = report_rewrite_json(image);

	if (object && json_object_set_new(object, "event", json_string(event)) < 0) {
		json_decref(object);
		object = NULL;
	}
	control_publish(&background->server->events, image, object);
}

static void tell_progress(struct background *background, struct chore *chore)
{
	struct image *image = chore->rewriter.image;
	uint64_t now_us, passed_us, at_sector;

	if (chore->rewriter.phase == REWRITER_IDLE)
		return;
	now_us = clock_us();
	passed_us = now_us - chore->progress_us;
	if (passed_us < PROGRESS_MS * 1000)
		return;
	at_sector = atomic_load(&image->rewrite.at_sector);
	atomic_store(&image->rewrite.sectors_s,
		     at_sector > chore->at_sector
			     ? (at_sector - chore->at_sector) * 1000000 / passed_us
			     : 0);
	chore->progress_us = now_us;
	chore->at_sector = at_sector;
	publish(background, image, "rewrite-progress");
}

static void tell_change(struct background *background, struct chore *chore)
{
	const struct image *image = chore->rewriter.image;
	const uint32_t jobs = atomic_load(&image->rewrite.jobs);

	if (jobs == chore->jobs_told)
		return;
	if (jobs & ~chore->jobs_told)
		log_line(LOG_LEVEL_INFO, "image %s: %s goes on in the background", image->path,
			 name_of(jobs & ~chore->jobs_told));
	chore->jobs_told = jobs;
	chore->progress_us = clock_us();
	chore->at_sector = 0;
	publish(background, image, "rewrite-state");
}

/* ---- the end of a rewrite ---- */

static int forget(void *arg, struct lane *lane)
{
	image_lane_forget(lane, *(const uint32_t *)arg);
	return 0;
}

static void finish(struct background *background, struct chore *chore)
{
	struct rewriter *rewriter = &chore->rewriter;
	struct image *image = rewriter->image;
	struct problem problem;
	uint32_t gone = 0;
	int r = image_rewrite_finish(image, rewriter->jobs, rewriter->entries, &gone, &problem);

	if (r == -EAGAIN)
		return;
	if (r < 0) {
		log_line(LOG_LEVEL_ERROR, "%s", problem.text);
		return;
	}
	if (gone) {
		image_lane_forget(&image->lane, gone);
		(void)errand_run(background->server, image, forget, &gone);
	}
	/* What was read is plaintext: it goes, and so does the memory. */
	(void)madvise(rewriter->work->data, sizeof(rewriter->work->data), MADV_DONTNEED);
	log_line(LOG_LEVEL_INFO, "image %s: %s is done", image->path, name_of(rewriter->jobs));
}

/* ---- turns ---- */

static int turn(struct background *background, struct chore *chore)
{
	struct rewriter *rewriter = &chore->rewriter;
	struct server *server = background->server;
	const int wait_ms = rewriter_turn(rewriter);

	if (rewriter->phase == REWRITER_LOOK) {
		if (rewriter_look(rewriter, background->ring) < 0)
			return BUSY_MS;
		return 0;
	}
	if (rewriter->phase != REWRITER_READY)
		return wait_ms;
	/* Who holds it may be waiting for an errand of ours. */
	if (pthread_mutex_trylock(&server->changes) != 0)
		return BUSY_MS;
	finish(background, chore);
	pthread_mutex_unlock(&server->changes);
	return 0;
}

int background_turn(struct background *background, int limit_ms)
{
	for (unsigned int i = 0; i < background->server->nr_exports; i++) {
		struct chore *chore = &background->chores[i];
		const int wait_ms = turn(background, chore);

		if (wait_ms >= 0 && wait_ms < limit_ms)
			limit_ms = wait_ms;
		tell_change(background, chore);
		tell_progress(background, chore);
	}
	return limit_ms;
}

bool background_stop(struct background *background)
{
	bool busy = false;

	for (unsigned int i = 0; i < background->server->nr_exports; i++) {
		rewriter_stop(&background->chores[i].rewriter);
		busy |= rewriter_is_busy(&background->chores[i].rewriter);
	}
	return !busy;
}

/* ---- making and unmaking ---- */

static size_t works_bytes(const struct background *background)
{
	return background->server->nr_exports * sizeof(*background->works);
}

static int set_up(struct background *background)
{
	const struct server *server = background->server;
	void *works = mmap(NULL, works_bytes(background), PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (works == MAP_FAILED)
		return -errno;
	background->works = works;
	background->chores = calloc(server->nr_exports, sizeof(*background->chores));
	if (!background->chores)
		return -ENOMEM;
	(void)madvise(works, works_bytes(background), MADV_DONTDUMP);
	for (unsigned int i = 0; i < server->nr_exports; i++)
		rewriter_init(&background->chores[i].rewriter, server->images[i],
			      &background->worker->lanes[i], clock_us, &background->works[i]);
	return ring_sync_new(&background->ring);
}

int background_new(struct server *server, struct worker *worker, struct background **ret_background)
{
	struct background *background = calloc(1, sizeof(*background));
	int r;

	if (!background)
		return -ENOMEM;
	background->server = server;
	background->worker = worker;
	r = set_up(background);
	if (r < 0)
		background = background_free(background);
	*ret_background = background;
	return r;
}

struct background *background_free(struct background *background)
{
	if (!background)
		return NULL;
	ring_free(background->ring);
	if (background->works)
		munmap(background->works, works_bytes(background));
	free(background->chores);
	free(background);
	return NULL;
}
