/* SPDX-License-Identifier: MIT */
/*
 * Moments of disks that are being served: see moment.h. The disk itself is read by the
 * worker in the background, and what clients have overwritten since, from the scratch file.
 */
#include "moment.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "errand.h"
#include "hold.h"
#include "nbd/reply.h"
#include "request/moment.h"
#include "revoke.h"
#include "worker.h"

enum {
	LOOK_US = 200,			      /* until a chunk has come to rest */
	EXTENT_SECTORS = GIB >> SECTOR_SHIFT, /* looked at for one answer */
};

/* One that is held. Mapped: most of it is buffers. */
struct held {
	struct control_moment control;
	struct server *server;
	struct ring *ring; /* for the scratch file */
	int scratch_fd;
	void *states;
	size_t states_bytes;

	/* What the background's worker is asked. */
	struct inbox_item item;
	struct request request;
	sem_t done;
	uint8_t extents[REQ_CONTEXTS * REQ_EXTENTS_MAX * NBDS_EXTENT_BYTES_MAX];
	uint8_t data[MOMENT_READ_BYTES_MAX] __attribute__((aligned(4096)));

	struct moment moment;
};

static struct held *held_of(struct control_moment *moment)
{
	return CONTAINER_OF(moment, struct held, control);
}

static void pause_a_little(void)
{
	const struct timespec pause = { .tv_nsec = LOOK_US * 1000 };

	nanosleep(&pause, NULL);
}

/* ---- requests, by the worker in the background ---- */

static void start(struct inbox_item *item)
{
	req_start(&CONTAINER_OF(item, struct held, item)->request);
}

static void finished(struct request *request)
{
	sem_post(&CONTAINER_OF(request, struct held, request)->done);
}

/* Returns the request's error. */
static int run(struct held *held, const struct request *what)
{
	struct server *server = held->server;
	struct worker *worker = &server->workers[server->nr_workers];
	unsigned int export = 0;

	while (server->images[export] != held->control.image)
		export ++;
	held->request = *what;
	held->request.lane = &worker->lanes[export];
	held->request.done = finished;
	held->item.deliver = start;
	worker_post(worker, &held->item);
	while (sem_wait(&held->done) < 0)
		;
	return held->request.error;
}

/* ---- extents ---- */

/* The first run of whole chunks that are all a hole, or are not. */
static void find_run(const struct held *held, bool *ret_hole, uint64_t *ret_sectors)
{
	const struct request *request = &held->request;
	const uint8_t *extents = request->extents[REQ_CONTEXT_ALLOCATION];
	const uint64_t disk_end = held->moment.disk->nr_sectors;
	uint64_t at = request->first_sector;

	*ret_hole = false;
	for (uint32_t i = 0; i < request->nr_extents[REQ_CONTEXT_ALLOCATION]; i++) {
		struct nbd_extent_ext extent;
		uint64_t first, end;

		memcpy(&extent, extents + i * sizeof(extent), sizeof(extent));
		first = round_up(at, MOMENT_CHUNK_SECTORS);
		at += bytes_to_sectors(be64_get(extent.extent_bytes));
		end = at == disk_end ? at : at - at % MOMENT_CHUNK_SECTORS;
		if (!(be64_get(extent.state) & NBD_STATE_ZERO) || first >= end)
			continue;
		*ret_hole = first == request->first_sector;
		*ret_sectors = (*ret_hole ? end : first) - request->first_sector;
		return;
	}
	if (at < disk_end)
		at -= at % MOMENT_CHUNK_SECTORS;
	*ret_sectors = at - request->first_sector;
}

/* Was it a hole then? @now: it is one now. */
static bool was_hole(const struct moment *moment, uint64_t chunk, bool now)
{
	switch (moment_look(moment, chunk)) {
	case MOMENT_ZERO:
		return true;
	case MOMENT_BUSY:
	case MOMENT_IN_BUFFER:
	case MOMENT_IN_SCRATCH:
		return false;
	case MOMENT_ON_DISK:
	case MOMENT_GIVEN:
		break;
	}
	return now;
}

/* Looked at after the map: whoever has changed that since has kept the chunk before. */
static void look_back(const struct moment *moment, uint64_t first_sector, bool *ret_hole,
		      uint64_t *ret_sectors)
{
	const uint64_t first = first_sector / MOMENT_CHUNK_SECTORS;
	const uint64_t end = (first_sector + *ret_sectors - 1) / MOMENT_CHUNK_SECTORS + 1;
	const bool now = *ret_hole;
	uint64_t at = first + 1;

	*ret_hole = was_hole(moment, first, now);
	while (at < end && was_hole(moment, at, now) == *ret_hole)
		at++;
	*ret_sectors = min_u64(*ret_sectors, (at - first) * MOMENT_CHUNK_SECTORS);
}

