/* SPDX-License-Identifier: MIT */
/* The ring that records, over the engine of plain system calls and over io_uring. */
#include "fixture.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include "base/crc32c.h"
#include "ring/trace.h"
#include "sealblk/units.h"

enum { RECORDS_MAX = 32 };

static struct trace *trace;
static char trace_path[256];
static struct trace_record records[RECORDS_MAX];
static uint8_t data_of[RECORDS_MAX][4096];

static void begin_trace(void)
{
	const char *dir = getenv("TMPDIR");

	snprintf(trace_path, sizeof(trace_path), "%s/sealblk-unit-trace.%d", dir ? dir : "/tmp",
		 (int)getpid());
	unlink(trace_path);
	cr_assert_eq(trace_new(trace_path, &trace), 0);
}

/* What is in the file now; checks what every record must be. Returns how many. */
static unsigned int read_records(void)
{
	int fd = open(trace_path, O_RDONLY);
	struct trace_header header;
	uint64_t last_ns = 0;
	unsigned int nr = 0;

	cr_assert_eq(read(fd, &header, sizeof(header)), sizeof(header));
	cr_assert_arr_eq(header.magic, TRACE_MAGIC, 8);
	cr_assert_eq(le32_get(header.record_bytes), sizeof(records[0]));
	while (nr < RECORDS_MAX && read(fd, &records[nr], sizeof(records[0])) > 0) {
		struct trace_record *record = &records[nr];
		const uint32_t crc = le32_get(record->crc);
		const uint32_t bytes = le32_get(record->data_bytes);

		record->crc = le32_of(0);
		cr_assert_eq(crc, crc32c(0, record, sizeof(*record)));
		cr_assert_eq(read(fd, data_of[nr], bytes), bytes);
		cr_assert_eq(le32_get(record->data_crc), crc32c(0, data_of[nr], bytes));
		cr_assert_geq(le64_get(record->time_ns), last_ns);
		last_ns = le64_get(record->time_ns);
		nr++;
	}
	close(fd);
	return nr;
}

static void end_trace(struct ring *ring)
{
	ring_free(ring);
	trace = trace_free(trace);
	unlink(trace_path);
}

static struct ring *traced_ring(struct ring *inner)
{
	struct ring *ring;

	cr_assert_eq(ring_trace_new(trace, 3, inner, &ring), 0);
	return ring;
}

static struct ring *traced_sync_ring(void)
{
	struct ring *inner;

	begin_trace();
	cr_assert_eq(ring_sync_new(&inner), 0);
	return traced_ring(inner);
}

static void expect_record(unsigned int i, enum trace_type type, enum trace_kind kind, uint64_t id)
{
	cr_expect_eq(records[i].type, type, "type of record %u", i);
	cr_expect_eq(records[i].kind, kind, "kind of record %u", i);
	cr_expect_eq(le64_get(records[i].id), id, "id of record %u", i);
	cr_expect_eq(records[i].ring, 3);
}

/* ---- an inner ring at which the file is looked at --------------------------- */

static unsigned int nr_when_handed_over, nr_when_heard;
static struct ring_op *handed_over;

static void looking_submit(struct ring *ring, struct ring_op *op)
{
	(void)ring;
	handed_over = op;
	nr_when_handed_over = read_records();
}

static int looking_wait(struct ring *ring, int timeout_ms)
{
	(void)timeout_ms;
	ring->nr_in_flight--;
	handed_over->done(handed_over, -EIO);
	return 0;
}

static void looking_free(struct ring *ring)
{
	(void)ring;
}

static void heard(struct ring_op *op, int result)
{
	cr_expect_eq(result, -EIO);
	cr_expect_eq(op->bytes, SECTOR_BYTES, "the owner's own operation");
	nr_when_heard = read_records();
}

Test(trace, is_told_of_an_operation_before_storage_is_and_of_its_end_before_its_owner_is)
{
	static const struct ring_ops ops = {
		.submit = looking_submit,
		.wait = looking_wait,
		.free = looking_free,
	};
	struct ring inner = { .ops = &ops };
	uint8_t data[SECTOR_BYTES] = "what is written";
	struct ring_op op = {
		.kind = RING_WRITE,
		.fd = 77,
		.offset_bytes = 4096,
		.data = data,
		.bytes = sizeof(data),
		.done = heard,
	};
	struct ring *ring;

	begin_trace();
	ring = traced_ring(&inner);
	ring_submit(ring, &op);
	cr_expect_eq(nr_when_handed_over, 1);
	expect_record(0, TRACE_ISSUE, TRACE_WRITE, 1);
	cr_expect_eq(le32_get(records[0].file), 77);
	cr_expect_eq(le64_get(records[0].offset_bytes), 4096);
	cr_expect_arr_eq(data_of[0], data, sizeof(data));
	cr_expect_eq(ring->nr_in_flight, 1);
	wait_once(ring, -1);
	cr_expect_eq(nr_when_heard, 2);
	expect_record(1, TRACE_DONE, TRACE_WRITE, 1);
	cr_expect_eq((int32_t)le32_get(records[1].result), -EIO);
	cr_expect_eq(le32_get(records[1].data_bytes), 0);
	cr_expect_eq(ring->nr_in_flight, 0);
	end_trace(ring);
}

