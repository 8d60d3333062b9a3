/* SPDX-License-Identifier: MIT */
/* Copying a disk: see copy.h. */
#include "copy.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <time.h>

#include "copy_report.h"

enum {
	ZERO_UNIT_BYTES = 4096, /* what is looked at for zeros: a page, a file's block */
	LOOK_MS = 100,		/* the main thread looks how far it is */
	EXTENTS_KEPT = 4096,	/* of the source, from when it was counted */
	/* Of a thread: two pieces, in a huge page. Where page faults are dear, 512 of them tell. */
	BUFFER_BYTES = 2 << 20,
};

/* The only way to hear of a signal between two pieces. */
static volatile sig_atomic_t interrupted;

static void interrupt(int signal_number)
{
	(void)signal_number;
	interrupted = 1;
}

void copy_catch_signals(void)
{
	const struct sigaction catch = { .sa_handler = interrupt };

	sigaction(SIGINT, &catch, NULL);
	sigaction(SIGTERM, &catch, NULL);
}

/* From the end of the one before. */
struct extent {
	uint64_t end_sector;
	bool hole;
};

struct copy {
	const struct copy_job *job;
	/* Of the source, as counted, from its first sector on; what follows is asked for again. */
	struct extent *extents;
	unsigned int nr_extents; /* up to EXTENTS_KEPT */

	pthread_mutex_t lock;
	pthread_cond_t all_left; /* no thread is running any more */
	/* Below: under @lock. */
	uint64_t at_sector;	  /* pieces from here on have not been given out */
	uint64_t extent_end;	  /* the source stores what is from @at_sector to here */
	unsigned int next_extent; /* of @extents */
	unsigned int nr_running;
	int error;
	struct problem *problem; /* of @error */
	struct copy_result result;
};

struct thread {
	struct copy *copy;
	unsigned int number;
	pthread_t thread;
	uint8_t *data;	/* COPY_PIECE_BYTES of BUFFER_BYTES */
	uint8_t *there; /* the rest: what the sink holds */
};

struct piece {
	uint64_t first_sector;
	uint32_t nr_sectors;
};

/* ---- zeros ---- */

static bool is_zero(const uint8_t *data, size_t nr_bytes)
{
	return data[0] == 0 && memcmp(data, data + 1, nr_bytes - 1) == 0;
}

/* Sectors from @first on that are all zeros, or none of them in whole units, before @end. */
static uint32_t run_of(const uint8_t *data, uint32_t first, uint32_t end, bool *ret_zero)
{
	const uint32_t unit = ZERO_UNIT_BYTES / SECTOR_BYTES;
	uint32_t at = first;

	while (at < end) {
		uint32_t nr = (uint32_t)min_u64(unit, end - at);
		bool zero = is_zero(data + (size_t)at * SECTOR_BYTES, (size_t)nr * SECTOR_BYTES);

		if (at > first && zero != *ret_zero)
			break;
		*ret_zero = zero;
		at += nr;
	}
	return at - first;
}

/* ---- pieces ---- */

static void fail(struct copy *copy, int error, const char *role, const char *path, const char *verb,
		 uint64_t sector)
{
	if (copy->error == 0) {
		copy->error = error;
		problem_set(copy->problem, role, path,
			    "cannot be %s at byte %" PRIu64 " of the disk: %s", verb,
			    sectors_to_bytes(sector), strerror(-error));
	}
}

/* What an earlier run has left is not looked at where the source stores nothing. */
static int clear_kept(struct copy *copy, unsigned int thread)
{
	struct copy_sink *sink = copy->job->sink;
	const uint64_t end = min_u64(copy->extent_end, copy->job->kept_sectors);

	return copy->at_sector < end
		       ? sink->clear(sink, thread, copy->at_sector, end - copy->at_sector)
		       : 0;
}

/* What begins at @at_sector. Under the lock. */
static int next_extent(struct copy *copy, unsigned int thread, struct extent *ret_extent)
{
	struct copy_source *source = copy->job->source;
	uint64_t nr_sectors;
	int r;

	if (copy->next_extent < copy->nr_extents) {
		*ret_extent = copy->extents[copy->next_extent++];
		return 0;
	}
	r = source->extent(source, thread, copy->at_sector, source->nr_sectors - copy->at_sector,
			   &ret_extent->hole, &nr_sectors);
	if (r == 0)
		ret_extent->end_sector = copy->at_sector + nr_sectors;
	return r;
}

/* Go on to the next stored sector. Under the lock. Returns false at the end of the disk. */
static bool find_extent(struct copy *copy, unsigned int thread)
{
	struct copy_source *source = copy->job->source;

	while (copy->at_sector >= copy->extent_end && copy->at_sector < source->nr_sectors) {
		struct extent extent;
		int r = next_extent(copy, thread, &extent);

		if (r < 0) {
			fail(copy, r, "source", source->path, "read", copy->at_sector);
			return false;
		}
		copy->extent_end = extent.end_sector;
		if (!extent.hole)
			continue;
		r = clear_kept(copy, thread);
		if (r < 0) {
			fail(copy, r, "destination", copy->job->sink->path, "written",
			     copy->at_sector);
			return false;
		}
		copy->at_sector = copy->extent_end;
	}
	return copy->at_sector < source->nr_sectors;
}

