/* SPDX-License-Identifier: MIT */
/*
 * Does the simulator itself keep its promises? A wrong one would pass wrong
 * code. Here: the medium, and what a crash leaves on it.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "sim/bench.h"

static bool was_seen(const uint32_t *seen, uint32_t nr, uint32_t state)
{
	for (uint32_t i = 0; i < nr; i++)
		if (seen[i] == state)
			return true;
	return false;
}

/* ---- medium and flush ----------------------------------------------------- */

static void test_cache_and_medium(void)
{
	struct bench b;
	struct bench_op *read;

	bench_init(&b, 0);
	CHECK(bench_write(&b, 1, 2, 0xaa) == 0, "write");
	read = bench_submit(&b, RING_READ, 0, 4, 0xff);
	CHECK(bench_drain(&b) == 0 && read->result == 0 && read->nr_done == 1, "read");
	CHECK(read->data[0] == 0 && read->data[SECTOR_BYTES] == 0xaa &&
		      read->data[3 * SECTOR_BYTES - 1] == 0xaa && read->data[3 * SECTOR_BYTES] == 0,
	      "a read shows the cache");
	CHECK(bench_look(b.sim, b.fd, SIM_MEDIUM, 1) == 0,
	      "nothing is on the medium before a flush");
	CHECK(bench_sync(&b) == 0, "flush");
	CHECK(bench_look(b.sim, b.fd, SIM_MEDIUM, 1) == 0xaa, "a flush brings it there");
	CHECK(sim_is_hole(b.sim, b.fd, SIM_MEDIUM, 0, SECTOR_BYTES), "sector 0 stays a hole");
	CHECK(!sim_is_hole(b.sim, b.fd, SIM_MEDIUM, 0, SECTOR_BYTES + 1), "sector 1 is none");
	CHECK(sim_is_zero(b.sim, b.fd, SIM_MEDIUM, 3 * SECTOR_BYTES, TIB), "the rest is zeros");
	CHECK(!sim_is_zero(b.sim, b.fd, SIM_MEDIUM, 0, FILE_BYTES), "the whole is not");
	bench_done(&b);
}

static void test_flush_covers_delivered_only(void)
{
	struct bench b;
	struct bench_op *write;

	bench_init(&b, 0);
	write = bench_submit(&b, RING_WRITE, 0, 1, 1);
	(void)bench_submit(&b, RING_FDATASYNC, 0, 0, 0);
	CHECK(ring_wait(b.ring, -1) == 0 && write->nr_done == 1, "oldest first without a seed");
	CHECK(bench_drain(&b) == 0, "the flush ends");
	CHECK(bench_look(b.sim, b.fd, SIM_MEDIUM, 0) == 0,
	      "submitted before the write was delivered");
	CHECK(bench_sync(&b) == 0 && bench_look(b.sim, b.fd, SIM_MEDIUM, 0) == 1,
	      "a later one covers it");

	(void)bench_write(&b, 0, 1, 2);
	(void)bench_submit(&b, RING_FDATASYNC, 0, 0, 0);
	CHECK(bench_look(b.sim, b.fd, SIM_MEDIUM, 0) == 1,
	      "a flush in flight has done nothing yet");
	bench_done(&b);
}

static void test_flush_is_of_one_file(void)
{
	struct bench b;
	int first;

	bench_init(&b, 0);
	first = b.fd;
	(void)bench_write(&b, 0, 1, 1);
	b.fd = sim_file(b.sim, FILE_BYTES);
	CHECK(b.fd == first + 1, "descriptors follow each other");
	(void)bench_write(&b, 0, 1, 2);
	CHECK(bench_sync(&b) == 0 && bench_look(b.sim, b.fd, SIM_MEDIUM, 0) == 2, "the second");
	CHECK(bench_look(b.sim, first, SIM_MEDIUM, 0) == 0, "not the first");
	bench_done(&b);
}

