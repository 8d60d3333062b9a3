/* SPDX-License-Identifier: MIT */
/*
 * powercut device DEVICE SEED STOP_FILE
 *
 * Writes, discards and reads a block device at random, past the page cache, from
 * several threads, until STOP_FILE is there; each read, and at the end one of all of it,
 * must show what was written last. What failed may have happened or not; how many
 * failed is printed.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "powercut/content.h"
#include "powercut/util.h"
#include "powercut/verbs.h"

enum { THREADS = 6, IO_SECTORS_MAX = 64, AFTER_FAILURE_MS = 20 };

/* Of one thread, on sectors that are no other's. */
struct lane {
	pthread_t thread;
	int fd;
	const char *stop_file;
	uint64_t seed;
	uint64_t first_sector, nr_sectors;
	struct dice dice;
	uint64_t *held;	 /* version; 0: zeros */
	uint64_t *maybe; /* a change that failed, or what is held */
	uint64_t version;
	uint64_t nr_changes, nr_reads, nr_failed;
	uint8_t *buffer;
};

static atomic_ulong nr_wrong;

static bool failed(struct lane *lane, long result)
{
	if (result >= 0)
		return false;
	if (lane->nr_failed++ == 0)
		fprintf(stderr, "first failure: errno %d\n", errno);
	nanosleep(&(struct timespec){ .tv_nsec = AFTER_FAILURE_MS * 1000000L }, NULL);
	return true;
}

/* @first and @nr count within the lane. */
static uint64_t offset_of(const struct lane *lane, uint64_t first)
{
	return sectors_to_bytes(lane->first_sector + first);
}

static void change(struct lane *lane, uint64_t first, uint64_t nr)
{
	uint64_t range[2] = { offset_of(lane, first), sectors_to_bytes(nr) };
	uint64_t version = dice_below(&lane->dice, 8) ? ++lane->version : 0;
	long result;
	bool bad;

	if (version) {
		for (uint64_t i = 0; i < nr; i++)
			content_fill(lane->buffer + i * SECTOR_BYTES, lane->seed,
				     lane->first_sector + first + i, version);
		result = pwrite(lane->fd, lane->buffer, range[1], (off_t)range[0]);
	} else {
		result = ioctl(lane->fd, BLKDISCARD, range);
	}
	bad = failed(lane, result);
	lane->nr_changes += !bad;
	for (uint64_t i = first; i < first + nr; i++) {
		lane->maybe[i] = version;
		if (!bad)
			lane->held[i] = version;
	}
}

static void judge(struct lane *lane, uint64_t at, const uint8_t *bytes)
{
	uint64_t sector = lane->first_sector + at;
	uint64_t version = 0;
	enum content content = content_read(bytes, lane->seed, sector, &version);

	if (content == CONTENT_WRONG || (version != lane->held[at] && version != lane->maybe[at])) {
		if (atomic_fetch_add(&nr_wrong, 1) < 10)
			fprintf(stderr,
				"sector %" PRIu64 ": %s, version %" PRIu64 ", not %" PRIu64
				" or %" PRIu64 "\n",
				sector, content == CONTENT_WRONG ? "garbage" : "whole", version,
				lane->held[at], lane->maybe[at]);
		return;
	}
	lane->held[at] = lane->maybe[at] = version;
}

/* False: it failed. */
static bool read_back(struct lane *lane, uint64_t first, uint64_t nr)
{
	if (failed(lane, pread(lane->fd, lane->buffer, sectors_to_bytes(nr),
			       (off_t)offset_of(lane, first))))
		return false;
	for (uint64_t i = 0; i < nr; i++)
		judge(lane, first + i, lane->buffer + i * SECTOR_BYTES);
	lane->nr_reads++;
	return true;
}

static void *run(void *argument)
{
	struct lane *lane = argument;

	while (access(lane->stop_file, F_OK) != 0) {
		uint64_t nr = 1 + dice_below(&lane->dice, IO_SECTORS_MAX);
		uint64_t first = dice_below(&lane->dice, lane->nr_sectors - nr + 1);
		uint64_t kind = dice_below(&lane->dice, 100);

		if (kind < 1)
			failed(lane, fsync(lane->fd));
		else if (kind < 40)
			read_back(lane, first, nr);
		else
			change(lane, first, nr);
	}
	for (uint64_t at = 0; at < lane->nr_sectors; at += IO_SECTORS_MAX)
		if (!read_back(lane, at, min_u64(IO_SECTORS_MAX, lane->nr_sectors - at)))
			atomic_fetch_add(&nr_wrong, 1);
	return NULL;
}

static void start(struct lane *lane, char **arguments)
{
	lane->fd = must_open(arguments[0], O_RDWR | O_DIRECT);
	lane->seed = must_number(arguments[1]);
	lane->stop_file = arguments[2];
	lane->dice = dice_of(lane->seed + lane->first_sector);
	lane->held = must_alloc(lane->nr_sectors, sizeof(*lane->held));
	lane->maybe = must_alloc(lane->nr_sectors, sizeof(*lane->maybe));
	lane->buffer = aligned_alloc(4096, IO_SECTORS_MAX * SECTOR_BYTES);
	if (!lane->buffer || pthread_create(&lane->thread, NULL, run, lane) != 0)
		die(ENOMEM, "thread");
}

int verb_device(char **arguments)
{
	struct lane lanes[THREADS] = { 0 };
	struct lane sum = { 0 };
	int fd = must_open(arguments[0], O_RDONLY);
	off_t disk_bytes = lseek(fd, 0, SEEK_END);

	close(fd);
	for (uint64_t i = 0; i < THREADS; i++) {
		lanes[i].nr_sectors = bytes_to_sectors((uint64_t)disk_bytes) / THREADS;
		lanes[i].first_sector = i * lanes[i].nr_sectors;
		start(&lanes[i], arguments);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(lanes[i].thread, NULL);
		sum.nr_changes += lanes[i].nr_changes;
		sum.nr_reads += lanes[i].nr_reads;
		sum.nr_failed += lanes[i].nr_failed;
	}
	printf("changes=%" PRIu64 "\nreads=%" PRIu64 "\nfailed=%" PRIu64 "\nwrong=%lu\n",
	       sum.nr_changes, sum.nr_reads, sum.nr_failed, atomic_load(&nr_wrong));
	return atomic_load(&nr_wrong) > 0;
}