Test(trace, has_writes_syncs_punches_and_allocations_and_no_reads)
{
	static const enum trace_kind kinds[] = { TRACE_WRITE, TRACE_FDATASYNC, TRACE_PUNCH,
						 TRACE_ALLOCATE };
	struct ring *ring = traced_sync_ring();
	int fd = scratch_file();
	uint8_t data[4096] = { 1 };
	struct ring_op ops[] = {
		{ .kind = RING_WRITE, .fd = fd, .data = data, .bytes = sizeof(data) },
		{ .kind = RING_READ, .fd = fd, .data = data, .bytes = sizeof(data) },
		{ .kind = RING_ADVISE, .fd = fd, .range_bytes = 4096 },
		{ .kind = RING_FDATASYNC, .fd = fd },
		{ .kind = RING_PUNCH, .fd = fd, .range_bytes = 4096 },
		{ .kind = RING_ALLOCATE, .fd = fd, .range_bytes = 8192 },
	};
	struct stat st;

	for (size_t i = 0; i < ARRAY_LEN(ops); i++)
		cr_assert_eq(ring_run(ring, &ops[i]), 0, "operation %zu", i);
	cr_assert_eq(read_records(), 2 * ARRAY_LEN(kinds));
	for (unsigned int i = 0; i < ARRAY_LEN(kinds); i++) {
		expect_record(2 * i, TRACE_ISSUE, kinds[i], i + 1);
		expect_record(2 * i + 1, TRACE_DONE, kinds[i], i + 1);
	}
	cr_expect_eq(le64_get(records[4].range_bytes), 4096);
	cr_expect_eq(le64_get(records[6].range_bytes), 8192);
	cr_assert_eq(stat(trace_path, &st), 0);
	cr_expect_eq(st.st_mode & 0777, 0600);
	close(fd);
	end_trace(ring);
}

Test(trace, names_files_and_tells_its_end)
{
	const uint8_t uuid[SEAL_UUID_BYTES] = "a uuid of bytes";
	struct ring *ring = traced_sync_ring();

	trace_name_file(trace, 9, uuid, "vm.seal");
	ring_free(ring);
	trace = trace_free(trace);
	cr_assert_eq(read_records(), 2);
	cr_expect_eq(records[0].type, TRACE_FILE);
	cr_expect_eq(le32_get(records[0].file), 9);
	cr_expect_arr_eq(data_of[0], uuid, sizeof(uuid));
	cr_expect_eq(le32_get(records[0].data_bytes), SEAL_UUID_BYTES + 7);
	cr_expect_arr_eq(data_of[0] + SEAL_UUID_BYTES, "vm.seal", 7);
	cr_expect_eq(records[1].type, TRACE_END);
	unlink(trace_path);
}

Test(trace, does_not_replace_a_file)
{
	struct trace *second;

	begin_trace();
	cr_expect_eq(trace_new(trace_path, &second), -EEXIST);
	trace = trace_free(trace);
	unlink(trace_path);
}

Test(trace, leaves_sockets_alone_and_passes_their_cancelling_on)
{
	uint8_t byte;
	int pair[2];
	struct probe probe = { .op = { .kind = RING_RECV, .data = &byte, .bytes = 1 } };
	struct ring *inner = uring_or_skip(4), *ring;

	begin_trace();
	ring = traced_ring(inner);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	probe.op.fd = pair[0];
	probe_submit(ring, &probe);
	wait_once(ring, 0);
	cr_expect_eq(ring->nr_in_flight, 1);
	ring_cancel(ring, &probe.op);
	cr_expect_eq(probe_result(ring, &probe), -ECANCELED);
	cr_expect_eq(ring->nr_in_flight, 0);
	cr_expect_eq(read_records(), 0);
	close(pair[0]);
	close(pair[1]);
	end_trace(ring);
}

Test(trace, has_many_operations_in_flight)
{
	enum { NR = 12 };
	static struct probe probes[NR];
	struct ring *inner = uring_or_skip(4), *ring;
	int fd = scratch_file();

	begin_trace();
	ring = traced_ring(inner);
	for (int i = 0; i < NR; i++) {
		probes[i].op = (struct ring_op){ .kind = RING_FDATASYNC, .fd = fd };
		probe_submit(ring, &probes[i]);
	}
	for (int i = 0; i < NR; i++)
		cr_expect_eq(probe_result(ring, &probes[i]), 0);
	cr_expect_eq(read_records(), 2 * NR);
	for (unsigned int i = 0; i < NR; i++)
		expect_record(i, TRACE_ISSUE, TRACE_FDATASYNC, i + 1);
	cr_expect_eq(ring->nr_in_flight, 0);
	close(fd);
	end_trace(ring);
}
