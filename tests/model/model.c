/* SPDX-License-Identifier: MIT */
/*
 * Random requests to a daemon, many in flight over several connections, compared
 * with a model of the disk; in between the daemon is stopped or killed.
 *
 *   model --seed N --ops N --phases N --deaths LIST --cgroup FOLDER --early-deaths
 *         SOCKET BASE.vhd -- DAEMON [ARGUMENT...]
 *
 * The disk is BASE.vhd, a fixed VHD, and whatever earlier phases made of it. The
 * requests follow from the seed alone: also when the daemon dies is counted in
 * requests sent. Each phase begins with a look at the whole disk, and ends with
 * the next death of LIST, of term, kill, segv and oom (daemon.h). With early
 * deaths, half of the starts that follow are cut short before the one that serves: a
 * death during recovery. Every other turn of the list is then almost without
 * FLUSH and FUA, so that much is acknowledged and not durable when the daemon dies.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <libnbd.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "model/daemon.h"
#include "model/disk.h"

enum {
	CONNS = 4,
	OPS_MAX = 48, /* in flight */
	SMALL_BYTES = 16 << 10,
	LARGE_BYTES = 1 << 20,
	HUGE_BYTES = 32 << 20,
	HOT_BYTES = 2 << 20, /* where half of the requests go */
	PATIENCE_S = 60,
	DEATHS_MAX = 16,	    /* of the list */
	EARLY_MS_MAX = 60,	    /* a start takes about half of it */
	EARLY_BYTES_MAX = 16 << 20, /* a start needs some more */
};

enum kind { OP_READ, OP_WRITE, OP_TRIM, OP_ZERO, OP_FLUSH, OP_CACHE, OP_STATUS, OP_KINDS };

struct op {
	bool used;
	bool failed; /* a check has; said */
	enum kind kind;
	uint64_t number;
	uint64_t sector;
	uint64_t nr_sectors;
	uint32_t flags; /* LIBNBD_CMD_FLAG_* */
	uint32_t value; /* of what changes the disk */
	uint64_t sent_at;
	unsigned int conn;
	uint8_t *bytes;
};

static const char *socket_path;
static uint64_t seed, disk_bytes, next_number, nr_ops = 20000, nr_phases = 6;
static struct daemon served;
static enum death deaths[DEATHS_MAX] = { DEATH_KILL, DEATH_TERM };
static unsigned int nr_deaths = 2;
static bool early_deaths;
static bool few_flushes; /* in this phase */
static struct nbd_handle *conns[CONNS];
static struct op ops[OPS_MAX];
static unsigned int nr_in_flight;
static bool dying; /* the daemon has been struck: connections may end */

/* For the last line. */
static uint64_t nr_acknowledged, nr_rounds[DEATHS], nr_early, nr_cut[OP_KINDS];

static void die(const char *what)
{
	fprintf(stderr, "model: seed %" PRIu64 ", request %" PRIu64 ": %s\n", seed, next_number,
		what);
	if (served.pid > 0)
		kill(served.pid, SIGKILL);
	exit(1);
}

/* @problem: NULL when there is none. */
static void want_none(const char *problem)
{
	if (problem)
		die(problem);
}

static void die_nbd(const char *what)
{
	fprintf(stderr, "model: %s\n", nbd_get_error());
	die(what);
}

/* ---- chance, by the number of the request ---- */

static uint64_t chance_state;

static uint64_t chance(uint64_t below)
{
	uint64_t x = chance_state += 0x9e3779b97f4a7c15u;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return (x ^ x >> 31) % below;
}

static void pick_range(struct op *op)
{
	uint64_t most = SMALL_BYTES, dice = chance(1000), unit = chance(2) ? 8 : 1;
	uint64_t disk_sectors = disk_bytes / SECTOR;
	uint64_t room = chance(2) ? HOT_BYTES / SECTOR : disk_sectors;

	if (dice < 3)
		most = HUGE_BYTES;
	else if (dice < 200)
		most = LARGE_BYTES;
	op->nr_sectors = unit + chance(most / SECTOR) / unit * unit;
	op->sector = chance(room) / unit * unit;
	if (op->nr_sectors > most / SECTOR)
		op->nr_sectors = most / SECTOR;
	if (op->nr_sectors > disk_sectors - op->sector)
		op->nr_sectors = disk_sectors - op->sector;
}

