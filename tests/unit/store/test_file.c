/* SPDX-License-Identifier: MIT */
#include "store/store.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "sealblk/units.h"

/* A file of @bytes, all hole; its name stays until the test removes it. */
static int temp_file(char path[static 256], off_t bytes)
{
	const char *dir = getenv("TMPDIR");
	int fd;

	snprintf(path, 256, "%s/sealblk-unit-XXXXXX", dir ? dir : "/tmp");
	fd = mkstemp(path);
	cr_assert_geq(fd, 0, "%s: %s", path, strerror(errno));
	cr_assert_eq(ftruncate(fd, bytes), 0);
	return fd;
}

static long elapsed_ms(struct timespec since)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - since.tv_sec) * 1000 + (now.tv_nsec - since.tv_nsec) / 1000000;
}

Test(store_file, tells_holes_from_data)
{
	static const struct {
		uint64_t offset_bytes, limit_bytes;
		bool hole;
		uint64_t bytes;
	} extents[] = {
		{ 0, MIB, true, 256 * KIB },	      { 0, 4096, true, 4096 },
		{ 256 * KIB - 1, MIB, true, 1 },      { 256 * KIB, MIB, false, 64 * KIB },
		{ 256 * KIB + 512, 512, false, 512 }, { 320 * KIB, MIB, true, MIB },
		{ 512 * KIB, TIB, true, TIB },	      { 4 * MIB, 512, true, 512 },
	};
	char path[256];
	int fd = temp_file(path, 512 * KIB);
	static uint8_t data[64 * KIB];
	struct store store;

	unlink(path);
	memset(data, 1, sizeof(data));
	cr_assert_eq(pwrite(fd, data, sizeof(data), 256 * KIB), (ssize_t)sizeof(data));
	cr_assert_eq(store_file_init(&store, fd, STORE_LOCK_EXCLUSIVE, 0), 0);
	cr_expect_eq(store.bytes, 512 * KIB);
	cr_expect_eq(store.fd, fd);
	for (size_t i = 0; i < ARRAY_LEN(extents); i++) {
		uint64_t bytes = 0;
		bool hole = !extents[i].hole;

		cr_expect_eq(store_extent(&store, extents[i].offset_bytes, extents[i].limit_bytes,
					  &hole, &bytes),
			     0);
		cr_expect_eq(hole, extents[i].hole, "row %zu", i);
		cr_expect_eq(bytes, extents[i].bytes, "row %zu: %lu", i, (unsigned long)bytes);
	}
	store_close(&store);
	cr_expect_eq(fcntl(fd, F_GETFD), -1, "closed");
}

Test(store_file, data_up_to_the_end_of_the_file_ends_there)
{
	char path[256];
	int fd = temp_file(path, 0);
	struct store store;
	uint64_t bytes = 0;
	bool hole = true;

	unlink(path);
	cr_assert_eq(write(fd, "x", 1), 1);
	cr_assert_eq(store_file_init(&store, fd, STORE_LOCK_NONE, 0), 0);
	cr_expect_eq(store_extent(&store, 0, MIB, &hole, &bytes), 0);
	cr_expect_not(hole);
	cr_expect_eq(bytes, 1);
	cr_expect_eq(store_drop_cache(&store), 0);
	store_close(&store);
}

Test(store_file, refuses_what_is_neither_file_nor_block_device)
{
	struct store store = { .ops = NULL };
	int directory = open("/tmp", O_RDONLY | O_CLOEXEC);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	cr_expect_eq(store_file_init(&store, directory, STORE_LOCK_EXCLUSIVE, 0), -EISDIR);
	cr_expect_eq(store_file_init(&store, null, STORE_LOCK_EXCLUSIVE, 0), -EINVAL);
	cr_expect_eq(store_file_init(&store, fds[0], STORE_LOCK_EXCLUSIVE, 0), -EINVAL);
	cr_expect_eq(fcntl(directory, F_GETFD), -1, "owned on failure too, so closed");
	cr_expect_eq(fcntl(fds[0], F_GETFD), -1);
	cr_expect_null(store.ops);
	close(fds[1]);
}

