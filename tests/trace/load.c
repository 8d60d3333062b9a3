/* SPDX-License-Identifier: MIT */
/*
 * Requests that change a disk, over several connections, and a log of what was
 * asked and answered when: what trace-replay holds crash states against.
 *
 *   trace-load --window FIRST:SECTORS... [OPTION]... SOCKET LOG
 *     --seed N     the requests follow from it; when they are sent does not
 *     --first N    number of the first request (1)
 *     --ops N      requests (1000)
 *     --kill PID   kill -9 of the daemon, with requests in flight, in place of an end
 *
 * Only sectors of the windows are touched. No two requests for one sector are in
 * flight at a time, so that each has one order of contents; a request often
 * follows upon the answer of another to the same sectors. Exits 1 when a request
 * fails, and 2 when there is no talking to the daemon.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <libnbd.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "trace/common.h"

enum {
	CONNS = 4,
	DEPTH_MAX = 32,
	REQUEST_SECTORS_MAX = 64,
	TRIES = 8, /* for a range that no request in flight touches */
	PATIENCE_S = 60,
};

struct slot {
	bool used;
	struct log_request *request;
	uint8_t bytes[REQUEST_SECTORS_MAX * SECTOR_BYTES];
};

static struct load_log the_log;
static uint64_t first_number = 1;
static struct nbd_handle *conns[CONNS];
static struct slot slots[DEPTH_MAX];
static unsigned int nr_in_flight;
static bool killed; /* connections may end */
static bool any_failed;

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t chance(uint64_t below)
{
	static uint64_t state;

	if (state == 0)
		state = mix64(the_log.seed + first_number);
	return mix64(state += GOLDEN) % below;
}

/* ---- choosing ---- */

static bool overlaps(const struct log_request *a, const struct log_request *b)
{
	return a->sector < b->sector + b->nr_sectors && b->sector < a->sector + a->nr_sectors;
}

static bool is_free(const struct log_request *request)
{
	for (unsigned int i = 0; i < DEPTH_MAX; i++)
		if (slots[i].used && overlaps(slots[i].request, request))
			return false;
	return true;
}

static void pick_range(struct log_request *request)
{
	const struct window *window = &the_log.windows[chance(the_log.nr_windows)];
	const uint32_t unit = chance(2) ? 8 : 1;
	const uint32_t most = chance(4) ? 16 : REQUEST_SECTORS_MAX;
	uint64_t at = chance(window->nr_sectors) / unit * unit;

	request->nr_sectors = (uint32_t)(1 + chance(most / unit)) * unit;
	if (unit == 1 && chance(4) == 0)
		request->nr_sectors = 1;
	request->nr_sectors = (uint32_t)min_u64(request->nr_sectors, window->nr_sectors - at);
	request->sector = window->first_sector + at;
}

static void pick(struct log_request *request)
{
	static const uint8_t kinds[] = {
		LOG_WRITE, LOG_WRITE, LOG_WRITE, LOG_WRITE, LOG_WRITE, LOG_WRITE, LOG_WRITE,
		LOG_WRITE, LOG_WRITE, LOG_ZERO,	 LOG_TRIM,  LOG_TRIM,  LOG_FLUSH,
	};

	request->kind = kinds[chance(ARRAY_LEN(kinds))];
	if (request->kind == LOG_FLUSH)
		return;
	request->fua = chance(12) == 0;
	for (unsigned int i = 0; i < TRIES; i++) {
		pick_range(request);
		if (is_free(request))
			return;
	}
	/* Too much in flight: a flush never hurts. */
	*request = (struct log_request){ .number = request->number, .kind = LOG_FLUSH };
}

/* ---- sending ---- */

static int answered(void *user_data, int *error)
{
	struct slot *slot = user_data;

	if (*error && killed)
		return 1; /* its connection is gone, and so is every answer */
	slot->request->answered_ns = now_ns();
	slot->request->failed = *error != 0;
	if (*error) {
		fprintf(stderr, "trace-load: request %" PRIu32 ": %s\n", slot->request->number,
			strerror(*error));
		any_failed = true;
	}
	slot->used = false;
	nr_in_flight--;
	return 1;
}

static int64_t send_slot(struct slot *slot, struct nbd_handle *nbd, bool no_hole)
{
	const struct log_request *r = slot->request;
	const nbd_completion_callback done = { .callback = answered, .user_data = slot };
	const uint64_t offset = sectors_to_bytes(r->sector);
	const uint64_t bytes = sectors_to_bytes(r->nr_sectors);
	const uint32_t fua = r->fua ? LIBNBD_CMD_FLAG_FUA : 0;

	switch ((enum log_kind)r->kind) {
	case LOG_WRITE:
		for (uint32_t i = 0; i < r->nr_sectors; i++)
			content_fill(the_log.seed, r->sector + i, r->number,
				     slot->bytes + sectors_to_bytes(i));
		return nbd_aio_pwrite(nbd, slot->bytes, bytes, offset, done, fua);
	case LOG_ZERO:
		return nbd_aio_zero(nbd, bytes, offset, done,
				    fua | (no_hole ? LIBNBD_CMD_FLAG_NO_HOLE : 0));
	case LOG_TRIM:
		return nbd_aio_trim(nbd, bytes, offset, done, fua);
	case LOG_FLUSH:
		return nbd_aio_flush(nbd, done, 0);
	case LOG_KINDS:
		break;
	}
	abort();
}

