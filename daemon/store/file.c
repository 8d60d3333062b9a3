/* SPDX-License-Identifier: MIT */
/* The store on a regular file or a block device. */
#include "store/store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "sealblk/units.h"

enum {
	LOCK_RETRY_MS = 50,
};

/* ---- extents ---- */

/* Found @reach_bytes from the offset; the answer ends there or at the limit. */
static int answer(bool hole, uint64_t reach_bytes, uint64_t limit_bytes, bool *ret_hole,
		  uint64_t *ret_bytes)
{
	*ret_hole = hole;
	*ret_bytes = min_u64(reach_bytes, limit_bytes);
	return 0;
}

static int file_extent(const struct store *store, uint64_t offset_bytes, uint64_t limit_bytes,
		       bool *ret_hole, uint64_t *ret_bytes)
{
	off_t at = (off_t)offset_bytes;
	off_t data_at, hole_at;

	assert(at >= 0 && limit_bytes > 0);
	data_at = lseek(store->fd, at, SEEK_DATA);
	if (data_at < 0 && errno == ENXIO) /* no data up to the end, or past it */
		return answer(true, limit_bytes, limit_bytes, ret_hole, ret_bytes);
	if (data_at < 0 && (errno == EINVAL || errno == EOPNOTSUPP)) /* it cannot tell */
		return answer(false, limit_bytes, limit_bytes, ret_hole, ret_bytes);
	if (data_at < 0)
		return -errno;
	if (data_at > at)
		return answer(true, (uint64_t)(data_at - at), limit_bytes, ret_hole, ret_bytes);

	hole_at = lseek(store->fd, at, SEEK_HOLE);
	if (hole_at < 0)
		return -errno;
	if (hole_at > at)
		return answer(false, (uint64_t)(hole_at - at), limit_bytes, ret_hole, ret_bytes);
	/* @at was punched between the two calls: data is never a wrong answer. */
	return answer(false, limit_bytes, limit_bytes, ret_hole, ret_bytes);
}

/* ---- the rest of the store ---- */

static int file_drop_cache(const struct store *store)
{
	return -posix_fadvise(store->fd, 0, 0, POSIX_FADV_DONTNEED);
}

static void file_close(struct store *store)
{
	close(store->fd);
	store->fd = -1;
}

static const struct store_ops file_ops = {
	.extent = file_extent,
	.drop_cache = file_drop_cache,
	.close = file_close,
};

/* ---- opening ---- */

/* Fills in what the file system says of @fd: length, inode, device. */
static int look_at(int fd, struct store *ret_store)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	ret_store->inode = st.st_ino;
	ret_store->device = st.st_dev;
	if (S_ISBLK(st.st_mode))
		return ioctl(fd, BLKGETSIZE64, &ret_store->bytes) < 0 ? -errno : 0;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	ret_store->bytes = (uint64_t)st.st_size;
	return 0;
}

static bool is_in_memory(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

/*
 * Whoever opens without knowing what lies there uses O_NONBLOCK. Where the file
 * system cannot read without blocking, io_uring would then answer -EAGAIN for ever.
 */
static int make_blocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	if (flags & O_NONBLOCK && fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void sleep_ms(uint64_t ms)
{
	struct timespec span = { .tv_nsec = (long)ms * 1000000 };

	/* A signal only brings the next try forward. */
	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &span, NULL);
}

/*
 * A shared lock is on a few bytes only, those of QEMU's image locking protocol
 * (100 + permission: held; 200 + permission: not granted to others): QEMU may
 * then read the same base beside us, but not write or resize it. An exclusive
 * lock is on the whole file, so it keeps out every holder of a shared one.
 */
static const struct {
	off_t first;
	off_t nr;
} shared_ranges[] = {
	{ 0, 1 },   /* what our own shared locks have in common */
	{ 100, 1 }, /* we read consistent data */
	{ 201, 1 }, /* nobody writes */
	{ 203, 1 }, /* nobody resizes */
};

static int lock_range(int fd, short type, off_t first, off_t nr)
{
	struct flock range = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = first,
		.l_len = nr,
	};

	if (fcntl(fd, F_OFD_SETLK, &range) == 0)
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}

static int lock_try(int fd, enum store_lock lock)
{
	int r = 0;

	if (lock == STORE_LOCK_EXCLUSIVE)
		return lock_range(fd, F_WRLCK, 0, 0);
	for (size_t i = 0; i < ARRAY_LEN(shared_ranges) && r == 0; i++)
		r = lock_range(fd, F_RDLCK, shared_ranges[i].first, shared_ranges[i].nr);
	if (r < 0)
		(void)lock_range(fd, F_UNLCK, 0, 0);
	return r;
}

static int lock_wait(int fd, enum store_lock lock, int wait_ms)
{
	uint64_t end_ms = now_ms() + (wait_ms > 0 ? (uint64_t)wait_ms : 0);

	if (lock == STORE_LOCK_NONE)
		return 0;
	for (;;) {
		int r = lock_try(fd, lock);
		uint64_t at_ms = now_ms();

		if (r != -EBUSY || at_ms >= end_ms)
			return r;
		sleep_ms(min_u64(LOCK_RETRY_MS, end_ms - at_ms));
	}
}

int store_file_init(struct store *store, int fd, enum store_lock lock, int wait_ms)
{
	struct store found = { .ops = &file_ops, .fd = fd };
	int r = look_at(fd, &found);

	if (r == 0)
		r = make_blocking(fd);
	if (r == 0)
		r = lock_wait(fd, lock, wait_ms);
	/* Again: before we had the lock, its holder might still change the length. */
	if (r == 0)
		r = look_at(fd, &found);
	if (r < 0) {
		close(fd);
		return r;
	}
	found.in_memory = is_in_memory(fd);
	*store = found;
	return 0;
}
