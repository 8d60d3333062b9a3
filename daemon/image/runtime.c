/* SPDX-License-Identifier: MIT */
/* The runtime directory: see runtime.h. */
#include "image/runtime.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/uuid.h"

/* After the image's UUID and the open nonce: UUID.NONCE.dirty */
static const char dirty_suffix[] = ".dirty";

static int path_of(const struct runtime *runtime, const uint8_t uuid[SEAL_UUID_BYTES],
		   const char *suffix, char *ret_path, size_t path_bytes)
{
	char name[UUID_TEXT_BYTES];
	int n;

	uuid_to_text(uuid, name);
	n = snprintf(ret_path, path_bytes, "%s/%s%s", runtime->directory, name, suffix);
	return n < 0 || (size_t)n >= path_bytes ? -ENAMETOOLONG : 0;
}

static int dirty_path(struct dirty_store *store, const uint8_t uuid[SEAL_UUID_BYTES],
		      const uint8_t nonce[SEAL_NONCE_BYTES], char ret_path[PATH_BYTES_MAX])
{
	const struct runtime *runtime = CONTAINER_OF(store, struct runtime, store);
	char text[UUID_TEXT_BYTES], suffix[UUID_TEXT_BYTES + sizeof(dirty_suffix)];

	uuid_to_text(nonce, text);
	snprintf(suffix, sizeof(suffix), ".%s%s", text, dirty_suffix);
	return path_of(runtime, uuid, suffix, ret_path, PATH_BYTES_MAX);
}

static int map_file(int fd, void **ret_memory)
{
	void *memory = mmap(NULL, DIRTY_FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int r = memory == MAP_FAILED ? -errno : 0;

	close(fd);
	if (r == 0)
		*ret_memory = memory;
	/* cppcheck-suppress memleak ; it is the caller's, or was never mapped */
	return r;
}

enum {
	BACKED_BYTES = DIRTY_BACKED_RECORDS * sizeof(struct dirty_record),
	AREA_BYTES = DIRTY_AREA_RECORDS * sizeof(struct dirty_record),
};

/* Since Linux 5.14. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static bool can_grow(void)
{
	return madvise(NULL, 0, MADV_POPULATE_WRITE) == 0;
}

/* What must be there at once: a full tmpfs must not show as SIGBUS later. */
static int preallocate(int fd)
{
	int r;

	if (!can_grow())
		return -posix_fallocate(fd, 0, DIRTY_FILE_BYTES);
	/* Its last page makes it as long as it is; the sandbox lets nobody truncate. */
	r = -posix_fallocate(fd, DIRTY_FILE_BYTES - 1, 1);
	if (r == 0)
		r = -posix_fallocate(fd, 0, sizeof(struct dirty_header) + BACKED_BYTES);
	if (r == 0)
		r = -posix_fallocate(fd, sizeof(struct dirty_header) + AREA_BYTES, BACKED_BYTES);
	return r;
}

/* A page of tmpfs that has been written to has its memory for good. */
static int dirty_grow(struct dirty_store *store, void *memory, size_t offset_bytes, size_t nr_bytes)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	const size_t begin = offset_bytes / page * page;

	(void)store;
	if (!can_grow())
		return 0; /* all of it is there already */
	if (madvise((uint8_t *)memory + begin, offset_bytes + nr_bytes - begin,
		    MADV_POPULATE_WRITE) == 0)
		return 0;
	return errno == EFAULT ? -ENOSPC : -errno;
}

static int dirty_create(struct dirty_store *store, const uint8_t uuid[SEAL_UUID_BYTES],
			const uint8_t nonce[SEAL_NONCE_BYTES], void **ret_memory)
{
	char path[PATH_BYTES_MAX];
	int r = dirty_path(store, uuid, nonce, path);
	int fd;

	if (r < 0)
		return r;
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = preallocate(fd);
	if (r == 0)
		r = map_file(fd, ret_memory);
	else
		close(fd);
	if (r < 0)
		unlink(path);
	return r;
}

static int dirty_find(struct dirty_store *store, const uint8_t uuid[SEAL_UUID_BYTES],
		      const uint8_t nonce[SEAL_NONCE_BYTES], void **ret_memory)
{
	char path[PATH_BYTES_MAX];
	struct stat st;
	int r = dirty_path(store, uuid, nonce, path);
	int fd;

	if (r < 0)
		return r;
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || st.st_size != DIRTY_FILE_BYTES) {
		close(fd);
		return -ENOENT;
	}
	return map_file(fd, ret_memory);
}

static void dirty_release(struct dirty_store *store, void *memory)
{
	(void)store;
	if (memory)
		munmap(memory, DIRTY_FILE_BYTES);
}

/* UUID.NONCE.dirty, for any nonce. */
static bool is_dirty_file_of(const char *name, const char uuid[UUID_TEXT_BYTES])
{
	size_t end = 2 * (UUID_TEXT_BYTES - 1) + 1;

	return strncmp(name, uuid, UUID_TEXT_BYTES - 1) == 0 && strlen(name) > end &&
	       strcmp(name + end, dirty_suffix) == 0;
}