static void start_one(uint32_t number)
{
	struct log_request *request = &the_log.requests[the_log.nr_requests];
	struct slot *slot = slots;

	while (slot->used)
		slot++;
	*request = (struct log_request){ .number = number };
	pick(request);
	slot->request = request;
	slot->used = true;
	nr_in_flight++;
	the_log.nr_requests++;
	request->issued_ns = now_ns();
	if (send_slot(slot, conns[chance(CONNS)], chance(2)) < 0)
		give_up("cannot send: %s", nbd_get_error());
}

/* ---- receiving ---- */

/* Returns false when all connections are over. */
static bool turn(void)
{
	struct pollfd fds[CONNS];
	unsigned int nr_open = 0;

	for (unsigned int i = 0; i < CONNS; i++) {
		const bool over = nbd_aio_is_dead(conns[i]) || nbd_aio_is_closed(conns[i]);
		const unsigned int dir = over ? 0 : nbd_aio_get_direction(conns[i]);

		fds[i] = (struct pollfd){ .fd = dir ? nbd_aio_get_fd(conns[i]) : -1 };
		nr_open += dir != 0;
		if (dir & LIBNBD_AIO_DIRECTION_READ)
			fds[i].events |= POLLIN;
		if (dir & LIBNBD_AIO_DIRECTION_WRITE)
			fds[i].events |= POLLOUT;
	}
	if (nr_open == 0)
		return false;
	if (poll(fds, CONNS, PATIENCE_S * 1000) <= 0)
		give_up("no answer in %d s", PATIENCE_S);
	for (unsigned int i = 0; i < CONNS; i++) {
		int r = 0;

		if (fds[i].revents & (POLLIN | POLLHUP | POLLERR))
			r = nbd_aio_notify_read(conns[i]);
		else if (fds[i].revents & POLLOUT)
			r = nbd_aio_notify_write(conns[i]);
		if (r < 0 && !killed)
			give_up("connection: %s", nbd_get_error());
	}
	return true;
}

static void run(uint32_t first, uint64_t nr_ops)
{
	unsigned int depth = 1;

	for (uint32_t number = first; number < first + nr_ops; number++) {
		if (number % 32 == 0)
			depth = chance(3) ? 1 + (unsigned int)chance(DEPTH_MAX) : 1;
		while (nr_in_flight >= depth)
			if (!turn())
				give_up("the connections are gone");
		start_one(number);
	}
}

static void end(pid_t to_kill)
{
	if (to_kill == 0)
		while (nr_in_flight > 0)
			if (!turn())
				give_up("the connections are gone");
	if (to_kill != 0) {
		killed = true;
		if (kill(to_kill, SIGKILL) < 0)
			give_up("kill: %s", strerror(errno));
		/* Replies that were sent before are answers. */
		while (turn())
			;
	}
	for (unsigned int i = 0; i < CONNS; i++)
		nbd_close(conns[i]);
}

static void connect_all(const char *socket)
{
	for (unsigned int i = 0; i < CONNS; i++) {
		conns[i] = nbd_create();
		if (!conns[i] || nbd_connect_unix(conns[i], socket) < 0)
			give_up("%s: %s", socket, nbd_get_error());
	}
	the_log.begin_ns = now_ns();
}

static void add_window(char *text)
{
	char *colon = strchr(text, ':');

	if (!colon || the_log.nr_windows == WINDOWS_MAX)
		give_up("--window %s: FIRST:SECTORS, %d at most", text, WINDOWS_MAX);
	*colon = '\0';
	the_log.windows[the_log.nr_windows++] = (struct window){
		.first_sector = must_number(text),
		.nr_sectors = (uint32_t)must_number(colon + 1),
	};
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "window", required_argument, NULL, 'w' },
		{ "seed", required_argument, NULL, 's' },
		{ "first", required_argument, NULL, 'f' },
		{ "ops", required_argument, NULL, 'o' },
		{ "kill", required_argument, NULL, 'k' },
		{ NULL, 0, NULL, 0 },
	};
	uint64_t nr_ops = 1000, to_kill = 0;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'w')
			add_window(optarg);
		else if (opt == 's')
			the_log.seed = must_number(optarg);
		else if (opt == 'f')
			first_number = must_number(optarg);
		else if (opt == 'o')
			nr_ops = must_number(optarg);
		else if (opt == 'k')
			to_kill = must_number(optarg);
		else
			return 2;
	}
	if (argc - optind != 2 || the_log.nr_windows == 0 || first_number == 0)
		give_up("see the head of load.c for how to call it");
	the_log.requests = must_alloc(nr_ops * sizeof(*the_log.requests));
	connect_all(argv[optind]);
	run((uint32_t)first_number, nr_ops);
	end((pid_t)to_kill);
	log_write(&the_log, argv[optind + 1]);
	return any_failed;
}
