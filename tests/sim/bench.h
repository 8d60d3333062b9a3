/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the simulator share: checks that are counted, and a small
 * program with one file of 64 sectors and one ring.
 */
#ifndef TESTS_SIM_BENCH_H
#define TESTS_SIM_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "sealblk/units.h"
#include "sim/sim.h"

/* A check that fails is printed, and the run goes on. */
#define CHECK(good, ...) bench_check((good), __func__, __LINE__, __VA_ARGS__)

PRINTF_LIKE(4, 5)
void bench_check(bool good, const char *where, int line, const char *format, ...);

/* Print the count of checks, or of those that failed. Returns main()'s result. */
int bench_report(const char *name);

enum {
	FILE_SECTORS = 64,
	FILE_BYTES = FILE_SECTORS * SECTOR_BYTES,
	OP_SECTORS_MAX = 8,
	OPS_MAX = 32,
	SEEN_MAX = 256,
	FILL_NUMBERED = 256,
};

struct bench_op {
	struct ring_op op;
	int result;
	unsigned int nr_done;
	unsigned int done_as; /* first delivered: 1 */
	struct bench *bench;
	uint8_t data[OP_SECTORS_MAX * SECTOR_BYTES];
};

struct bench {
	struct sim *sim;
	struct ring *ring;
	int fd;
	unsigned int nr_ops; /* submitted; the last OPS_MAX are kept */
	unsigned int nr_delivered;
	struct bench_op ops[OPS_MAX];
};

void bench_init(struct bench *bench, uint64_t seed);
void bench_done(struct bench *bench);

/*
 * @fill: every byte of a write, and of the memory of a read before it;
 * FILL_NUMBERED: 1 in the first sector, 2 in the next, and so on.
 */
struct bench_op *bench_submit(struct bench *bench, enum ring_kind kind, uint64_t sector,
			      uint32_t sectors, unsigned int fill);

/* Deliver everything. Returns what ring_wait() said in the end. */
int bench_drain(struct bench *bench);

/* One operation and all before it to their end. Returns its result, or the crash's. */
int bench_write(struct bench *bench, uint64_t sector, uint32_t sectors, unsigned int fill);
int bench_sync(struct bench *bench);

/* The byte that fills a sector. */
uint8_t bench_look(const struct sim *sim, int fd, enum sim_view view, uint64_t sector);

/* The first four sectors as one number, sector 0 in the low byte, as reads show them. */
uint32_t bench_look4(const struct sim *sim, int fd);

struct sim_cut *bench_cut(const struct bench *bench, enum sim_cut_kind kind, enum sim_grain grain,
			  uint64_t states_max);

/*
 * All states of a cut of at most SEEN_MAX, as bench_look4() shows them, into
 * @ret_seen. Returns how many different ones there are.
 */
uint32_t bench_collect(const struct bench *bench, enum sim_cut_kind kind, enum sim_grain grain,
		       uint64_t *ret_states, uint32_t ret_seen[static SEEN_MAX]);

#endif
