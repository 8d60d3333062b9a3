/* SPDX-License-Identifier: MIT */
/* Does the simulator keep its promises? Here: steps, order, faults and stores. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "sim/bench.h"

/* ---- steps and order ------------------------------------------------------ */

static void test_crash_at_every_step(void)
{
	enum { STEPS = 6 };

	for (uint64_t n = 0; n <= STEPS; n++) {
		struct bench b;
		unsigned int nr_done;

		bench_init(&b, 0);
		sim_crash_at(b.sim, n);
		(void)bench_write(&b, 0, 1, 1);
		(void)bench_write(&b, 1, 1, 2);
		(void)bench_sync(&b);
		nr_done = b.ops[0].nr_done + b.ops[1].nr_done + b.ops[2].nr_done;
		CHECK(nr_done == n / 2, "%u delivered by step %" PRIu64, nr_done, n);
		CHECK(sim_steps(b.sim) == n, "%" PRIu64 " steps", sim_steps(b.sim));
		CHECK(sim_crashed(b.sim) == (n < STEPS), "at the end there is no crash");
		CHECK(bench_look(b.sim, b.fd, SIM_MEDIUM, 0) == (n == STEPS), "flushed last");
		CHECK(sim_count(b.sim, RING_WRITE) == (n > 2 ? 2 : n > 0), "counted");
		ring_free(b.ring);
		bench_done(&b);
	}
}

static void test_every_order(void)
{
	static const struct {
		bool split;
		uint32_t nr_runs;
	} rows[] = { { false, 6 }, { true, 90 } }; /* 3! and 6! / 2^3 */

	for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
		struct sim_choices choices = { 0 };
		unsigned int seen[4][4] = { 0 };
		uint32_t nr_runs = 0;
		bool more;

		do {
			struct bench b;

			bench_init(&b, 1);
			sim_split_completions(b.sim, rows[row].split);
			sim_follow(b.sim, &choices);
			for (uint8_t i = 0; i < 3; i++)
				(void)bench_submit(&b, RING_WRITE, 0, 1, i + 1);
			CHECK(bench_drain(&b) == 0, "a run");
			for (uint8_t i = 0; i < 3; i++)
				if (b.ops[i].done_as == 3)
					seen[i][bench_look(b.sim, b.fd, SIM_CACHE, 0)]++;
			nr_runs++;
			bench_done(&b);
			more = sim_choices_next(&choices);
		} while (more);
		CHECK(nr_runs == rows[row].nr_runs, "%u runs", nr_runs);
		CHECK(!choices.overflow, "they fit");
		for (int i = 0; i < 3; i++)
			for (int j = 0; j < 3; j++)
				CHECK((seen[i][j + 1] > 0) == (i == j || rows[row].split),
				      "delivered last: %d, newest effect: %d", i, j);
	}
}

static void order_of_run(uint64_t seed, unsigned int ret_order[static 8])
{
	struct bench b;

	bench_init(&b, seed);
	for (uint8_t i = 0; i < 8; i++)
		(void)bench_submit(&b, RING_WRITE, i, 1, i);
	CHECK(bench_drain(&b) == 0, "a run");
	for (unsigned int i = 0; i < 8; i++)
		ret_order[i] = b.ops[i].done_as;
	bench_done(&b);
}

static void test_seeds(void)
{
	unsigned int first[8];
	unsigned int order[8];
	unsigned int nr_different = 0;

	for (uint64_t seed = 1; seed <= 20; seed++) {
		order_of_run(seed, first);
		order_of_run(seed, order);
		CHECK(memcmp(first, order, sizeof(order)) == 0, "seed %" PRIu64, seed);
		order_of_run(seed + 1, order);
		nr_different += memcmp(first, order, sizeof(order)) != 0;
	}
	CHECK(nr_different >= 19, "only %u seeds differ from the next", nr_different);
	order_of_run(0, order);
	for (unsigned int i = 0; i < 8; i++)
		CHECK(order[i] == i + 1, "without a seed: in order");
}

/* ---- faults --------------------------------------------------------------- */