/* A durable write may not be undone by an older one that is still pending. */
static void test_durable_beats_older(void)
{
	struct sim_choices order = { .nr = 3, .of = { 2, 2, 2 }, .taken = { 0, 1, 1 } };
	struct sim_choices flush_first = { .nr = 2, .of = { 2, 2 }, .taken = { 1, 1 } };
	uint32_t seen[SEEN_MAX] = { 0 };
	uint64_t states;
	struct bench b;

	bench_init(&b, 0);
	sim_split_completions(b.sim, true);
	sim_follow(b.sim, &order);
	(void)bench_submit(&b, RING_WRITE, 0, 2, 1);
	(void)bench_submit(&b, RING_WRITE, 1, 2, 2);
	/* First takes effect, second takes effect, second is delivered. */
	CHECK(ring_wait(b.ring, -1) == 0 && b.ops[1].nr_done == 1 && b.ops[0].nr_done == 0,
	      "delivered against the order of effects");
	(void)bench_submit(&b, RING_FDATASYNC, 0, 0, 0);
	sim_follow(b.sim, &flush_first);
	CHECK(ring_wait(b.ring, -1) == 0 && b.ops[2].nr_done == 1, "the flush is delivered");
	CHECK(bench_collect(&b, SIM_POWER_CUT, SIM_WHOLE_WRITES, &states, seen) == 2 && states == 2,
	      "one write is open");
	CHECK(was_seen(seen, 2, 0x020200) && was_seen(seen, 2, 0x020201), "%x %x", seen[0],
	      seen[1]);
	bench_done(&b);
}

/* ---- cuts ----------------------------------------------------------------- */

static void test_all_subsets(void)
{
	uint32_t seen[SEEN_MAX] = { 0 };
	uint64_t states;
	struct bench b;
	struct sim_cut *cut;

	bench_init(&b, 3);
	for (uint8_t i = 0; i < 3; i++)
		(void)bench_write(&b, i, 1, i + 1);
	CHECK(bench_collect(&b, SIM_POWER_CUT, SIM_WHOLE_WRITES, &states, seen) == 8 && states == 8,
	      "2^3 states");
	for (uint32_t mask = 0; mask < 8; mask++) {
		const uint32_t want = (mask & 1 ? 1 : 0) | (mask & 2 ? 0x200 : 0) |
				      (mask & 4 ? 0x30000 : 0);

		CHECK(seen[mask] == want, "state %u is %x", mask, seen[mask]);
	}
	CHECK(bench_collect(&b, SIM_POWER_CUT, SIM_SECTORS, &states, seen) == 8 && states == 8,
	      "again");
	CHECK(bench_sync(&b) == 0, "flush");
	CHECK(bench_collect(&b, SIM_POWER_CUT, SIM_SECTORS, &states, seen) == 1 && states == 1,
	      "nothing is open after a flush");
	CHECK(seen[0] == 0x030201, "all of it is there: %x", seen[0]);
	cut = bench_cut(&b, SIM_POWER_CUT, SIM_WHOLE_WRITES, 1);
	CHECK(sim_cut_pending(cut) == 0, "%u", sim_cut_pending(cut));
	sim_cut_free(cut);
	bench_done(&b);
}

static void test_torn_writes(void)
{
	uint32_t seen[SEEN_MAX] = { 0 };
	uint64_t states;
	struct bench b;
	uint32_t nr;

	bench_init(&b, 0);
	(void)bench_write(&b, 0, 4, 5);
	CHECK(bench_collect(&b, SIM_POWER_CUT, SIM_WHOLE_WRITES, &states, seen) == 2 && states == 2,
	      "whole or not");
	CHECK(bench_collect(&b, SIM_POWER_CUT, SIM_SECTORS, &states, seen) == 16 && states == 16,
	      "each sector for itself");
	(void)bench_sync(&b);

	(void)bench_write(&b, 0, 2, 6);
	(void)bench_write(&b, 1, 2, 7);
	nr = bench_collect(&b, SIM_POWER_CUT, SIM_WHOLE_WRITES, &states, seen);
	CHECK(nr == 4 && states == 4 && was_seen(seen, nr, 0x05050505) &&
		      was_seen(seen, nr, 0x05050606) && was_seen(seen, nr, 0x05070705) &&
		      was_seen(seen, nr, 0x05070706),
	      "the newer of two kept writes wins");
	nr = bench_collect(&b, SIM_POWER_CUT, SIM_SECTORS, &states, seen);
	CHECK(nr == 12 && states == 12, "2 * 3 * 2 versions, %u seen", nr);
	CHECK(was_seen(seen, nr, 0x05070606), "a mix of both");

	(void)bench_sync(&b);
	(void)bench_write(&b, 1, 2, 7);
	CHECK(bench_collect(&b, SIM_POWER_CUT, SIM_SECTORS, &states, seen) == 1 && states == 1,
	      "what writes the same again makes no second state");
	bench_done(&b);
}