static const struct {
	enum store_lock first, second;
	int want;
} locks[] = {
	{ STORE_LOCK_EXCLUSIVE, STORE_LOCK_EXCLUSIVE, -EBUSY },
	{ STORE_LOCK_EXCLUSIVE, STORE_LOCK_SHARED, -EBUSY },
	{ STORE_LOCK_SHARED, STORE_LOCK_EXCLUSIVE, -EBUSY },
	{ STORE_LOCK_SHARED, STORE_LOCK_SHARED, 0 },
	{ STORE_LOCK_EXCLUSIVE, STORE_LOCK_NONE, 0 },
	{ STORE_LOCK_NONE, STORE_LOCK_EXCLUSIVE, 0 },
};

Test(store_file, locks_exclude_another_open_of_the_same_file)
{
	char path[256];

	close(temp_file(path, 4096));
	for (size_t i = 0; i < ARRAY_LEN(locks); i++) {
		struct store first = { .ops = NULL }, second = { .ops = NULL };
		int fd = open(path, O_RDWR | O_CLOEXEC);

		cr_assert_eq(store_file_init(&first, fd, locks[i].first, 0), 0);
		fd = open(path, O_RDWR | O_CLOEXEC);
		cr_expect_eq(store_file_init(&second, fd, locks[i].second, 0), locks[i].want,
			     "row %zu", i);
		store_close(&second);
		store_close(&first);
	}
	unlink(path);
}

Test(store_file, gives_up_on_a_lock_after_the_time_given)
{
	char path[256];
	struct store first, second = { .ops = NULL };
	struct timespec start;

	cr_assert_eq(store_file_init(&first, temp_file(path, 0), STORE_LOCK_EXCLUSIVE, 0), 0);
	clock_gettime(CLOCK_MONOTONIC, &start);
	cr_expect_eq(store_file_init(&second, open(path, O_RDWR | O_CLOEXEC), STORE_LOCK_EXCLUSIVE,
				     220),
		     -EBUSY);
	cr_expect_geq(elapsed_ms(start), 215);
	cr_expect_lt(elapsed_ms(start), 1000);
	store_close(&first);
	unlink(path);
}

static void *close_later(void *arg)
{
	usleep(120 * 1000);
	store_close(arg);
	return NULL;
}

Test(store_file, gets_a_lock_that_is_given_up_while_it_waits)
{
	char path[256];
	struct store first, second = { .ops = NULL };
	struct timespec start;
	pthread_t thread;

	cr_assert_eq(store_file_init(&first, temp_file(path, 0), STORE_LOCK_EXCLUSIVE, 0), 0);
	clock_gettime(CLOCK_MONOTONIC, &start);
	cr_assert_eq(pthread_create(&thread, NULL, close_later, &first), 0);
	cr_expect_eq(store_file_init(&second, open(path, O_RDWR | O_CLOEXEC), STORE_LOCK_EXCLUSIVE,
				     5000),
		     0);
	cr_expect_geq(elapsed_ms(start), 110);
	cr_expect_lt(elapsed_ms(start), 3000);
	pthread_join(thread, NULL);
	store_close(&second);
	unlink(path);
}

Test(store_file, an_exclusive_lock_needs_a_writable_file)
{
	char path[256];
	struct store store = { .ops = NULL };

	close(temp_file(path, 0));
	cr_expect_eq(store_file_init(&store, open(path, O_RDONLY | O_CLOEXEC), STORE_LOCK_EXCLUSIVE,
				     0),
		     -EBADF);
	cr_expect_eq(
		store_file_init(&store, open(path, O_RDONLY | O_CLOEXEC), STORE_LOCK_SHARED, 0), 0);
	store_close(&store);
	unlink(path);
}

Test(store_file, leaves_non_blocking_mode_which_io_uring_would_take_literally)
{
	char path[256];
	struct store store;

	close(temp_file(path, 0));
	cr_assert_eq(store_file_init(&store, open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC),
				     STORE_LOCK_NONE, 0),
		     0);
	cr_expect_eq(fcntl(store.fd, F_GETFL) & O_NONBLOCK, 0);
	store_close(&store);
	unlink(path);
}