static int extent(struct control_moment *control, uint64_t first_sector, bool *ret_hole,
		  uint64_t *ret_sectors)
{
	struct held *held = held_of(control);
	struct moment *moment = &held->moment;
	const struct request what = {
		.op = REQ_STATUS,
		.first_sector = first_sector,
		.nr_sectors = min_u64(moment->disk->nr_sectors - first_sector, EXTENT_SECTORS),
		.wide_extents = true,
		.wanted[REQ_CONTEXT_ALLOCATION] = true,
		.data = held->extents,
	};
	int r = moment->error;

	if (r == 0)
		r = run(held, &what);
	if (r < 0)
		return r;
	find_run(held, ret_hole, ret_sectors);
	look_back(moment, first_sector, ret_hole, ret_sectors);
	return 0;
}

/* ---- reading ---- */

static int read_scratch(struct held *held, uint64_t chunk, uint8_t *data)
{
	struct ring_op op = {
		.kind = RING_READ,
		.fd = held->scratch_fd,
		.offset_bytes = chunk * MOMENT_CHUNK_BYTES,
		.data = data,
		.bytes = (uint32_t)sectors_to_bytes(moment_chunk_sectors(&held->moment, chunk)),
	};
	int r = ring_run(held->ring, &op);

	return r < 0 ? r : moment_unseal(&held->moment, chunk, data);
}

/* Where it is: it stays there. */
static int settle(struct held *held, uint64_t chunk, enum moment_state *ret_state)
{
	int r;

	while ((r = moment_give(&held->moment, chunk, ret_state)) == 0 &&
	       (*ret_state == MOMENT_BUSY || *ret_state == MOMENT_IN_BUFFER)) {
		if (atomic_load(&held->server->stopping))
			return -ESHUTDOWN;
		pause_a_little();
	}
	return r;
}

/* @data: what the disk holds now. */
static int read_chunk(struct held *held, uint64_t chunk, uint8_t *data)
{
	enum moment_state state;
	int r = settle(held, chunk, &state);

	if (r < 0)
		return r;
	switch (state) {
	case MOMENT_IN_SCRATCH:
		return read_scratch(held, chunk, data);
	case MOMENT_ZERO:
		memset(data, 0, sectors_to_bytes(moment_chunk_sectors(&held->moment, chunk)));
		return 0;
	case MOMENT_GIVEN:
		return -ENODATA;
	case MOMENT_ON_DISK:
	case MOMENT_BUSY:
	case MOMENT_IN_BUFFER:
		break;
	}
	return 0;
}

static bool any_on_disk(const struct moment *moment, uint64_t first, uint64_t end)
{
	while (first < end && moment_look(moment, first) != MOMENT_ON_DISK)
		first++;
	return first < end;
}

static int read_chunks(struct control_moment *control, uint64_t first_sector, uint32_t nr_sectors,
		       const uint8_t **ret_data)
{
	struct held *held = held_of(control);
	const uint64_t first = first_sector / MOMENT_CHUNK_SECTORS;
	const uint64_t end = (first_sector + nr_sectors - 1) / MOMENT_CHUNK_SECTORS + 1;
	const struct request what = {
		.op = REQ_READ,
		.first_sector = first_sector,
		.nr_sectors = nr_sectors,
		.data = held->data,
	};
	int r = 0;

	if (any_on_disk(&held->moment, first, end))
		r = run(held, &what);
	for (uint64_t chunk = first; chunk < end && r == 0; chunk++)
		r = read_chunk(held, chunk, held->data + (chunk - first) * MOMENT_CHUNK_BYTES);
	*ret_data = held->data;
	return r;
}

static int check(struct control_moment *control)
{
	return held_of(control)->moment.error;
}

/* ---- the beginning ---- */

static int refuse(const struct server *server, const struct image *image, struct problem *problem)
{
	if (image->super.revoked)
		return server_refuse_revoked(image, problem);
	if (atomic_load(&image->disk.moment)) {
		problem_set(problem, "image", image->path,
			    "is being exported already: one export at a time");
		return -EBUSY;
	}
	/* What goes to a scratch file would stand in the trace as well, in plain sight. */
	if (server->trace) {
		problem_set(problem, "image", image->path, "its daemon was started with --trace");
		return -EOPNOTSUPP;
	}
	return 0;
}