static void pick(struct op *op, uint64_t number)
{
	static const enum kind kinds[] = {
		OP_READ,  OP_READ,  OP_READ,  OP_READ,	 OP_READ,   OP_READ,  OP_WRITE,
		OP_WRITE, OP_WRITE, OP_WRITE, OP_WRITE,	 OP_WRITE,  OP_WRITE, OP_TRIM,
		OP_TRIM,  OP_ZERO,  OP_ZERO,  OP_STATUS, OP_STATUS, OP_CACHE, OP_FLUSH,
	};

	chance_state = seed * 0xd1342543de82ef95u + number;
	*op = (struct op){ .used = true, .number = number };
	op->kind = kinds[chance(sizeof(kinds) / sizeof(kinds[0]))];
	op->conn = (unsigned int)chance(CONNS);
	pick_range(op);
	if (few_flushes && op->kind == OP_FLUSH && chance(20))
		op->kind = OP_WRITE;
	if (chance(few_flushes ? 200 : 10) == 0 && op->kind != OP_FLUSH)
		op->flags |= LIBNBD_CMD_FLAG_FUA;
	op->value = op->kind == OP_WRITE ? VALUE_WRITTEN + (uint32_t)number : VALUE_ZERO;
	if (op->kind == OP_ZERO && chance(2)) {
		op->flags |= LIBNBD_CMD_FLAG_NO_HOLE;
		op->value = VALUE_STORED_ZERO;
	} else if (op->kind == OP_ZERO && chance(2)) {
		op->flags |= LIBNBD_CMD_FLAG_FAST_ZERO;
	}
	/* Only the writing commands may carry FUA in libnbd's strict view. */
	if (op->kind == OP_READ || op->kind == OP_CACHE || op->kind == OP_STATUS)
		op->flags = op->kind == OP_STATUS && chance(4) == 0 ? LIBNBD_CMD_FLAG_REQ_ONE : 0;
}

static bool changes(const struct op *op)
{
	return op->kind == OP_WRITE || op->kind == OP_TRIM || op->kind == OP_ZERO;
}

/* ---- answers ---- */

static uint64_t oldest_sent(void)
{
	uint64_t oldest = disk_now();

	for (unsigned int i = 0; i < OPS_MAX; i++)
		if (ops[i].used && ops[i].sent_at < oldest)
			oldest = ops[i].sent_at;
	return oldest;
}

static void finish(struct op *op)
{
	free(op->bytes);
	op->used = false;
	nr_in_flight--;
}

static int completed(void *user_data, int *error)
{
	struct op *op = user_data;

	if (!op->used)
		return 1;
	if (*error) {
		if (dying)
			return 1;
		fprintf(stderr,
			"model: request %" PRIu64 " of kind %d, sector %" PRIu64 " + %" PRIu64
			": %s\n",
			op->number, op->kind, op->sector, op->nr_sectors, strerror(*error));
		die("a request failed");
	}
	disk_now();
	if (op->kind == OP_READ &&
	    !disk_check_read(op->sector, op->nr_sectors, op->bytes, op->sent_at))
		op->failed = true;
	if (op->failed) {
		fprintf(stderr, "model: seen by request %" PRIu64 "\n", op->number);
		die("not what was written");
	}
	if (changes(op)) {
		disk_write_done(op->sector, op->nr_sectors, op->value, op->sent_at);
		nr_acknowledged++;
	}
	finish(op);
	disk_forget_before(oldest_sent());
	return 1;
}