static bool take_piece(struct copy *copy, unsigned int thread, struct piece *ret_piece)
{
	bool found;

	pthread_mutex_lock(&copy->lock);
	found = copy->error == 0 && !interrupted && find_extent(copy, thread);
	if (found) {
		uint64_t first = copy->at_sector;
		uint64_t end = (first / COPY_PIECE_SECTORS + 1) * COPY_PIECE_SECTORS;

		/* One that is to be compared is not also one that is not. */
		if (first < copy->job->kept_sectors)
			end = min_u64(end, copy->job->kept_sectors);
		end = min_u64(end, copy->extent_end);
		*ret_piece = (struct piece){ first, (uint32_t)(end - first) };
		copy->at_sector = end;
	}
	pthread_mutex_unlock(&copy->lock);
	return found;
}

/* Write the sectors [first, end) of the piece that are not zeros. */
static int write_runs(struct thread *thread, const struct piece *piece, uint64_t *ret_bytes)
{
	struct copy_sink *sink = thread->copy->job->sink;
	bool zero = false;
	uint32_t nr;
	int r = 0;

	for (uint32_t at = 0; at < piece->nr_sectors && r == 0; at += nr) {
		nr = run_of(thread->data, at, piece->nr_sectors, &zero);
		if (zero)
			continue;
		r = sink->write(sink, thread->number, piece->first_sector + at, nr,
				thread->data + (size_t)at * SECTOR_BYTES);
		*ret_bytes += sectors_to_bytes(nr);
	}
	return r;
}

/* Is the piece there already? If not, all of it is written, zeros too: other bytes may be there. */
static int keep_or_write(struct thread *thread, const struct piece *piece, uint64_t *ret_written,
			 uint64_t *ret_verified)
{
	struct copy_sink *sink = thread->copy->job->sink;
	const size_t nr_bytes = (size_t)piece->nr_sectors * SECTOR_BYTES;
	int r = sink->read(sink, thread->number, piece->first_sector, piece->nr_sectors,
			   thread->there);

	if (r == 0 && memcmp(thread->data, thread->there, nr_bytes) == 0) {
		*ret_verified = nr_bytes;
		return 0;
	}
	*ret_written = nr_bytes;
	return r < 0 ? r
		     : sink->write(sink, thread->number, piece->first_sector, piece->nr_sectors,
				   thread->data);
}

static void copy_piece(struct thread *thread, const struct piece *piece)
{
	struct copy *copy = thread->copy;
	struct copy_source *source = copy->job->source;
	uint64_t written = 0, verified = 0;
	int read_error = source->read(source, thread->number, piece->first_sector,
				      piece->nr_sectors, thread->data);
	int write_error = 0;

	if (read_error == 0 && piece->first_sector < copy->job->kept_sectors)
		write_error = keep_or_write(thread, piece, &written, &verified);
	else if (read_error == 0)
		write_error = write_runs(thread, piece, &written);

	pthread_mutex_lock(&copy->lock);
	if (read_error < 0)
		fail(copy, read_error, "source", source->path, "read", piece->first_sector);
	else if (write_error < 0)
		fail(copy, write_error, "destination", copy->job->sink->path, "written",
		     piece->first_sector);
	copy->result.stored_bytes += sectors_to_bytes(piece->nr_sectors);
	copy->result.written_bytes += written;
	copy->result.verified_bytes += verified;
	pthread_mutex_unlock(&copy->lock);
}

static void leave(struct thread *thread, bool wait)
{
	struct copy *copy = thread->copy;
	struct copy_source *source = copy->job->source;
	struct copy_sink *sink = copy->job->sink;

	if (source->leave)
		source->leave(source, thread->number, wait);
	if (sink->leave)
		sink->leave(sink, thread->number, wait);
	pthread_mutex_lock(&copy->lock);
	if (--copy->nr_running == 0)
		pthread_cond_signal(&copy->all_left);
	pthread_mutex_unlock(&copy->lock);
}

static void *run(void *arg)
{
	struct thread *thread = arg;
	struct piece piece;

	while (take_piece(thread->copy, thread->number, &piece))
		copy_piece(thread, &piece);
	leave(thread, true);
	return NULL;
}

/* ---- the whole ---- */