static void test_errors(void)
{
	struct bench b;
	struct bench_op *op;

	bench_init(&b, 0);
	sim_fault(b.sim,
		  &(struct sim_fault){ .kind = RING_WRITE, .fd = b.fd, .nth = 2, .error = -EIO });
	sim_fault(b.sim, &(struct sim_fault){ .kind = RING_WRITE,
					      .fd = SIM_ANY_FILE,
					      .nth = 4,
					      .persistent = true,
					      .error = -ENOSPC });
	sim_fault(b.sim, &(struct sim_fault){
				 .kind = RING_READ, .fd = b.fd + 1, .nth = 1, .error = -EIO });
	CHECK(bench_write(&b, 0, 1, 1) == 0, "1st");
	CHECK(bench_write(&b, 0, 1, 2) == -EIO && bench_look(b.sim, b.fd, SIM_CACHE, 0) == 1,
	      "2nd");
	CHECK(bench_write(&b, 0, 1, 3) == 0, "3rd");
	CHECK(bench_write(&b, 0, 1, 4) == -ENOSPC && bench_write(&b, 0, 1, 5) == -ENOSPC, "4th on");
	CHECK(bench_look(b.sim, b.fd, SIM_CACHE, 0) == 3, "what failed changed nothing");
	op = bench_submit(&b, RING_READ, 0, 1, 0);
	CHECK(bench_drain(&b) == 0 && op->result == 0, "another file's fault");
	op = bench_submit(&b, RING_READ, FILE_SECTORS - 1, 2, 0);
	CHECK(bench_drain(&b) == 0 && op->result == -EIO, "the end of the file");
	op = bench_submit(&b, RING_POLL, 0, 0, 0);
	CHECK(bench_drain(&b) == 0 && op->result == -EOPNOTSUPP, "no sockets here");
	b.fd++;
	CHECK(bench_write(&b, 0, 1, 1) == -EBADF, "no such file");
	CHECK(ring_wait(b.ring, 0) == 0 && ring_wait(b.ring, -1) == -EDEADLK,
	      "nothing to wait for");
	bench_done(&b);
}

static void test_short_transfers(void)
{
	struct bench b;
	struct bench_op *read;

	bench_init(&b, 0);
	sim_fault(b.sim, &(struct sim_fault){
				 .kind = RING_WRITE, .fd = b.fd, .nth = 1, .moved_bytes = 1024 });
	sim_fault(b.sim, &(struct sim_fault){ .kind = RING_WRITE,
					      .fd = b.fd,
					      .nth = 2,
					      .moved_bytes = 512,
					      .error = -EIO });
	sim_fault(b.sim, &(struct sim_fault){
				 .kind = RING_READ, .fd = b.fd, .nth = 1, .moved_bytes = 700 });
	sim_fault(b.sim,
		  &(struct sim_fault){ .kind = RING_READ, .fd = b.fd, .nth = 2, .error = -EINTR });
	CHECK(bench_write(&b, 0, 4, FILL_NUMBERED) == 0 && bench_look4(b.sim, b.fd) == 0x04030201,
	      "continued");
	read = bench_submit(&b, RING_READ, 0, 4, 0);
	CHECK(bench_drain(&b) == 0 && read->result == 0 && read->data[4 * SECTOR_BYTES - 1] == 4 &&
		      read->nr_done == 1,
	      "a read too");
	read = bench_submit(&b, RING_READ, 0, 4, 0);
	CHECK(bench_drain(&b) == 0 && read->result == 0 && read->data[0] == 1,
	      "interrupted, again");
	CHECK(bench_write(&b, 0, 4, 2) == -EIO && bench_look4(b.sim, b.fd) == 0x04030202,
	      "half failed");
	CHECK(bench_sync(&b) == 0 && bench_look(b.sim, b.fd, SIM_MEDIUM, 3) == 4,
	      "all parts are covered");
	bench_done(&b);
}

/* Two writes, a flush that fails as said, a look, another flush. */
static void fail_flush(struct bench *b, enum sim_sync_fault sync, uint64_t reached, int first,
		       int second)
{
	bench_init(b, 0);
	sim_fault(b->sim, &(struct sim_fault){ .kind = RING_FDATASYNC,
					       .fd = b->fd,
					       .nth = 1,
					       .error = -EIO,
					       .sync = sync,
					       .reached = reached });
	(void)bench_write(b, 0, 1, 1);
	(void)bench_write(b, 1, 1, 2);
	CHECK(bench_sync(b) == first, "the first flush");
	CHECK(bench_look4(b->sim, b->fd) == 0x0201, "the cache shows the writes");
	CHECK(bench_sync(b) == second, "the second");
}