/* @entries: pairs of length and state. The two contexts say the same in two ways. */
static int extents(void *user_data, const char *context, uint64_t offset, uint32_t *entries,
		   size_t nr_entries, int *error)
{
	struct op *op = user_data;
	bool allocation = strcmp(context, LIBNBD_CONTEXT_BASE_ALLOCATION) == 0;
	uint64_t sector = offset / SECTOR, end = op->sector + op->nr_sectors;

	(void)error;
	if (nr_entries == 0 || (op->flags & LIBNBD_CMD_FLAG_REQ_ONE && nr_entries != 2))
		op->failed = true;
	for (size_t i = 0; i + 1 < nr_entries && sector < end && !op->failed; i += 2) {
		uint64_t nr = entries[i] / SECTOR < end - sector ? entries[i] / SECTOR
								 : end - sector;
		uint32_t state = entries[i + 1];
		uint32_t zero = LIBNBD_STATE_HOLE | LIBNBD_STATE_ZERO;

		if (entries[i] == 0 || entries[i] % SECTOR != 0)
			op->failed = true;
		else if (!allocation)
			op->failed = !disk_check_state(sector, nr, state, op->sent_at);
		else if (state == zero)
			op->failed = !disk_check_state(sector, nr, STATE_ZERO, op->sent_at);
		else if (state != 0)
			op->failed = true;
		sector += nr;
	}
	return 0;
}

/* ---- questions ---- */

static void fill(const struct op *op)
{
	for (uint64_t i = 0; i < op->nr_sectors; i++)
		disk_fill(op->sector + i, op->value, op->bytes + i * SECTOR);
}

static int64_t send_op(struct op *op)
{
	struct nbd_handle *nbd = conns[op->conn];
	nbd_completion_callback done = { .callback = completed, .user_data = op };
	nbd_extent_callback extent = { .callback = extents, .user_data = op };
	uint64_t offset = op->sector * SECTOR, bytes = op->nr_sectors * SECTOR;

	switch (op->kind) {
	case OP_READ:
		return nbd_aio_pread(nbd, op->bytes, bytes, offset, done, op->flags);
	case OP_WRITE:
		return nbd_aio_pwrite(nbd, op->bytes, bytes, offset, done, op->flags);
	case OP_TRIM:
		return nbd_aio_trim(nbd, bytes, offset, done, op->flags);
	case OP_ZERO:
		return nbd_aio_zero(nbd, bytes, offset, done, op->flags);
	case OP_FLUSH:
		return nbd_aio_flush(nbd, done, 0);
	case OP_CACHE:
		return nbd_aio_cache(nbd, bytes, offset, done, op->flags);
	case OP_STATUS:
		return nbd_aio_block_status(nbd, bytes, offset, extent, done, op->flags);
	case OP_KINDS:
		break;
	}
	abort();
}

static void start_one(void)
{
	struct op *op = ops;

	while (op->used)
		op++;
	pick(op, next_number++);
	if (op->kind == OP_READ || op->kind == OP_WRITE) {
		op->bytes = malloc(op->nr_sectors * SECTOR);
		if (!op->bytes)
			die("no memory");
	}
	op->sent_at = disk_now();
	nr_in_flight++;
	if (changes(op))
		disk_write_sent(op->sector, op->nr_sectors, op->value);
	if (op->kind == OP_WRITE)
		fill(op);
	if (send_op(op) < 0 && !dying)
		die_nbd("cannot send");
}

static bool conn_is_over(struct nbd_handle *nbd)
{
	return nbd_aio_is_dead(nbd) || nbd_aio_is_closed(nbd);
}