static void test_in_flight_at_the_cut(void)
{
	uint32_t seen[SEEN_MAX] = { 0 };
	uint64_t states;
	struct bench b;

	bench_init(&b, 0);
	(void)bench_submit(&b, RING_WRITE, 0, 2, 9);
	sim_crash_at(b.sim, sim_steps(b.sim));
	CHECK(ring_wait(b.ring, -1) == -ECANCELED && sim_crashed(b.sim), "crash");
	memset(b.ops, 0, sizeof(b.ops));
	CHECK(bench_collect(&b, SIM_POWER_CUT, SIM_WHOLE_WRITES, &states, seen) == 2 &&
		      was_seen(seen, 2, 0) && was_seen(seen, 2, 0x0909),
	      "kept or not, though its memory is gone");
	CHECK(bench_collect(&b, SIM_POWER_CUT, SIM_SECTORS, &states, seen) == 4, "or partly");
	bench_done(&b);
}

static void test_punches(void)
{
	uint32_t seen[SEEN_MAX] = { 0 };
	uint64_t states;
	struct bench b;
	struct bench_op *punch;

	bench_init(&b, 0);
	(void)bench_write(&b, 0, 2, 1);
	(void)bench_sync(&b);
	punch = bench_submit(&b, RING_PUNCH, 0, 0, 0);
	CHECK(bench_drain(&b) == 0 && punch->result == 0, "an empty punch");
	(void)bench_submit(&b, RING_PUNCH, 1, UINT32_MAX, 0);
	CHECK(bench_drain(&b) == 0 && bench_look4(b.sim, b.fd) == 0x01, "a huge one");
	CHECK(sim_is_hole(b.sim, b.fd, SIM_CACHE, SECTOR_BYTES, SECTOR_BYTES), "makes a hole");
	CHECK(sim_file_bytes(b.sim, b.fd) == FILE_BYTES, "and leaves the length");
	(void)bench_write(&b, 2, 1, 2);
	CHECK(bench_collect(&b, SIM_POWER_CUT, SIM_SECTORS, &states, seen) == 4 && states == 4,
	      "hole or not, written or not");
	CHECK(was_seen(seen, 4, 0x020001) && was_seen(seen, 4, 0x000101), "either alone");
	(void)bench_sync(&b);
	CHECK(sim_is_hole(b.sim, b.fd, SIM_MEDIUM, SECTOR_BYTES, SECTOR_BYTES), "durable hole");
	bench_done(&b);
}

static void test_kill(void)
{
	uint32_t seen[SEEN_MAX] = { 0 };
	uint64_t states;
	struct bench b;
	struct bench next;
	struct sim_cut *cut;
	uint32_t nr;

	bench_init(&b, 0);
	(void)bench_write(&b, 0, 1, 1);
	(void)bench_submit(&b, RING_WRITE, 1, 2, 2);
	(void)bench_submit(&b, RING_WRITE, 3, 1, 3);
	sim_crash_at(b.sim, sim_steps(b.sim));
	CHECK(ring_wait(b.ring, 0) == -ECANCELED, "killed");
	nr = bench_collect(&b, SIM_KILL, SIM_WHOLE_WRITES, &states, seen);
	CHECK(nr == 4 && states == 4, "%u", nr);
	CHECK(was_seen(seen, nr, 0x01) && was_seen(seen, nr, 0x020201) &&
		      was_seen(seen, nr, 0x03000001) && was_seen(seen, nr, 0x03020201),
	      "the cache and any of those in flight");
	CHECK(bench_collect(&b, SIM_KILL, SIM_SECTORS, &states, seen) == 8, "or parts of them");

	cut = bench_cut(&b, SIM_KILL, SIM_WHOLE_WRITES, 4);
	bench_init(&next, 0);
	sim_free(next.sim);
	next.sim = sim_cut_take(cut, 1);
	next.ring = sim_ring(next.sim);
	sim_cut_free(cut);
	CHECK(bench_collect(&next, SIM_POWER_CUT, SIM_WHOLE_WRITES, &states, seen) == 4 &&
		      states == 4,
	      "what survived a kill is still not on the medium");
	CHECK(bench_sync(&next) == 0 && bench_look(next.sim, next.fd, SIM_MEDIUM, 0) == 1 &&
		      bench_look(next.sim, next.fd, SIM_MEDIUM, 2) == 2,
	      "until the next daemon flushes it");
	bench_done(&next);
	bench_done(&b);
}