static int check_scratch(int fd, const struct image *image, struct problem *problem)
{
	const int flags = fcntl(fd, F_GETFL);
	struct stat st;

	if (flags >= 0 && (flags & O_ACCMODE) == O_RDWR && !(flags & (O_APPEND | O_DIRECT)) &&
	    fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0)
		return 0;
	problem_set(problem, "image", image->path,
		    "its daemon: a scratch file is empty, and open for reading and writing");
	return -EINVAL;
}

static void *map_memory(size_t nr_bytes)
{
	void *memory = mmap(NULL, nr_bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	(void)madvise(memory, nr_bytes, MADV_DONTDUMP);
	return memory;
}

/* Owns the scratch file. Accepts one that is set up in part. */
static void free_held(struct held *held)
{
	moment_done(&held->moment);
	if (held->states)
		munmap(held->states, held->states_bytes);
	ring_free(held->ring);
	sem_destroy(&held->done);
	close(held->scratch_fd);
	munmap(held, sizeof(*held));
}

static int set_up(struct held *held)
{
	struct image *image = held->control.image;
	int r;

	held->states_bytes = moment_nr_chunks(&image->disk);
	held->states = map_memory(held->states_bytes);
	if (!held->states)
		return -ENOMEM;
	r = ring_sync_new(&held->ring);
	return r < 0 ? r
		     : moment_init(&held->moment, &image->disk, image->xts, held->scratch_fd,
				   held->states);
}

/* Owns @scratch_fd. */
static int make_held(struct server *server, struct image *image, int scratch_fd,
		     struct held **ret_held)
{
	struct held *held = map_memory(sizeof(*held));
	int r;

	if (!held) {
		close(scratch_fd);
		return -ENOMEM;
	}
	held->server = server;
	held->control.image = image;
	held->scratch_fd = scratch_fd;
	sem_init(&held->done, 0, 0);
	r = set_up(held);
	if (r < 0)
		free_held(held);
	else
		*ret_held = held;
	return r;
}

static int begin(void *arg, struct image *image, int scratch_fd, struct control_moment **ret_moment,
		 struct problem *problem)
{
	struct server *server = arg;
	struct held *held;
	int r = refuse(server, image, problem);

	if (r == 0)
		r = check_scratch(scratch_fd, image, problem);
	if (r < 0) {
		close(scratch_fd);
		return r;
	}
	r = make_held(server, image, scratch_fd, &held);
	if (r < 0) {
		problem_set(problem, "image", image->path, "its daemon cannot hold it still: %s",
			    strerror(-r));
		return r;
	}
	server_hold_writes(image);
	image_find_origin(image, &held->control.origin);
	atomic_store(&image->disk.moment, &held->moment);
	server_release_writes(image);
	log_line(LOG_LEVEL_INFO, "image %s: is being exported", image->path);
	*ret_moment = &held->control;
	return 0;
}

/* ---- the end ---- */

static int pass_by(void *arg, struct lane *lane)
{
	(void)arg;
	(void)lane;
	return 0;
}

/* Of a disk that hangs, too: nobody but this thread waits for what is under way. */
static void take_away(struct held *held)
{
	struct image *image = held->control.image;

	moment_give_up(&held->moment, -ECANCELED);
	atomic_store(&image->disk.moment, NULL);
	pthread_mutex_lock(&held->server->changes);
	(void)errand_run(held->server, image, pass_by, NULL);
	pthread_mutex_unlock(&held->server->changes);
	while (!moment_is_idle(&held->moment))
		pause_a_little();
}

static void end(struct control_moment *control)
{
	struct held *held;
	int why;

	if (!control)
		return;
	held = held_of(control);
	why = held->moment.error;
	take_away(held);
	if (why)
		log_line(LOG_LEVEL_WARNING, "image %s: its export was given up: %s",
			 control->image->path, strerror(-why));
	else
		log_line(LOG_LEVEL_INFO, "image %s: its export has ended", control->image->path);
	free_held(held);
}

void server_moment_revoke(struct image *image)
{
	struct moment *moment = atomic_load(&image->disk.moment);

	if (moment)
		moment_give_up(moment, -EPERM);
}

const struct control_moments server_moments = {
	.begin = begin,
	.extent = extent,
	.read = read_chunks,
	.check = check,
	.end = end,
};
