/* SPDX-License-Identifier: MIT */
/* Lanes for the threads of a tool: see lanes.h. */
#include "lanes.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "request/request.h"

enum {
	TICK_MS = 40,		       /* a hundred map blocks of a fast import */
	LEAVE_MS = 2,		       /* between looks whether the others have left */
	HUGE_MAP_BYTES_MAX = 32 << 20, /* of entries: of a disk of 32 GiB */
	DIRTY_BLOCKS_USED = 1024,      /* of 14 KiB each */
	MIXED_BLOCKS_MAX = 2048,       /* of a larger one, 4 KiB each */
};

struct lane_thread {
	struct lane lane;
	struct inbox inbox;
	struct ring *ring;
	int wake_fd; /* the inbox is no longer empty */
	struct request request;
	bool done;
	uint64_t ticked_ms;
	struct waiter flush;
	bool flushing;
	uint8_t *extents; /* the buffer of a STATUS */
};

static uint64_t clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- turns ---- */

static void notify(struct lane *lane)
{
	const struct lane_thread *thread = lane->worker;
	const uint64_t one = 1;

	/* Fails only when the counter is full: then it is awake anyway. */
	if (write(thread->wake_fd, &one, sizeof(one)) < 0)
		return;
}

static bool deliver(struct lane_thread *thread)
{
	struct inbox_item *item = inbox_take_all(&thread->inbox);
	const bool any = item != NULL;

	while (item) {
		struct inbox_item *next = item->next;

		item->deliver(item);
		item = next;
	}
	return any;
}

/* A failure is the next write's, too. */
static void flushed(struct waiter *waiter)
{
	CONTAINER_OF(waiter, struct lane_thread, flush)->flushing = false;
}

/*
 * What is written becomes durable beside the copying, where much would be left for the
 * end, and its dirty blocks are used again while they are in the processor's cache.
 */
static void flush(struct map *map, struct lane_thread *thread)
{
	if (thread->flushing || map_is_settled(map))
		return;
	thread->flush.wake = flushed;
	thread->flushing = map_flush(map, &thread->lane, &thread->flush) == 1;
}

/* The first lane's thread keeps the image's time. */
static void tick(struct lanes *lanes, struct lane_thread *thread)
{
	const uint64_t now_ms = clock_ms();

	if (thread != lanes->threads || now_ms < thread->ticked_ms + TICK_MS)
		return;
	thread->ticked_ms = now_ms;
	map_tick(&lanes->image->disk.map, &thread->lane, now_ms);
	flush(&lanes->image->disk.map, thread);
}

static void sleep_until_woken(struct lane_thread *thread, int timeout_ms)
{
	struct pollfd wake = { .fd = thread->wake_fd, .events = POLLIN };
	uint64_t count;

	if (poll(&wake, 1, timeout_ms) > 0 && read(thread->wake_fd, &count, sizeof(count)) < 0)
		return;
}

/* Returns false when there was nothing to do. */
static bool turn(struct lanes *lanes, struct lane_thread *thread)
{
	bool any = deliver(thread);

	tick(lanes, thread);
	if (thread->ring->nr_in_flight == 0)
		return any;
	/* What is in flight is unknown from here on: as good as a crash. */
	if (ring_wait(thread->ring, 0) < 0)
		abort();
	return true;
}

/* ---- requests ---- */

static void request_done(struct request *request)
{
	CONTAINER_OF(request, struct lane_thread, request)->done = true;
}

static int run(struct lanes *lanes, struct lane_thread *thread, const struct request *what)
{
	thread->request = *what;
	thread->request.lane = &thread->lane;
	thread->request.done = request_done;
	thread->done = false;
	req_start(&thread->request);
	while (!thread->done)
		if (!turn(lanes, thread) && !thread->done)
			sleep_until_woken(thread, TICK_MS);
	/* A round that began here must not wait for the next request. */
	while (turn(lanes, thread))
		;
	return thread->request.error;
}

int lanes_read(struct lanes *lanes, unsigned int thread, uint64_t first_sector, uint32_t nr_sectors,
	       uint8_t *ret_data)
{
	const struct request what = {
		.op = REQ_READ,
		.first_sector = first_sector,
		.nr_sectors = nr_sectors,
		.data = ret_data,
	};

	return run(lanes, &lanes->threads[thread], &what);
}

int lanes_write(struct lanes *lanes, unsigned int thread, uint64_t first_sector,
		uint32_t nr_sectors, uint8_t *data)
{
	const struct request what = {
		.op = REQ_WRITE,
		.first_sector = first_sector,
		.nr_sectors = nr_sectors,
		.data = data,
	};

	return run(lanes, &lanes->threads[thread], &what);
}

int lanes_zero(struct lanes *lanes, unsigned int thread, uint64_t first_sector, uint64_t nr_sectors)
{
	const struct request what = {
		.op = REQ_ZERO,
		.first_sector = first_sector,
		.nr_sectors = nr_sectors,
	};

	return run(lanes, &lanes->threads[thread], &what);
}