static void test_kill_within_operations(void)
{
	uint32_t seen[SEEN_MAX] = { 0 };
	uint64_t states;
	struct bench b;
	uint32_t nr;

	bench_init(&b, 0);
	(void)bench_submit(&b, RING_WRITE, 0, 4, FILL_NUMBERED);
	sim_crash_at(b.sim, sim_steps(b.sim));
	CHECK(bench_drain(&b) == -ECANCELED, "killed");
	nr = bench_collect(&b, SIM_KILL, SIM_SECTORS, &states, seen);
	CHECK(nr == 16 && was_seen(seen, nr, 0x04000201), "each part is in its place");
	for (uint32_t i = 0; i < nr; i++)
		CHECK((seen[i] & ~UINT32_C(0x04030201)) == 0, "%x", seen[i]);
	bench_done(&b);

	bench_init(&b, 0);
	(void)bench_write(&b, 0, 4, 5);
	(void)bench_submit(&b, RING_PUNCH, 1, 1, 0);
	CHECK(bench_drain(&b) == 0, "a hole within");
	(void)bench_submit(&b, RING_PUNCH, 0, 4, 0);
	sim_crash_at(b.sim, sim_steps(b.sim));
	CHECK(bench_drain(&b) == -ECANCELED, "killed");
	nr = bench_collect(&b, SIM_KILL, SIM_WHOLE_WRITES, &states, seen);
	CHECK(nr == 2 && was_seen(seen, nr, 0) && was_seen(seen, nr, 0x05050005),
	      "a punch around a hole is whole or not");
	bench_done(&b);
}

static void test_sampled_cuts(void)
{
	struct bench b;
	struct sim_cut *cut;
	uint64_t nr_random = 0;

	bench_init(&b, 0);
	for (uint8_t i = 0; i < 20; i++)
		(void)bench_write(&b, 2 * (uint64_t)i, 2, i + 1);
	cut = bench_cut(&b, SIM_POWER_CUT, SIM_SECTORS, 200);
	CHECK(sim_cut_pending(cut) == 20 && sim_cut_states(cut) == 200, "counts");
	CHECK(!sim_cut_exhaustive(cut), "not all");
	for (uint64_t state = 0; state < 200; state++) {
		struct sim *after = sim_cut_take(cut, state);
		struct sim *again = sim_cut_take(cut, state);
		uint32_t nr_kept = 0;

		for (uint64_t i = 0; i < 2 * 20; i++) {
			const uint8_t now = bench_look(after, b.fd, SIM_MEDIUM, i);

			CHECK(now == 0 || now == i / 2 + 1, "sector %" PRIu64 " is %u", i, now);
			CHECK(now == bench_look(again, b.fd, SIM_MEDIUM, i), "state %" PRIu64,
			      state);
			nr_kept += now != 0;
		}
		CHECK(state != 0 || nr_kept == 0, "nothing");
		CHECK(state != 1 || nr_kept == 40, "all");
		CHECK(state < 2 || state >= 22 || nr_kept == 2, "only one");
		CHECK(state < 22 || state >= 42 || nr_kept == 38, "all but one");
		nr_random += state >= 42 && nr_kept > 4 && nr_kept < 36;
		sim_free(after);
		sim_free(again);
	}
	CHECK(nr_random > 150, "%" PRIu64 " in the middle", nr_random);
	sim_cut_free(cut);
	cut = bench_cut(&b, SIM_POWER_CUT, SIM_WHOLE_WRITES, 1 << 20);
	CHECK(sim_cut_exhaustive(cut) && sim_cut_states(cut) == 1 << 20, "just all");
	sim_cut_free(cut);
	bench_done(&b);
}

static void test_length(void)
{
	struct bench b;
	struct sim_cut *cut;
	struct sim *after;

	bench_init(&b, 0);
	(void)bench_write(&b, FILE_SECTORS + 3, 1, 0);
	CHECK(sim_file_bytes(b.sim, b.fd) == FILE_BYTES + 4 * SECTOR_BYTES, "it grows");
	cut = bench_cut(&b, SIM_POWER_CUT, SIM_SECTORS, 16);
	CHECK(sim_cut_states(cut) == 2, "written zeros count where the file grows");
	after = sim_cut_take(cut, 0);
	CHECK(sim_file_bytes(after, b.fd) == FILE_BYTES, "lost");
	sim_free(after);
	after = sim_cut_take(cut, 1);
	CHECK(sim_file_bytes(after, b.fd) == FILE_BYTES + 4 * SECTOR_BYTES, "kept");
	sim_free(after);
	sim_cut_free(cut);
	bench_done(&b);
}

