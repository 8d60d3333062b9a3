/* SPDX-License-Identifier: MIT */
/* What every engine must do with files, by one table: io_uring, libaio and plain calls. */
#include "fake_kernel.h"
#include "fixture.h"

#include <sys/mman.h>

#include "store/store.h"

enum { BLOCK = 4096, ENTRIES = 4 };

struct engine {
	struct ring *ring;
	int fd;
	bool in_memory;
};

static struct ring *sync_ring(void)
{
	struct ring *ring = NULL;

	cr_assert_eq(ring_sync_new(&ring), 0);
	return ring;
}

static int run(struct engine *engine, enum ring_kind kind, uint64_t offset_bytes, uint8_t *data,
	       uint32_t bytes)
{
	struct ring_op op = {
		.kind = kind,
		.fd = engine->fd,
		.in_memory = engine->in_memory,
		.offset_bytes = offset_bytes,
		.range_bytes = bytes,
		.data = data,
		.bytes = data ? bytes : 0,
	};

	return ring_run(engine->ring, &op);
}

static void reads_what_was_written(struct engine *engine)
{
	static uint8_t out[3 * BLOCK + 7], in[sizeof(out)];

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 31 + i / 256);
	cr_expect_eq(run(engine, RING_WRITE, 12345, out, sizeof(out)), 0);
	cr_expect_eq(run(engine, RING_FDATASYNC, 0, NULL, 0), 0);
	cr_expect_eq(run(engine, RING_READ, 12345, in, sizeof(in)), 0);
	cr_expect_arr_eq(in, out, sizeof(out));
}

static void refuses_to_read_past_the_end(struct engine *engine)
{
	uint8_t data[BLOCK] = { 1 };

	cr_expect_eq(run(engine, RING_WRITE, 0, data, 1000), 0);
	cr_expect_eq(run(engine, RING_READ, 0, data, 1000), 0);
	cr_expect_eq(run(engine, RING_READ, 0, data, 1001), -EIO);
	cr_expect_eq(run(engine, RING_READ, 4096, data, 1), -EIO);
}

static void says_what_the_kernel_says(struct engine *engine)
{
	struct engine closed = { .ring = engine->ring, .fd = -1 };
	uint8_t data[1] = { 0 };

	cr_expect_eq(run(&closed, RING_READ, 0, data, 1), -EBADF);
	cr_expect_eq(run(&closed, RING_WRITE, 0, data, 1), -EBADF);
	cr_expect_eq(run(&closed, RING_FDATASYNC, 0, NULL, 0), -EBADF);
	cr_expect_eq(run(&closed, RING_PUNCH, 0, NULL, 4096), -EBADF);
	cr_expect_eq(run(&closed, RING_ADVISE, 0, NULL, 4096), 0, "a hint");
}

static void punches_a_hole_that_reads_as_zeros(struct engine *engine)
{
	static uint8_t data[16 * BLOCK], zeros[4 * BLOCK];
	struct store store;
	uint64_t bytes = 0;
	bool hole = false;

	memset(data, 0xa5, sizeof(data));
	cr_assert_eq(run(engine, RING_WRITE, 0, data, sizeof(data)), 0);
	cr_assert_eq(run(engine, RING_PUNCH, 4 * BLOCK, NULL, 4 * BLOCK), 0);
	cr_assert_eq(run(engine, RING_READ, 0, data, sizeof(data)), 0);
	cr_expect_arr_eq(data + 4 * BLOCK, zeros, sizeof(zeros));
	cr_expect_eq(data[4 * BLOCK - 1], 0xa5);
	cr_expect_eq(data[8 * BLOCK], 0xa5);

	cr_assert_eq(store_file_init(&store, dup(engine->fd), STORE_LOCK_NONE, 0), 0);
	cr_expect_eq(store.bytes, sizeof(data), "a punch keeps the length");
	cr_expect_eq(store_extent(&store, 4 * BLOCK, 1 << 20, &hole, &bytes), 0);
	cr_expect(hole);
	cr_expect_eq(bytes, 4 * BLOCK);
	store_close(&store);
}

static void allocates_without_growing_the_file(struct engine *engine)
{
	struct store store;

	cr_assert_eq(run(engine, RING_ALLOCATE, 0, NULL, 1 << 20), 0);
	cr_expect_eq(run(engine, RING_ADVISE, 0, NULL, 1 << 20), 0);
	cr_assert_eq(store_file_init(&store, dup(engine->fd), STORE_LOCK_NONE, 0), 0);
	cr_expect_eq(store.bytes, 0);
	store_close(&store);
}