/* Whoever cannot tell it any more (its header is not there) has no use for it. */
static bool is_of_inode(int directory_fd, const char *name, uint64_t inode)
{
	int fd = openat(directory_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct dirty_header header = { 0 };
	ssize_t n = -1;

	if (fd >= 0) {
		n = pread(fd, &header, sizeof(header), 0);
		close(fd);
	}
	return n != (ssize_t)sizeof(header) || le64_get(header.image_inode) == 0 ||
	       le64_get(header.image_inode) == inode;
}

static void dirty_keep_only(struct dirty_store *store, const uint8_t uuid[SEAL_UUID_BYTES],
			    uint64_t inode, const uint8_t *nonce)
{
	const struct runtime *runtime = CONTAINER_OF(store, struct runtime, store);
	char uuid_text[UUID_TEXT_BYTES], nonce_text[UUID_TEXT_BYTES] = "";
	DIR *directory = opendir(runtime->directory);
	const struct dirent *entry;

	uuid_to_text(uuid, uuid_text);
	if (nonce)
		uuid_to_text(nonce, nonce_text);
	/* cppcheck-suppress readdirCalled ; nobody else has this stream */
	while (directory && (entry = readdir(directory))) {
		if (is_dirty_file_of(entry->d_name, uuid_text) &&
		    (!nonce || !strstr(entry->d_name + UUID_TEXT_BYTES, nonce_text)) &&
		    is_of_inode(dirfd(directory), entry->d_name, inode))
			unlinkat(dirfd(directory), entry->d_name, 0);
	}
	if (directory)
		closedir(directory);
}

static const struct dirty_store_ops dirty_ops = {
	.create = dirty_create,
	.grow = dirty_grow,
	.find = dirty_find,
	.release = dirty_release,
	.keep_only = dirty_keep_only,
};

int runtime_init(struct runtime *runtime, bool make, struct problem *problem)
{
	const char *user = getenv("XDG_RUNTIME_DIR");
	int n;

	runtime->store.ops = &dirty_ops;
	if (geteuid() == 0)
		n = snprintf(runtime->directory, sizeof(runtime->directory), "/run/sealblk");
	else if (user && user[0] == '/')
		n = snprintf(runtime->directory, sizeof(runtime->directory), "%s/sealblk", user);
	else
		n = -1;
	if (n < 0 || (size_t)n >= sizeof(runtime->directory)) {
		problem_set(problem, "runtime directory", "$XDG_RUNTIME_DIR",
			    "is not set; it must name a folder that lives until the next boot");
		return -ENOENT;
	}
	if (make && mkdir(runtime->directory, 0700) < 0 && errno != EEXIST) {
		int r = -errno;

		problem_set(problem, "runtime directory", runtime->directory, "cannot be made: %s",
			    strerror(-r));
		return r;
	}
	return 0;
}

/* Is @fd still the file at @path? Its last holder may have removed it meanwhile. */
static bool is_file_at(int fd, const char *path)
{
	struct stat mine, there;

	return fstat(fd, &mine) == 0 && stat(path, &there) == 0 && mine.st_ino == there.st_ino &&
	       mine.st_dev == there.st_dev;
}

/* Returns -ESTALE when the file was removed before it could be locked. */
static int lock_file(const char *path, int *ret_fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r = 0;

	if (fd < 0)
		return -errno;
	if (fcntl(fd, F_OFD_SETLK, &lock) < 0)
		r = errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
	else if (!is_file_at(fd, path))
		r = -ESTALE;
	if (r < 0)
		close(fd);
	else
		*ret_fd = fd;
	return r;
}

int runtime_lock(struct runtime *runtime, const uint8_t uuid[SEAL_UUID_BYTES], int *ret_fd)
{
	char path[PATH_BYTES_MAX];
	int r = path_of(runtime, uuid, ".lock", path, sizeof(path));

	if (r < 0)
		return r;
	do {
		r = lock_file(path, ret_fd);
	} while (r == -ESTALE);
	return r;
}

void runtime_unlock(struct runtime *runtime, const uint8_t uuid[SEAL_UUID_BYTES], int fd)
{
	char path[PATH_BYTES_MAX];

	if (fd < 0)
		return;
	if (path_of(runtime, uuid, ".lock", path, sizeof(path)) == 0)
		unlink(path);
	close(fd);
}

int runtime_socket_path(const struct runtime *runtime, const uint8_t uuid[SEAL_UUID_BYTES],
			char *ret_path, size_t path_bytes)
{
	return path_of(runtime, uuid, ".sock", ret_path, path_bytes);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int runtime_boot_id(uint8_t ret_boot_id[SEAL_UUID_BYTES])
{
	uint8_t id[SEAL_UUID_BYTES] = { 0 };
	char text[64];
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n;
	int nr_digits = 0;

	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text));
	close(fd);
	for (ssize_t i = 0; i < n && nr_digits < 2 * SEAL_UUID_BYTES; i++) {
		int digit = hex_digit(text[i]);

		if (digit >= 0) {
			id[nr_digits / 2] = (uint8_t)(id[nr_digits / 2] << 4 | digit);
			nr_digits++;
		}
	}
	if (nr_digits != 2 * SEAL_UUID_BYTES)
		return -EIO;
	memcpy(ret_boot_id, id, sizeof(id));
	return 0;
}