/* A sector torn inside is old or new in each 16 bytes, and never anything else. */
static void test_torn_inside(void)
{
	struct bench b;
	struct sim_cut *cut;
	uint32_t nr_torn = 0;

	bench_init(&b, 0);
	(void)bench_write(&b, 0, 1, 0x11);
	(void)bench_sync(&b);
	(void)bench_write(&b, 0, 1, 0x22);
	cut = bench_cut(&b, SIM_POWER_CUT, SIM_UNITS, 40);
	for (uint64_t state = 0; state < sim_cut_states(cut); state++) {
		struct sim *after = sim_cut_take(cut, state);
		uint8_t bytes[SECTOR_BYTES];
		bool old = false, new = false;

		sim_peek(after, b.fd, SIM_CACHE, 0, bytes, sizeof(bytes));
		for (int at = 0; at < SECTOR_BYTES; at++) {
			CHECK(bytes[at] == bytes[at / 16 * 16], "a unit is torn");
			CHECK(bytes[at] == 0x11 || bytes[at] == 0x22, "byte %x", bytes[at]);
			old |= bytes[at] == 0x11;
			new |= bytes[at] == 0x22;
		}
		nr_torn += old && new;
		sim_free(after);
	}
	CHECK(nr_torn > 10, "only %u of the states are torn", nr_torn);
	sim_cut_free(cut);
	bench_done(&b);
}

/* ---- against a model ------------------------------------------------------ */

/* What a sector may be found to hold: versions since the last one that is durable. */
struct model_sector {
	uint8_t versions[OPS_MAX + 1];
	uint32_t nr;
};

/* A digest is of what is there, whether it was found without taking the state or after it. */
static void check_digests(const struct bench *b)
{
	struct sim_cut *cut = bench_cut(b, SIM_POWER_CUT, SIM_SECTORS, SEEN_MAX);
	uint64_t digests[SEEN_MAX];

	for (uint64_t state = 0; state < sim_cut_states(cut); state++) {
		const struct bench after = { .sim = sim_cut_take(cut, state), .fd = b->fd };
		struct sim_cut *again = bench_cut(&after, SIM_POWER_CUT, SIM_SECTORS, 1);

		digests[state] = sim_cut_digest(cut, state);
		CHECK(digests[state] == sim_cut_digest(again, 0), "state %" PRIu64, state);
		for (uint64_t other = 0; other < state; other++)
			CHECK(digests[other] != digests[state], "states with one digest");
		sim_cut_free(again);
		sim_free(after.sim);
	}
	sim_cut_free(cut);
}

static void check_states(const struct bench *b, const struct model_sector model[static 4])
{
	uint64_t states;
	uint64_t nr_expected = 1;
	uint32_t seen[SEEN_MAX] = { 0 };
	const uint32_t nr = bench_collect(b, SIM_POWER_CUT, SIM_SECTORS, &states, seen);

	for (int i = 0; i < 4; i++)
		nr_expected *= model[i].nr;
	CHECK(nr == nr_expected && states == nr, "%u states, %" PRIu64 " expected", nr,
	      nr_expected);
	for (uint32_t state = 0; state < nr; state++)
		for (int i = 0; i < 4; i++)
			CHECK(memchr(model[i].versions, (uint8_t)(seen[state] >> (8 * i)),
				     model[i].nr) != NULL,
			      "state %x", seen[state]);
	check_digests(b);
}

/* Writes of one or two sectors one after another, flushes between them. */
static void run_against_model(uint64_t seed)
{
	struct model_sector model[4];
	struct bench b;

	bench_init(&b, seed);
	for (int i = 0; i < 4; i++)
		model[i] = (struct model_sector){ .nr = 1 };
	for (uint8_t version = 1; version < 6; version++) {
		const uint32_t first = sim_choose(b.sim, 4);
		const uint32_t end = first < 3 ? first + 1 + sim_choose(b.sim, 2) : 4;

		CHECK(bench_write(&b, first, end - first, version) == 0, "write");
		for (uint32_t i = first; i < end; i++)
			model[i].versions[model[i].nr++] = version;
		check_states(&b, model);
		if (sim_choose(b.sim, 3) > 0)
			continue;
		CHECK(bench_sync(&b) == 0, "flush");
		for (int i = 0; i < 4; i++)
			model[i] = (struct model_sector){
				.versions = { model[i].versions[model[i].nr - 1] }, .nr = 1
			};
		check_states(&b, model);
	}
	bench_done(&b);
}

static void test_against_model(void)
{
	for (uint64_t seed = 1; seed <= 200; seed++)
		run_against_model(seed);
}

int main(void)
{
	test_cache_and_medium();
	test_flush_covers_delivered_only();
	test_flush_is_of_one_file();
	test_durable_beats_older();
	test_all_subsets();
	test_torn_writes();
	test_in_flight_at_the_cut();
	test_punches();
	test_kill();
	test_kill_within_operations();
	test_sampled_cuts();
	test_length();
	test_torn_inside();
	test_against_model();
	return bench_report("simulator");
}