/* Returns false when all connections are over. */
static bool turn(void)
{
	struct pollfd fds[CONNS];
	unsigned int nr_open = 0;

	for (unsigned int i = 0; i < CONNS; i++) {
		unsigned int dir = conn_is_over(conns[i]) ? 0 : nbd_aio_get_direction(conns[i]);

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
		die("no answer");
	for (unsigned int i = 0; i < CONNS; i++) {
		int r = 0;

		if (fds[i].revents & (POLLIN | POLLHUP | POLLERR))
			r = nbd_aio_notify_read(conns[i]);
		else if (fds[i].revents & POLLOUT)
			r = nbd_aio_notify_write(conns[i]);
		if (r < 0 && !dying)
			die_nbd("connection");
	}
	return true;
}

/* ---- the daemon ---- */

static struct nbd_handle *connect_once(void)
{
	struct nbd_handle *nbd = nbd_create();

	if (!nbd || nbd_add_meta_context(nbd, LIBNBD_CONTEXT_BASE_ALLOCATION) < 0 ||
	    nbd_add_meta_context(nbd, "x-sealblk:encryption") < 0)
		die_nbd("libnbd");
	if (nbd_connect_unix(nbd, socket_path) == 0)
		return nbd;
	nbd_close(nbd);
	return NULL;
}

static void connect_all(void)
{
	const struct timespec pause = { .tv_nsec = 20 * 1000 * 1000 };

	for (unsigned int i = 0; i < CONNS; i++)
		for (unsigned int tries = 0; !(conns[i] = connect_once()); tries++) {
			if (tries == PATIENCE_S * 50 || waitpid(served.pid, NULL, WNOHANG) != 0)
				die("the daemon does not serve");
			nanosleep(&pause, NULL);
		}
	if ((uint64_t)nbd_get_size(conns[0]) != disk_bytes)
		die("the disk is of another size");
}

/* What was not answered by then may or may not have happened. */
static void lose_what_is_in_flight(void)
{
	disk_now();
	for (unsigned int i = 0; i < OPS_MAX; i++) {
		if (!ops[i].used)
			continue;
		if (changes(&ops[i]))
			disk_write_lost(ops[i].sector, ops[i].nr_sectors, ops[i].value);
		finish(&ops[i]);
	}
	disk_forget_before(disk_now());
}

/* With requests in flight; a daemon that runs out of memory is kept busy until then. */
static void end_daemon(enum death how)
{
	dying = true;
	for (unsigned int i = 0; i < OPS_MAX; i++)
		nr_cut[ops[i].kind] += ops[i].used;
	want_none(daemon_strike(&served, how));
	while (turn())
		while (how == DEATH_OOM && nr_in_flight < OPS_MAX)
			start_one();
	for (unsigned int i = 0; i < CONNS; i++)
		nbd_close(conns[i]);
	want_none(daemon_bury(&served, how));
	lose_what_is_in_flight();
	if (how == DEATH_OOM)
		want_none(daemon_limit_memory(&served, 0));
	nr_rounds[how]++;
	dying = false;
}

/*
 * Starts the daemon, and ends it before it serves or just after. Memory may run
 * out at any point of the start, or not at all. (No SIGSEGV: before main() that
 * leaves a core, though without keys.)
 */
static void start_in_vain(enum death how)
{
	const struct timespec pause = { .tv_nsec = (long)chance(EARLY_MS_MAX * 1000000) };
	bool starve = how == DEATH_OOM;

	if (starve)
		want_none(daemon_limit_memory(&served, EARLY_BYTES_MAX / 64 * (1 + chance(64))));
	want_none(daemon_start(&served));
	nanosleep(&pause, NULL);
	want_none(daemon_strike(&served, DEATH_KILL));
	want_none(daemon_bury(&served, DEATH_KILL));
	if (starve)
		want_none(daemon_limit_memory(&served, 0));
	nr_early++;
}

/* ---- phases ---- */

static void look_at_all(void)
{
	static uint8_t bytes[LARGE_BYTES];
	struct op op = { .kind = OP_STATUS, .sent_at = disk_now() };
	nbd_extent_callback extent = { .callback = extents, .user_data = &op };

	for (uint64_t at = 0; at < disk_bytes; at += LARGE_BYTES) {
		if (nbd_pread(conns[0], bytes, LARGE_BYTES, at, 0) < 0)
			die_nbd("cannot read");
		if (!disk_check_read(at / SECTOR, LARGE_BYTES / SECTOR, bytes, op.sent_at))
			die("not what was written, after the start");
		op.sector = at / SECTOR;
		op.nr_sectors = LARGE_BYTES / SECTOR;
		if (nbd_block_status(conns[0], LARGE_BYTES, at, extent, 0) < 0 || op.failed)
			die_nbd("wrong state, after the start");
	}
	disk_forget_before(disk_now());
}

static void run_phase(void)
{
	uint64_t end = next_number + nr_ops / nr_phases;

	while (next_number < end) {
		while (nr_in_flight < OPS_MAX && next_number < end)
			start_one();
		if (next_number < end && !turn())
			die("the connections are gone");
	}
}

static const uint8_t *map_base(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *memory;

	if (fd < 0 || fstat(fd, &st) < 0)
		die("cannot open the base");
	disk_bytes = (uint64_t)st.st_size - SECTOR; /* the VHD's footer */
	memory = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (memory == MAP_FAILED || disk_bytes % LARGE_BYTES != 0 || disk_bytes < HOT_BYTES)
		die("the base will not do");
	return memory;
}

static void parse_deaths(char *list)
{
	nr_deaths = 0;
	for (char *name = strtok(list, ","); name; name = strtok(NULL, ","))
		if (nr_deaths == DEATHS_MAX || !death_of_name(name, &deaths[nr_deaths++]))
			die("no such list of deaths");
	if (nr_deaths == 0)
		die("no such list of deaths");
}

/* Returns false when they make no sense. */
static bool parse_options(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "ops", required_argument, NULL, 'o' },
		{ "phases", required_argument, NULL, 'p' },
		{ "deaths", required_argument, NULL, 'd' },
		{ "cgroup", required_argument, NULL, 'c' },
		{ "early-deaths", no_argument, NULL, 'e' },
		{ NULL, 0, NULL, 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		uint64_t *to = opt == 's' ? &seed : opt == 'o' ? &nr_ops : &nr_phases;

		if (opt == '?')
			return false;
		if (opt == 'd')
			parse_deaths(optarg);
		else if (opt == 'c')
			served.cgroup = optarg;
		else if (opt == 'e')
			early_deaths = true;
		else
			*to = strtoull(optarg, NULL, 10);
	}
	return argc - optind >= 4 && strcmp(argv[optind + 2], "--") == 0 && nr_phases > 0;
}

