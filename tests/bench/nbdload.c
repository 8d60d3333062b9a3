/* SPDX-License-Identifier: MIT */
/*
 * A load for an NBD server through libnbd: keeps a number of requests in flight
 * on one or more connections and prints what came of it, as one line of
 * "name value" pairs. Sequential offsets wrap at the end of the disk; random ones
 * are multiples of the block size from a fixed seed, so that two servers get the
 * same load. A load "-once" comes to each block of the disk once at most, and ends
 * with the last one: over a base, each of its writes is a first write.
 *
 * A latency is the time from handing a request to libnbd to its completion there; of
 * "writeflush", to the completion of the flush that follows the write.
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
	/* Latencies are counted in nanoseconds, in steps of 1/32 of a power of two. */
	STEP_BITS = 5,
	LATENCY_STEPS = 64 << STEP_BITS,
};

struct load {
	bool write;
	bool random;
	bool flush_each;
	bool once;
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
	uint64_t start_ns;
};

/* What the words of the command line stand for; "-once" may follow each. */
static const struct kind {
	const char *name;
	bool write, random, flush_each;
} kinds[] = {
	{ "read", .random = false },
	{ "write", .write = true },
	{ "randread", .random = true },
	{ "randwrite", .write = true, .random = true },
	{ "writeflush", .write = true, .random = true, .flush_each = true },
};

static struct load load;
static struct lane lanes[CONNS_MAX];
static struct slot_of slots[CONNS_MAX][DEPTH_MAX];
static uint64_t disk_bytes, next_offset, nr_done, nr_started;
static uint64_t seed = 88172645463325252u;
static uint32_t *order; /* of the blocks, when each comes once */
static uint64_t latencies[LATENCY_STEPS];

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "nbdload: %s: %s\n", what, nbd_get_error());
	exit(1);
}

/* ---- latencies ---- */

static void count_latency(uint64_t ns)
{
	unsigned int power;

	if (ns < 1 << STEP_BITS)
		ns = 1 << STEP_BITS;
	power = 63 - (unsigned int)__builtin_clzll(ns);
	latencies[(power << STEP_BITS) + ((ns >> (power - STEP_BITS)) & ((1 << STEP_BITS) - 1))]++;
}

/* The step's upper end, in microseconds, below which @percent of the requests stay. */
static double percentile_us(unsigned int percent)
{
	uint64_t seen = 0;
	unsigned int i = 0;

	while (i < LATENCY_STEPS - 1 && (seen += latencies[i]) * 100 < nr_done * percent)
		i++;
	return (double)(1ull << (i >> STEP_BITS)) *
	       (1 + (double)((i & ((1 << STEP_BITS) - 1)) + 1) / (1 << STEP_BITS)) / 1e3;
}

/* ---- where requests go ---- */

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void put_in_order(uint64_t nr_blocks)
{
	order = calloc(nr_blocks, sizeof(*order));
	if (!order || nr_blocks > UINT32_MAX) {
		fprintf(stderr, "nbdload: the disk has too many blocks for -once\n");
		exit(1);
	}
	for (uint64_t i = 0; i < nr_blocks; i++) {
		uint64_t j = load.random ? next_random() % (i + 1) : i;

		order[i] = order[j];
		order[j] = (uint32_t)i;
	}
}

static uint64_t pick_offset(void)
{
	uint64_t nr_blocks = disk_bytes / load.block_bytes;
	uint64_t offset;

	if (load.once)
		return order[nr_started] * load.block_bytes;
	if (load.random)
		return next_random() % nr_blocks * load.block_bytes;
	offset = next_offset;
	next_offset += load.block_bytes;
	if (next_offset + load.block_bytes > disk_bytes)
		next_offset = 0;
	return offset;
}

/* ---- requests ---- */

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
	count_latency(now_ns() - s->start_ns);
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
	const uint64_t offset = pick_offset();
	int64_t r;

	*s = (struct slot_of){ lane, slot, now_ns() };
	lane->nr_in_flight++;
	nr_started++;
	if (load.write)
		r = nbd_aio_pwrite(lane->nbd, buffer, load.block_bytes, offset, done, 0);
	else
		r = nbd_aio_pread_structured(lane->nbd, buffer, load.block_bytes, offset, chunk,
					     read_done, 0);
	if (r < 0)
		die("request");
}

static bool wants_more(uint64_t end_ns)
{
	if (load.once && (nr_started + 1) * load.block_bytes > disk_bytes)
		return false;
	if (load.limit_bytes && nr_started * load.block_bytes >= load.limit_bytes)
		return false;
	return now_ns() < end_ns;
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

static bool run_down(uint64_t end_ns)
{
	bool busy = false;

	for (unsigned int i = 0; i < load.nr_conns; i++) {
		struct lane *lane = &lanes[i];

		while (lane->nr_to_flush > 0)
			flush_one(lane);
		while (lane->nr_free > 0 && wants_more(end_ns))
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
		put_in_order(disk_bytes / load.block_bytes);
}

static bool choose_kind(const char *word)
{
	const size_t length = strcspn(word, "-");

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		const struct kind *k = &kinds[i];

		if (strlen(k->name) != length || strncmp(k->name, word, length) != 0)
			continue;
		load.write = k->write;
		load.random = k->random;
		load.flush_each = k->flush_each;
		load.once = word[length] != '\0';
		return !load.once || strcmp(word + length, "-once") == 0;
	}
	return false;
}

static int usage(void)
{
	fprintf(stderr,
		"usage: nbdload URI KIND[-once] BLOCK DEPTH CONNS SECONDS LIMIT_BYTES\n"
		"KIND is read, write, randread, randwrite or writeflush; a limit of 0 is none.\n");
	return 2;
}

int main(int argc, char **argv)
{
	uint64_t start_ns;
	double elapsed_s;

	if (argc != 8 || !choose_kind(argv[2]))
		return usage();
	load.block_bytes = strtoull(argv[3], NULL, 10);
	load.depth = (unsigned int)strtoul(argv[4], NULL, 10);
	load.nr_conns = (unsigned int)strtoul(argv[5], NULL, 10);
	load.seconds = strtod(argv[6], NULL);
	load.limit_bytes = strtoull(argv[7], NULL, 10);
	if (load.depth == 0 || load.depth > DEPTH_MAX || load.nr_conns == 0 ||
	    load.nr_conns > CONNS_MAX || load.block_bytes == 0)
		return usage();
	connect_all(argv[1]);
	start_ns = now_ns();
	while (run_down(start_ns + (uint64_t)(load.seconds * 1e9)))
		turn();
	elapsed_s = (double)(now_ns() - start_ns) / 1e9;
	printf("seconds %.3f requests %llu mb_s %.1f kiops %.3f p50_us %.1f p99_us %.1f\n",
	       elapsed_s, (unsigned long long)nr_done,
	       (double)(nr_done * load.block_bytes) / elapsed_s / 1e6,
	       (double)nr_done / elapsed_s / 1e3, percentile_us(50), percentile_us(99));
	return 0;
}