static void takes_more_operations_than_it_has_entries(struct engine *engine)
{
	enum { NR = 10 * ENTRIES };
	static uint8_t data[NR][BLOCK];
	struct probe probes[NR] = { 0 };

	for (int i = 0; i < NR; i++) {
		memset(data[i], i + 1, BLOCK);
		probes[i].op = (struct ring_op){ .kind = RING_WRITE,
						 .fd = engine->fd,
						 .offset_bytes = (uint64_t)i * BLOCK,
						 .data = data[i],
						 .bytes = BLOCK };
		probe_submit(engine->ring, &probes[i]);
		cr_expect_eq(probes[i].nr_done, 0, "done came from inside submit");
	}
	cr_expect_eq(engine->ring->nr_in_flight, NR);
	while (engine->ring->nr_in_flight > 0)
		wait_once(engine->ring, 1000);
	for (int i = 0; i < NR; i++) {
		cr_expect_eq(probes[i].nr_done, 1, "%d: %u times", i, probes[i].nr_done);
		cr_expect_eq(probes[i].result, 0);
	}
	for (int i = 0; i < NR; i++) {
		cr_expect_eq(run(engine, RING_READ, (uint64_t)i * BLOCK, data[0], BLOCK), 0);
		cr_expect_eq(data[0][BLOCK - 1], i + 1);
	}
}

/* Writes one block after another, each from the @done of the one before. */
struct chain {
	struct ring_op op;
	struct ring *ring;
	int nr_left;
	int worst;
};

static void chain_done(struct ring_op *op, int result)
{
	struct chain *chain = CONTAINER_OF(op, struct chain, op);

	if (result < 0)
		chain->worst = result;
	if (--chain->nr_left > 0) {
		op->offset_bytes += BLOCK;
		ring_submit(chain->ring, op);
	}
}

static void lets_done_submit_the_same_operation_again(struct engine *engine)
{
	uint8_t data[BLOCK];
	struct chain chains[2 * ENTRIES];
	struct store store;

	memset(data, 0x77, sizeof(data));
	for (uint64_t i = 0; i < ARRAY_LEN(chains); i++) {
		chains[i] = (struct chain){ .ring = engine->ring, .nr_left = 25 };
		chains[i].op = (struct ring_op){ .kind = RING_WRITE,
						 .fd = engine->fd,
						 .offset_bytes = i * 25 * BLOCK,
						 .data = data,
						 .bytes = BLOCK,
						 .done = chain_done };
		ring_submit(engine->ring, &chains[i].op);
	}
	while (engine->ring->nr_in_flight > 0)
		wait_once(engine->ring, 1000);

	for (size_t i = 0; i < ARRAY_LEN(chains); i++) {
		cr_expect_eq(chains[i].nr_left, 0);
		cr_expect_eq(chains[i].worst, 0);
	}
	cr_assert_eq(store_file_init(&store, dup(engine->fd), STORE_LOCK_NONE, 0), 0);
	cr_expect_eq(store.bytes, ARRAY_LEN(chains) * 25 * BLOCK);
	store_close(&store);
}

/* Runs a read to its end from inside the @done of a write. */
struct nested {
	struct ring_op op;
	struct engine *engine;
	int read_result;
};

static void nested_done(struct ring_op *op, int result)
{
	struct nested *nested = CONTAINER_OF(op, struct nested, op);
	uint8_t byte[1] = { 0 };

	cr_expect_eq(result, 0);
	nested->read_result = run(nested->engine, RING_READ, 0, byte, 1);
	cr_expect_eq(byte[0], 0x42);
}

static void lets_done_wait_for_another_operation(struct engine *engine)
{
	uint8_t byte[1] = { 0x42 };
	struct nested nested[3];

	for (size_t i = 0; i < ARRAY_LEN(nested); i++) {
		nested[i] = (struct nested){ .engine = engine, .read_result = NOT_DONE };
		nested[i].op = (struct ring_op){ .kind = RING_WRITE,
						 .fd = engine->fd,
						 .data = byte,
						 .bytes = 1,
						 .done = nested_done };
		ring_submit(engine->ring, &nested[i].op);
	}
	while (engine->ring->nr_in_flight > 0)
		wait_once(engine->ring, 1000);
	for (size_t i = 0; i < ARRAY_LEN(nested); i++)
		cr_expect_eq(nested[i].read_result, 0);
}

static const struct {
	const char *what;
	void (*check)(struct engine *engine);
} checks[] = {
	{ "write, sync, read", reads_what_was_written },
	{ "end of the file", refuses_to_read_past_the_end },
	{ "errors", says_what_the_kernel_says },
	{ "punch", punches_a_hole_that_reads_as_zeros },
	{ "allocate", allocates_without_growing_the_file },
	{ "line", takes_more_operations_than_it_has_entries },
	{ "chain", lets_done_submit_the_same_operation_again },
	{ "nesting", lets_done_wait_for_another_operation },
};

static void check_all(struct ring *ring)
{
	for (size_t i = 0; i < 2 * ARRAY_LEN(checks); i++) {
		struct engine engine = { .ring = ring, .fd = scratch_file(), .in_memory = i % 2 };

		checks[i / 2].check(&engine);
		cr_expect_eq(ring->nr_in_flight, 0, "%s", checks[i / 2].what);
		close(engine.fd);
	}
	ring_free(ring);
}