static void say_figures(void)
{
	printf("%" PRIu64 " requests are as the model has it; cut short: %" PRIu64
	       " writes, %" PRIu64 " trims, %" PRIu64 " zeroes, %" PRIu64 " flushes\n",
	       next_number, nr_cut[OP_WRITE], nr_cut[OP_TRIM], nr_cut[OP_ZERO], nr_cut[OP_FLUSH]);
	printf("figures: %" PRIu64 " rounds (kill -9 %" PRIu64 ", SIGSEGV %" PRIu64 ", OOM %" PRIu64
	       "), %" PRIu64 " deaths while starting, %" PRIu64 " acknowledged changes, 0 lost\n",
	       nr_rounds[DEATH_KILL] + nr_rounds[DEATH_SEGV] + nr_rounds[DEATH_OOM],
	       nr_rounds[DEATH_KILL], nr_rounds[DEATH_SEGV], nr_rounds[DEATH_OOM], nr_early,
	       nr_acknowledged);
}

int main(int argc, char **argv)
{
	const uint8_t *base;

	seed = (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32;
	if (!parse_options(argc, argv))
		return 2;
	socket_path = argv[optind];
	served.argv = argv + optind + 3;
	printf("--seed %" PRIu64 " --ops %" PRIu64 " --phases %" PRIu64 "\n", seed, nr_ops,
	       nr_phases);
	fflush(stdout);

	base = map_base(argv[optind + 1]);
	disk_init(base, disk_bytes / SECTOR);
	for (uint64_t phase = 0; phase <= nr_phases; phase++) {
		enum death how = phase < nr_phases ? deaths[phase % nr_deaths] : DEATH_TERM;

		want_none(daemon_start(&served));
		connect_all();
		look_at_all();
		few_flushes = early_deaths && phase / nr_deaths % 2 == 0;
		if (phase < nr_phases)
			run_phase();
		end_daemon(how);
		if (early_deaths && how != DEATH_TERM && chance(2))
			start_in_vain(how);
	}
	say_figures();
	return 0;
}