int lanes_extent(struct lanes *lanes, unsigned int thread, uint64_t first_sector,
		 uint64_t limit_sectors, bool *ret_hole, uint64_t *ret_sectors)
{
	struct lane_thread *mine = &lanes->threads[thread];
	const struct request what = {
		.op = REQ_STATUS,
		.first_sector = first_sector,
		.nr_sectors = limit_sectors,
		.wide_extents = true,
		.one_extent = true,
		.wanted[REQ_CONTEXT_ALLOCATION] = true,
		.data = mine->extents,
	};
	struct nbd_extent_ext extent;
	int r = run(lanes, mine, &what);

	if (r < 0)
		return r;
	memcpy(&extent, mine->request.extents[REQ_CONTEXT_ALLOCATION], sizeof(extent));
	*ret_hole = be64_get(extent.state) & NBD_STATE_ZERO;
	*ret_sectors = bytes_to_sectors(be64_get(extent.extent_bytes));
	return 0;
}

/* ---- the end ---- */

static bool is_over(const struct lanes *lanes, struct lane_thread *thread)
{
	return lanes->nr_left == COPY_THREADS && !map_is_busy(&lanes->image->disk.map) &&
	       thread->ring->nr_in_flight == 0 && !inbox_has_items(&thread->inbox);
}

void lanes_leave(struct lanes *lanes, unsigned int thread, bool wait)
{
	lanes->nr_left++;
	while (wait && !is_over(lanes, &lanes->threads[thread]))
		if (!turn(lanes, &lanes->threads[thread]))
			sleep_until_woken(&lanes->threads[thread], LEAVE_MS);
}

static int init_thread(struct lane_thread *thread, struct image *image, const struct xts_ops *xts)
{
	int r;

	inbox_init(&thread->inbox);
	thread->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (thread->wake_fd < 0)
		return -errno;
	thread->extents = malloc(req_buffer_bytes(REQ_STATUS, false, 1));
	if (!thread->extents)
		return -ENOMEM;
	r = ring_sync_new(&thread->ring);
	if (r == 0)
		r = image_lane_init(image, &thread->lane, xts);
	thread->lane.ring = thread->ring;
	thread->lane.inbox = &thread->inbox;
	thread->lane.notify = notify;
	thread->lane.worker = thread;
	return r;
}

/*
 * A disk that is copied touches nearly all of its map once, one page fault for each block,
 * under the map's lock: where page faults are dear (a host that keeps tables for its
 * guest), 20 us of 200 for a piece. All of a small disk's map may stay in memory; of a
 * larger one what was passed is not needed again.
 */
static void limit_memory(struct image *image)
{
	const uint64_t bytes = map_entries_bytes(image->disk.nr_sectors);
	struct map_config *config = &image->disk.map.config;

	config->dirty_blocks_spare = DIRTY_BLOCKS_MAX - DIRTY_BLOCKS_USED;
	config->mixed_blocks_max = MIXED_BLOCKS_MAX;
	if (bytes <= HUGE_MAP_BYTES_MAX &&
	    madvise(image->entries_memory, bytes, MADV_HUGEPAGE) == 0)
		config->give_pages_back = NULL;
}

int lanes_init(struct lanes *lanes, struct image *image, struct problem *problem)
{
	const struct xts_ops *xts;
	bool fell_back;
	int r = xts_select("auto", &xts, &fell_back);

	*lanes = (struct lanes){ .image = image };
	if (r == 0) {
		lanes->threads = calloc(COPY_THREADS, sizeof(*lanes->threads));
		r = lanes->threads ? 0 : -ENOMEM;
	}
	for (unsigned int i = 0; lanes->threads && i < COPY_THREADS; i++)
		lanes->threads[i].wake_fd = -1;
	for (unsigned int i = 0; i < COPY_THREADS && r == 0; i++) {
		r = init_thread(&lanes->threads[i], image, xts);
		lanes->of_threads[i] = &lanes->threads[i].lane;
	}
	if (r < 0) {
		lanes_done(lanes);
		problem_set(problem, "image", image->path, "cannot set up its keys: %s",
			    strerror(-r));
		return r;
	}
	limit_memory(image);
	map_set_lanes(&image->disk.map, lanes->of_threads, COPY_THREADS);
	return 0;
}

void lanes_done(struct lanes *lanes)
{
	if (!lanes->threads)
		return;
	map_set_lanes(&lanes->image->disk.map, &lanes->image->only_lane, 1);
	for (unsigned int i = 0; i < COPY_THREADS; i++) {
		struct lane_thread *thread = &lanes->threads[i];

		image_lane_done(&thread->lane);
		ring_free(thread->ring);
		free(thread->extents);
		if (thread->wake_fd >= 0)
			close(thread->wake_fd);
	}
	free(lanes->threads);
	lanes->threads = NULL;
}
