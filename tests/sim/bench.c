/* SPDX-License-Identifier: MIT */
/* A small program to try the simulator with. */
#include "sim/bench.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static uint64_t nr_checks;
static uint64_t nr_failed;

void bench_check(bool good, const char *where, int line, const char *format, ...)
{
	va_list args;

	nr_checks++;
	if (good)
		return;
	nr_failed++;
	fprintf(stderr, "%s, line %d: ", where, line);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

int bench_report(const char *name)
{
	if (nr_failed) {
		fprintf(stderr, "%s: %" PRIu64 " of %" PRIu64 " checks failed\n", name, nr_failed,
			nr_checks);
		return EXIT_FAILURE;
	}
	printf("%s: %" PRIu64 " checks passed\n", name, nr_checks);
	return EXIT_SUCCESS;
}

static void op_done(struct ring_op *op, int result)
{
	struct bench_op *sent = CONTAINER_OF(op, struct bench_op, op);

	sent->result = result;
	sent->nr_done++;
	sent->done_as = ++sent->bench->nr_delivered;
}

void bench_init(struct bench *bench, uint64_t seed)
{
	memset(bench, 0, sizeof(*bench));
	bench->sim = sim_new(seed);
	bench->fd = sim_file(bench->sim, FILE_BYTES);
	bench->ring = sim_ring(bench->sim);
}

void bench_done(struct bench *bench)
{
	sim_free(bench->sim);
}

struct bench_op *bench_submit(struct bench *bench, enum ring_kind kind, uint64_t sector,
			      uint32_t sectors, unsigned int fill)
{
	struct bench_op *sent = &bench->ops[bench->nr_ops++ % OPS_MAX];

	*sent = (struct bench_op){ .op = {
					  .kind = kind,
					  .fd = bench->fd,
					  .offset_bytes = sector * SECTOR_BYTES,
					  .range_bytes = (uint64_t)sectors * SECTOR_BYTES,
					  .data = sent->data,
					  .done = op_done,
				  },
				  .bench = bench };
	if (kind == RING_READ || kind == RING_WRITE)
		sent->op.bytes = sectors * SECTOR_BYTES;
	for (unsigned int i = 0; i < OP_SECTORS_MAX; i++)
		memset(sent->data + i * SECTOR_BYTES,
		       fill == FILL_NUMBERED ? (int)i + 1 : (int)fill, SECTOR_BYTES);
	ring_submit(bench->ring, &sent->op);
	return sent;
}

int bench_drain(struct bench *bench)
{
	int rc = 0;

	while (rc == 0 && bench->ring->nr_in_flight > 0)
		rc = ring_wait(bench->ring, -1);
	return rc;
}

int bench_write(struct bench *bench, uint64_t sector, uint32_t sectors, unsigned int fill)
{
	struct bench_op *sent = bench_submit(bench, RING_WRITE, sector, sectors, fill);

	return bench_drain(bench) ? -ECANCELED : sent->result;
}

int bench_sync(struct bench *bench)
{
	struct bench_op *sent = bench_submit(bench, RING_FDATASYNC, 0, 0, 0);

	return bench_drain(bench) ? -ECANCELED : sent->result;
}

uint8_t bench_look(const struct sim *sim, int fd, enum sim_view view, uint64_t sector)
{
	uint8_t bytes[SECTOR_BYTES];

	sim_peek(sim, fd, view, sector * SECTOR_BYTES, bytes, sizeof(bytes));
	CHECK(memcmp(bytes, bytes + 1, sizeof(bytes) - 1) == 0, "sector %" PRIu64 " is mixed",
	      sector);
	return bytes[0];
}

uint32_t bench_look4(const struct sim *sim, int fd)
{
	uint32_t all = 0;

	for (int i = 3; i >= 0; i--)
		all = all << 8 | bench_look(sim, fd, SIM_CACHE, i);
	return all;
}

struct sim_cut *bench_cut(const struct bench *bench, enum sim_cut_kind kind, enum sim_grain grain,
			  uint64_t states_max)
{
	const struct sim_cut_plan plan = {
		.kind = kind,
		.grain = grain,
		.states_max = states_max,
		.seed = 7,
	};

	return sim_cut_new(bench->sim, &plan);
}

uint32_t bench_collect(const struct bench *bench, enum sim_cut_kind kind, enum sim_grain grain,
		       uint64_t *ret_states, uint32_t ret_seen[static SEEN_MAX])
{
	struct sim_cut *cut = bench_cut(bench, kind, grain, SEEN_MAX);
	uint32_t nr = 0;

	*ret_states = sim_cut_states(cut);
	CHECK(sim_cut_exhaustive(cut), "%" PRIu64 " states", *ret_states);
	for (uint64_t i = 0; i < *ret_states; i++) {
		struct sim *after = sim_cut_take(cut, i);
		uint32_t at = 0;

		ret_seen[nr] = bench_look4(after, bench->fd);
		while (ret_seen[at] != ret_seen[nr])
			at++;
		nr += at == nr;
		sim_free(after);
	}
	sim_cut_free(cut);
	return nr;
}