static void test_failed_flushes(void)
{
	struct bench b;
	struct store store;

	fail_flush(&b, SIM_SYNC_KEEPS, 0, -EIO, 0);
	CHECK(bench_look(b.sim, b.fd, SIM_MEDIUM, 0) == 1, "kept: the second flush has it");
	bench_done(&b);

	fail_flush(&b, SIM_SYNC_DROPS, 2, -EIO, 0);
	CHECK(bench_look(b.sim, b.fd, SIM_MEDIUM, 0) == 0 &&
		      bench_look(b.sim, b.fd, SIM_MEDIUM, 1) == 2,
	      "dropped, but for the second write");
	(void)bench_write(&b, 2, 1, 3);
	sim_store(b.sim, b.fd, &store);
	CHECK(store_drop_cache(&store) == 0 && bench_look4(b.sim, b.fd) == 0x030200,
	      "a dropped cache shows the medium and what is dirty");
	bench_done(&b);

	fail_flush(&b, SIM_SYNC_LATE, 0, 0, -EIO);
	CHECK(bench_look(b.sim, b.fd, SIM_MEDIUM, 0) == 0, "lost before anybody was told");
	CHECK(bench_sync(&b) == 0, "told once");
	bench_done(&b);

	fail_flush(&b, SIM_SYNC_LATE, UINT64_MAX, 0, -EIO);
	CHECK(bench_look(b.sim, b.fd, SIM_MEDIUM, 1) == 2, "held by the journal");
	bench_done(&b);
}

/* ---- stores and clones ---------------------------------------------------- */

static void test_store(void)
{
	struct bench b;
	struct store store;
	uint64_t bytes = 0;
	bool hole = false;

	bench_init(&b, 0);
	(void)bench_write(&b, 8, 3, 1);
	sim_store(b.sim, b.fd, &store);
	CHECK(store.fd == b.fd && store.bytes == FILE_BYTES, "what it is");
	CHECK(store_extent(&store, 0, FILE_BYTES, &hole, &bytes) == 0 && hole && bytes == 4096,
	      "a hole of %" PRIu64, bytes);
	CHECK(store_extent(&store, 4096, FILE_BYTES, &hole, &bytes) == 0 && !hole && bytes == 1536,
	      "data of %" PRIu64, bytes);
	CHECK(store_extent(&store, 5000, 100, &hole, &bytes) == 0 && !hole && bytes == 100,
	      "no further than asked");
	CHECK(store_extent(&store, 5632, UINT64_MAX, &hole, &bytes) == 0 && hole && bytes > TIB,
	      "a hole to the end");
	store_close(&store);
	bench_done(&b);
}

static void test_clones(void)
{
	struct bench b;
	struct sim *clone;
	const uint8_t rot = 0xee;
	uint8_t now = 0;

	bench_init(&b, 0);
	(void)bench_write(&b, 0, 2, 1);
	(void)bench_sync(&b);
	(void)bench_write(&b, 2, 1, 2);
	clone = sim_clone(b.sim, 0);
	(void)bench_write(&b, 0, 1, 3);
	(void)bench_sync(&b);
	CHECK(bench_look4(clone, b.fd) == 0x020101 && bench_look4(b.sim, b.fd) == 0x020103,
	      "apart");
	CHECK(bench_look(clone, b.fd, SIM_MEDIUM, 2) == 0, "pending in the clone");
	sim_poke(clone, b.fd, 513, &rot, 1);
	sim_peek(clone, b.fd, SIM_MEDIUM, 513, &now, 1);
	CHECK(now == rot && bench_look(b.sim, b.fd, SIM_MEDIUM, 1) == 1, "rot in one only");
	sim_free(b.sim);
	CHECK(bench_look(clone, b.fd, SIM_CACHE, 2) == 2, "it outlives the first");
	sim_free(clone);
}

int main(void)
{
	test_crash_at_every_step();
	test_every_order();
	test_seeds();
	test_errors();
	test_short_transfers();
	test_failed_flushes();
	test_store();
	test_clones();
	return bench_report("simulated engine");
}
