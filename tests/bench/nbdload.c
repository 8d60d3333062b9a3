/* SPDX-License-Identifier: MIT */
/*
 * A load for an NBD server through libnbd: keeps a number of requests in flight
 * on one or more connections and prints what came of it, as one line of
 * "name value" pairs. Sequential offsets wrap at the end of the disk; random ones
 * are multiples of the block size from a fixed seed, so that two servers get the
 * same load. "freshwrite" goes to each block of the disk once, scattered, and then
 * ends. Latencies are from submission to completion; a writeflush is both.
 */
#include <errno.h>
#include <libnbd.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	CONNS_MAX = 16,
	DEPTH_MAX = 256,
	STEPS = 32, /* of the histogram between a power of two and the next */
	BUCKETS = 64 * STEPS,
};

struct load {
	bool write;
	bool random;
	bool flush_each;
	bool once; /* each block */
	uint64_t block_bytes;
	unsigned int depth;
	unsigned int nr_conns;
	double seconds;
	uint64_t limit_bytes; /* 0: only the time ends it */
};

struct lane {
	struct nbd_handle *nbd;
	uint8_t *buffers;
	unsigned int nr_in_flight;
	unsigned int free_slots[DEPTH_MAX];
	unsigned int nr_free;
	unsigned int flush_slots[DEPTH_MAX]; /* written, to be flushed */
	unsigned int nr_to_flush;
};

struct slot_of {
	struct lane *lane;
	unsigned int slot;
	double start_s;
};

static struct load load;
static struct lane lanes[CONNS_MAX];
static struct slot_of slots[CONNS_MAX][DEPTH_MAX];
static uint64_t disk_bytes, next_offset, nr_done, nr_started;
static uint64_t seed = 88172645463325252u;
static uint64_t latencies[BUCKETS]; /* by nanoseconds */

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "nbdload: %s: %s\n", what, nbd_get_error());
	exit(1);
}

/* ---- latencies ---- */

static void count_latency(double seconds)
{
	uint64_t ns = (uint64_t)(seconds * 1e9) | 1;
	unsigned int exponent = 63 - (unsigned int)__builtin_clzll(ns);
	unsigned int step = (unsigned int)((double)(ns - (1ull << exponent)) /
					   (double)(1ull << exponent) * STEPS);

	latencies[exponent * STEPS + step]++;
}

/* Microseconds that @share of all requests took at most. */
static double quantile_us(double share)
{
	uint64_t left = (uint64_t)((double)nr_done * share);
	unsigned int i = 0;

	while (i < BUCKETS - 1 && latencies[i] <= left)
		left -= latencies[i++];
	return (double)(1ull << i / STEPS) * (1 + (double)(i % STEPS + 1) / STEPS) / 1e3;
}

/* ---- requests ---- */

static uint64_t pick_offset(void)
{
	uint64_t nr_blocks = disk_bytes / load.block_bytes;
	uint64_t offset;

	/* A prime that no disk's number of blocks is a multiple of: each comes once. */
	if (load.once)
		return nr_started * 2654435761u % nr_blocks * load.block_bytes;
	if (load.random) {
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		return seed % nr_blocks * load.block_bytes;
	}
	offset = next_offset;
	next_offset += load.block_bytes;
	if (next_offset + load.block_bytes > disk_bytes)
		next_offset = 0;
	return offset;
}

static int finish(void *user_data, int *error)
{
	struct slot_of *s = user_data;

	if (*error) {
		fprintf(stderr, "nbdload: request failed: %s\n", strerror(*error));
		exit(1);
	}
	s->lane->free_slots[s->lane->nr_free++] = s->slot;
	s->lane->nr_in_flight--;
	nr_done++;
	count_latency(now_s() - s->start_s);
	return 1;
}

/* No call into libnbd is allowed from here: the flush goes out at the next turn. */
static int finish_write(void *user_data, int *error)
{
	struct slot_of *s = user_data;

	if (*error || !load.flush_each)
		return finish(user_data, error);
	s->lane->flush_slots[s->lane->nr_to_flush++] = s->slot;
	return 1;
}

static void flush_one(struct lane *lane)
{
	struct slot_of *s = &slots[lane - lanes][lane->flush_slots[--lane->nr_to_flush]];
	nbd_completion_callback done = { .callback = finish, .user_data = s };

	if (nbd_aio_flush(lane->nbd, done, 0) < 0)
		die("flush");
}

static int ignore_chunk(void *user_data, const void *data, size_t count, uint64_t offset,
			unsigned int status, int *error)
{
	(void)user_data, (void)data, (void)count, (void)offset, (void)status, (void)error;
	return 0;
}

