/* SPDX-License-Identifier: MIT */
/* The libaio engine under a kernel that takes little, late, or not at all. */
#include "fake_kernel.h"
#include "fixture.h"

#include <libaio.h>

enum { NR = 40, BYTES = 512 };

static void fill(uint8_t *bytes, int number)
{
	memset(bytes, 'A' + number % 26, BYTES);
	bytes[0] = (uint8_t)number;
}

/* All at once; each must bring its own bytes. */
static void read_many(struct ring *ring)
{
	static uint8_t data[NR][BYTES];
	struct probe probes[NR];
	uint8_t wanted[BYTES];
	int fd = scratch_file();

	for (int i = 0; i < NR; i++) {
		fill(wanted, i);
		cr_assert_eq(pwrite(fd, wanted, BYTES, i * BYTES), BYTES);
	}
	for (int i = 0; i < NR; i++) {
		probes[i] = (struct probe){ .op = { .kind = RING_READ,
						    .fd = fd,
						    .offset_bytes = (uint64_t)i * BYTES,
						    .data = data[i],
						    .bytes = BYTES } };
		probe_submit(ring, &probes[i]);
	}
	for (int i = 0; i < NR; i++) {
		fill(wanted, i);
		cr_expect_eq(probe_result(ring, &probes[i]), 0, "read %d: %d", i, probes[i].result);
		cr_expect_arr_eq(data[i], wanted, BYTES, "read %d", i);
	}
	cr_expect_eq(ring->nr_in_flight, 0);
	cr_expect_eq(fake_kernel.nr_reads, NR, "%u reads by libaio", fake_kernel.nr_reads);
	close(fd);
}

static int sync_result(struct ring *ring)
{
	struct probe probe = { .op = { .kind = RING_FDATASYNC, .fd = scratch_file() } };
	int result;

	probe_submit(ring, &probe);
	result = probe_result(ring, &probe);
	close(probe.op.fd);
	return result;
}

Test(ring_aio_kernel, reads_what_the_page_cache_does_not_have)
{
	struct ring *ring = aio_ring(8);

	fake_kernel.cold = true;
	read_many(ring);
	ring_free(ring);
}

Test(ring_aio_kernel, keeps_what_the_kernel_did_not_take)
{
	struct ring *ring = aio_ring(8);

	fake_kernel.cold = true;
	fake_kernel.takes_little = true;
	read_many(ring);
	ring_free(ring);
}

/* fs.aio-max-nr is shared by all programs of the host. */
Test(ring_aio_kernel, makes_do_with_what_the_host_has_left)
{
	struct ring *ring;

	fake_kernel.setup_max = 20;
	ring = aio_ring(1024);
	cr_expect_leq(fake_kernel.setup_entries, 20);
	fake_kernel.cold = true;
	read_many(ring);
	ring_free(ring);
	fake_kernel.setup_max = 1;
	cr_expect_eq(ring_aio_new(1024, &ring), -EAGAIN);
}

Test(ring_aio_kernel, asks_for_a_small_share_of_the_hosts_limit)
{
	struct ring *ring = aio_ring(1024);

	/* The default limit is 65536; a daemon has up to 65 rings, a host many daemons. */
	cr_expect_leq(fake_kernel.setup_entries, 256);
	ring_free(ring);
}

Test(ring_aio_kernel, calls_fdatasync_where_a_file_system_has_it_in_no_other_way)
{
	struct ring *ring = aio_ring(8);

	fake_kernel.no_fdsync = true;
	cr_expect_eq(sync_result(ring), 0);
	cr_expect_eq(fake_kernel.nr_fdatasync, 1);
	ring_free(ring);
}

/* What it says once it has begun is the truth, whatever the number. */
Test(ring_aio_kernel, never_repeats_an_fdatasync_that_failed)
{
	static const int errors[] = { -EINVAL, -EIO, -EAGAIN, -EINTR };
	struct ring *ring = aio_ring(8);

	for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
		fake_kernel.fdsync_error = errors[i];
		cr_expect_eq(sync_result(ring), errors[i]);
	}
	cr_expect_eq(fake_kernel.nr_fdatasync, 0);
	ring_free(ring);
}