/* What the source stores, so that it can be told how far it is. */
static int count_stored(struct copy *copy, uint64_t *ret_bytes)
{
	struct copy_source *source = copy->job->source;
	uint64_t nr_sectors;
	bool hole;

	*ret_bytes = 0;
	for (uint64_t at = 0; at < source->nr_sectors; at += nr_sectors) {
		int r = source->extent(source, 0, at, source->nr_sectors - at, &hole, &nr_sectors);

		if (r < 0) {
			fail(copy, r, "source", source->path, "read", at);
			return r;
		}
		*ret_bytes += hole ? 0 : sectors_to_bytes(nr_sectors);
		if (copy->nr_extents < EXTENTS_KEPT)
			copy->extents[copy->nr_extents++] =
				(struct extent){ at + nr_sectors, hole };
	}
	return 0;
}

/* Until all threads have left, or it is time to look again. */
static unsigned int wait_a_little(struct copy *copy, uint64_t *ret_done_bytes)
{
	struct timespec until;
	unsigned int nr_running;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += LOOK_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&copy->lock);
	if (copy->nr_running > 0)
		pthread_cond_clockwait(&copy->all_left, &copy->lock, CLOCK_MONOTONIC, &until);
	nr_running = copy->nr_running;
	*ret_done_bytes = copy->result.stored_bytes;
	pthread_mutex_unlock(&copy->lock);
	return nr_running;
}

static void show_until_done(struct copy *copy, uint64_t total_bytes)
{
	struct copy_report report;
	unsigned int nr_running;

	copy_report_begin(&report, copy->job->options, copy->job->what);
	do {
		uint64_t done_bytes;

		nr_running = wait_a_little(copy, &done_bytes);
		/* A disk in use may store a little more when it is read than when it was counted. */
		copy_report_show(&report, min_u64(done_bytes, total_bytes), total_bytes);
	} while (nr_running > 0);
	copy_report_end(&report);
}

_Static_assert(BUFFER_BYTES == 2 * COPY_PIECE_BYTES, "a buffer is of two pieces");

static int set_up(struct copy *copy, struct thread threads[COPY_THREADS])
{
	for (unsigned int i = 0; i < COPY_THREADS; i++) {
		threads[i] = (struct thread){ .copy = copy, .number = i };
		threads[i].data = aligned_alloc(BUFFER_BYTES, BUFFER_BYTES);
		if (!threads[i].data)
			return -ENOMEM;
		threads[i].there = threads[i].data + COPY_PIECE_BYTES;
		(void)madvise(threads[i].data, BUFFER_BYTES, MADV_HUGEPAGE);
	}
	copy->nr_running = COPY_THREADS;
	copy->extents = malloc(EXTENTS_KEPT * sizeof(*copy->extents));
	return copy->extents ? 0 : -ENOMEM;
}

/* More than there are processors take one another's time and caches. */
static unsigned int count_threads(void)
{
	const int nr = get_nprocs();

	if (nr < 2)
		return 2;
	return nr < COPY_THREADS ? (unsigned int)nr : COPY_THREADS;
}

/* Fewer threads do as well. */
static int run_threads(struct copy *copy, struct thread threads[COPY_THREADS], uint64_t total_bytes)
{
	const unsigned int nr_wanted = count_threads();
	unsigned int nr = 0;
	int r = 0;

	while (nr < nr_wanted && r == 0) {
		r = -pthread_create(&threads[nr].thread, NULL, run, &threads[nr]);
		nr += r == 0;
	}
	for (unsigned int i = nr; i < COPY_THREADS; i++)
		leave(&threads[i], false);
	if (nr == 0) {
		problem_set(copy->problem, "source", copy->job->source->path,
			    "no thread to copy it: %s", strerror(-r));
		return r;
	}
	show_until_done(copy, total_bytes);
	for (unsigned int i = 0; i < nr; i++)
		pthread_join(threads[i].thread, NULL);
	return copy->error;
}

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int copy_run(const struct copy_job *job, struct copy_result *ret_result, struct problem *problem)
{
	struct copy copy = { .job = job,
			     .lock = PTHREAD_MUTEX_INITIALIZER,
			     .all_left = PTHREAD_COND_INITIALIZER,
			     .problem = problem };
	struct thread threads[COPY_THREADS] = { 0 };
	const double begun_s = now_s();
	uint64_t total_bytes;
	int r = set_up(&copy, threads);

	if (r < 0)
		problem_set(problem, "source", job->source->path, "no memory to copy it");
	if (r == 0)
		r = count_stored(&copy, &total_bytes);
	if (r == 0)
		r = run_threads(&copy, threads, total_bytes);
	for (unsigned int i = 0; i < COPY_THREADS; i++)
		free(threads[i].data);
	free(copy.extents);
	if (r < 0)
		return r;
	*ret_result = copy.result;
	/* What an earlier run has left stays good if this one was too short to look at all of it. */
	ret_result->at_sector = copy.at_sector > job->kept_sectors ? copy.at_sector
								   : job->kept_sectors;
	ret_result->stored_bytes = total_bytes;
	ret_result->seconds = now_s() - begun_s;
	return copy.at_sector < job->source->nr_sectors ? -EINTR : 0;
}