static void start_one(struct lane *lane)
{
	unsigned int slot = lane->free_slots[--lane->nr_free];
	uint8_t *buffer = lane->buffers + slot * load.block_bytes;
	struct slot_of *s = &slots[lane - lanes][slot];
	nbd_completion_callback done = { .callback = finish_write, .user_data = s };
	nbd_completion_callback read_done = { .callback = finish, .user_data = s };
	nbd_chunk_callback chunk = { .callback = ignore_chunk };
	int64_t r;

	*s = (struct slot_of){ lane, slot, now_s() };
	lane->nr_in_flight++;
	nr_started++;
	if (load.write)
		r = nbd_aio_pwrite(lane->nbd, buffer, load.block_bytes, pick_offset(), done, 0);
	else
		r = nbd_aio_pread_structured(lane->nbd, buffer, load.block_bytes, pick_offset(),
					     chunk, read_done, 0);
	if (r < 0)
		die("request");
}

static bool wants_more(double end_s)
{
	if (load.limit_bytes && nr_started * load.block_bytes >= load.limit_bytes)
		return false;
	return now_s() < end_s;
}

static void turn(void)
{
	struct pollfd fds[CONNS_MAX];

	for (unsigned int i = 0; i < load.nr_conns; i++) {
		unsigned int dir = nbd_aio_get_direction(lanes[i].nbd);

		fds[i] = (struct pollfd){ .fd = nbd_aio_get_fd(lanes[i].nbd) };
		if (dir & LIBNBD_AIO_DIRECTION_READ)
			fds[i].events |= POLLIN;
		if (dir & LIBNBD_AIO_DIRECTION_WRITE)
			fds[i].events |= POLLOUT;
	}
	if (poll(fds, load.nr_conns, -1) < 0 && errno != EINTR)
		exit(1);
	for (unsigned int i = 0; i < load.nr_conns; i++) {
		if (fds[i].revents & (POLLIN | POLLHUP) && nbd_aio_notify_read(lanes[i].nbd) < 0)
			die("read");
		if (fds[i].revents & POLLOUT &&
		    nbd_aio_get_direction(lanes[i].nbd) & LIBNBD_AIO_DIRECTION_WRITE &&
		    nbd_aio_notify_write(lanes[i].nbd) < 0)
			die("write");
	}
}

static bool run_down(double end_s)
{
	bool busy = false;

	for (unsigned int i = 0; i < load.nr_conns; i++) {
		struct lane *lane = &lanes[i];

		while (lane->nr_to_flush > 0)
			flush_one(lane);
		while (lane->nr_free > 0 && wants_more(end_s))
			start_one(lane);
		busy |= lane->nr_in_flight > 0;
	}
	return busy;
}

static void connect_all(const char *uri)
{
	for (unsigned int i = 0; i < load.nr_conns; i++) {
		struct lane *lane = &lanes[i];

		lane->nbd = nbd_create();
		if (!lane->nbd || nbd_connect_uri(lane->nbd, uri) < 0)
			die("connect");
		lane->buffers = aligned_alloc(4096, load.block_bytes * load.depth);
		if (!lane->buffers)
			exit(1);
		for (uint64_t b = 0; b < load.block_bytes * load.depth; b += 8)
			memcpy(lane->buffers + b, &(uint64_t){ b * 0x9e3779b97f4a7c15u }, 8);
		for (unsigned int s = 0; s < load.depth; s++)
			lane->free_slots[lane->nr_free++] = s;
	}
	disk_bytes = (uint64_t)nbd_get_size(lanes[0].nbd);
	if (load.once)
		load.limit_bytes = disk_bytes / load.block_bytes * load.block_bytes;
}

int main(int argc, char **argv)
{
	double start, elapsed;

	if (argc != 8) {
		fprintf(stderr,
			"usage: nbdload URI read|write|randread|randwrite|freshwrite|writeflush "
			"BLOCK DEPTH CONNS SECONDS LIMIT_BYTES\n");
		return 2;
	}
	load.write = strstr(argv[2], "write") != NULL;
	load.random = strncmp(argv[2], "rand", 4) == 0 || strcmp(argv[2], "writeflush") == 0;
	load.flush_each = strcmp(argv[2], "writeflush") == 0;
	load.once = strcmp(argv[2], "freshwrite") == 0;
	load.block_bytes = strtoull(argv[3], NULL, 10);
	load.depth = (unsigned int)strtoul(argv[4], NULL, 10);
	load.nr_conns = (unsigned int)strtoul(argv[5], NULL, 10);
	load.seconds = strtod(argv[6], NULL);
	load.limit_bytes = strtoull(argv[7], NULL, 10);
	if (load.depth == 0 || load.depth > DEPTH_MAX || load.nr_conns == 0 ||
	    load.nr_conns > CONNS_MAX || load.block_bytes == 0)
		return 2;
	connect_all(argv[1]);
	start = now_s();
	while (run_down(start + load.seconds))
		turn();
	elapsed = now_s() - start;
	printf("seconds %.3f requests %llu mb_s %.1f kiops %.2f p50_us %.1f p99_us %.1f\n", elapsed,
	       (unsigned long long)nr_done, (double)(nr_done * load.block_bytes) / elapsed / 1e6,
	       (double)nr_done / elapsed / 1e3, quantile_us(0.5), quantile_us(0.99));
	return 0;
}