Test(ring_engines, io_uring_moves_bytes_to_and_from_files)
{
	check_all(uring_or_skip(ENTRIES));
}

Test(ring_engines, libaio_moves_bytes_to_and_from_files)
{
	check_all(aio_ring(ENTRIES));
}

Test(ring_engines, io_uring_moves_bytes_that_the_page_cache_does_not_have)
{
	fake_kernel.cold = true;
	check_all(uring_or_skip(ENTRIES));
}

enum { KEPT_BYTES = 16 * BLOCK };

/* Does the kernel hold on to memory of ours? */
static bool pins_memory(void)
{
	FILE *status = fopen("/proc/self/status", "re");
	char line[128];
	unsigned int kib = 0;

	cr_assert(status);
	while (fgets(line, sizeof(line), status) && sscanf(line, "VmPin: %u kB", &kib) != 1)
		;
	fclose(status);
	return kib > 0;
}

static void move(struct engine *engine, enum ring_kind kind, uint8_t *data, uint32_t bytes)
{
	struct ring_op op = {
		.kind = kind,
		.fd = engine->fd,
		.direct = true,
		.data = data,
		.bytes = bytes,
	};

	cr_expect_eq(ring_run(engine->ring, &op), 0);
}

Test(ring_engines, io_uring_moves_bytes_of_memory_that_is_kept_in_place_and_of_other)
{
	struct engine engine = { .ring = uring_or_skip(ENTRIES), .fd = scratch_file() };
	uint8_t *kept =
		mmap(NULL, KEPT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static uint8_t other[2 * BLOCK];

	cr_assert_neq(kept, MAP_FAILED);
	cr_assert_eq(ring_keep_in_place(engine.ring, kept, KEPT_BYTES), 0);
	cr_expect(pins_memory());
	memset(kept, 0x5a, KEPT_BYTES);
	move(&engine, RING_WRITE, kept + BLOCK, KEPT_BYTES - BLOCK);
	move(&engine, RING_READ, other, sizeof(other));
	cr_expect_arr_eq(other, kept, sizeof(other));
	memset(other, 0xa5, sizeof(other));
	move(&engine, RING_WRITE, other, sizeof(other));
	move(&engine, RING_READ, kept + 100, 3 * BLOCK);
	cr_expect_arr_eq(kept + 100, other, sizeof(other));
	cr_expect_eq(kept[99], 0x5a);
	cr_expect_eq(kept[100 + sizeof(other)], 0x5a);
	ring_free(engine.ring);
	munmap(kept, KEPT_BYTES);
	close(engine.fd);
}

Test(ring_engines, libaio_moves_bytes_that_the_page_cache_does_not_have)
{
	fake_kernel.cold = true;
	check_all(aio_ring(ENTRIES));
}

Test(ring_engines, plain_calls_move_bytes_to_and_from_files)
{
	check_all(sync_ring());
}

Test(ring_engines, plain_calls_refuse_to_wait_for_a_peer)
{
	static const enum ring_kind kinds[] = { RING_ACCEPT,  RING_RECV, RING_RECVMSG,
						RING_SENDMSG, RING_POLL, RING_COMMAND };
	struct engine engine = { .ring = sync_ring(), .fd = 0 };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		cr_expect_eq(run(&engine, kinds[i], 0, NULL, 0), -ENOTSUP);
	ring_free(engine.ring);
}

static int command(struct ring *ring)
{
	uint8_t payload[RING_COMMAND_BYTES] = { 0 };
	struct probe probe = {
		.op = { .kind = RING_COMMAND, .fd = scratch_file(), .data = payload },
	};
	int result;

	probe_submit(ring, &probe);
	result = probe_result(ring, &probe);
	close(probe.op.fd);
	ring_free(ring);
	return result;
}

Test(ring_engines, commands_are_for_rings_that_are_made_for_them)
{
	struct ring *ring;

	cr_assert_eq(ring_uring_new_commanding(ENTRIES, &ring), 0);
	/* A file has none; but it was asked. */
	cr_expect_eq(command(ring), -EOPNOTSUPP);
	cr_assert_eq(ring_uring_new(ENTRIES, &ring), 0);
	cr_expect_eq(command(ring), -EACCES);
	cr_expect_eq(command(aio_ring(ENTRIES)), -ENOTSUP);
}

Test(ring_engines, cancelling_on_plain_calls_changes_nothing)
{
	struct ring *ring = sync_ring();
	struct probe probe = { .op = { .kind = RING_FDATASYNC, .fd = scratch_file() } };

	probe_submit(ring, &probe);
	ring_cancel(ring, &probe.op);
	cr_expect_eq(probe_result(ring, &probe), 0);
	close(probe.op.fd);
	ring_free(ring);
}
