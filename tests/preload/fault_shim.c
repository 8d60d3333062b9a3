/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into a program (LD_PRELOAD): counts its allocations and file
 * operations, and makes one of them fail.
 *
 *   FAULT_COUNTS=FILE          where the counts go: struct counts, zeroed before
 *   FAULT=GROUP:N:ERROR[:on]   the N-th call (from 1) of GROUP fails with the
 *                              errno ERROR; with "on" all after it do, too.
 *                              ERROR 0: a transfer is short
 *
 * A helper process that the program forks counts into the same file. System
 * calls are made directly, so that nothing here allocates or calls itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* CRYPTO: allocations by OpenSSL; ALLOC: all others. */
enum group { ALLOC, CRYPTO, READ, WRITE, SYNC, SPACE, OPEN, OTHER, GROUPS };

static const char *const names[GROUPS] = { "alloc", "crypto", "read", "write",
					   "sync",  "space",  "open", "other" };

/* Of both processes; the driver (tests/tools/fault_loop.py) reads it. */
struct counts {
	_Atomic uint64_t calls[GROUPS];
	_Atomic uint64_t nr_failed;
	_Atomic uint64_t nr_thread_allocs[2]; /* other threads' than the main one: ALLOC, CRYPTO */
};

enum { SECTOR_BYTES = 512 };

static struct counts nowhere, *counts = &nowhere;
static enum group group = GROUPS; /* to fail; GROUPS: none */
static uint64_t number;
static int error;
static bool on;

static uintptr_t crypto_start, crypto_end; /* where OpenSSL lies */

extern void *__libc_malloc(size_t nr_bytes);
extern void *__libc_calloc(size_t nr, size_t nr_bytes);
extern void *__libc_realloc(void *old, size_t nr_bytes);
extern void *__libc_memalign(size_t align, size_t nr_bytes);

static long call(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

static long call_errno(long nr, long a, long b, long c, long d, long e, long f)
{
	long result = call(nr, a, b, c, d, e, f);

	if (result >= 0 || result < -4095)
		return result;
	errno = (int)-result;
	return -1;
}

static int find_crypto(struct dl_phdr_info *object, size_t nr_bytes, void *arg)
{
	(void)nr_bytes;
	(void)arg;
	if (!strstr(object->dlpi_name, "/libcrypto."))
		return 0;
	for (unsigned int i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &object->dlpi_phdr[i];
		uintptr_t start = object->dlpi_addr + part->p_vaddr;

		if (part->p_type != PT_LOAD || !(part->p_flags & PF_X))
			continue;
		crypto_start = start;
		crypto_end = start + part->p_memsz;
	}
	return 1;
}

__attribute__((constructor)) static void set_up(void)
{
	const char *file = getenv("FAULT_COUNTS"), *fault = getenv("FAULT");
	long fd, memory;
	char *end;

	if (!file)
		return;
	fd = call(SYS_openat, AT_FDCWD, (long)file, O_RDWR | O_CLOEXEC, 0, 0, 0);
	memory = call(SYS_mmap, 0, sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	call(SYS_close, fd, 0, 0, 0, 0, 0);
	if (fd < 0 || memory < 0)
		abort();
	for (unsigned int i = 0; fault && i < GROUPS; i++) {
		size_t length = strlen(names[i]);

		if (strncmp(fault, names[i], length) != 0 || fault[length] != ':')
			continue;
		number = strtoull(fault + length + 1, &end, 10);
		error = (int)strtol(end + 1, &end, 10);
		on = strcmp(end, ":on") == 0;
		group = (enum group)i;
	}
	dl_iterate_phdr(find_crypto, NULL);
	counts = (struct counts *)memory;
}

/* Count a call of @mine; shall it fail? */
static bool fails(enum group mine)
{
	uint64_t n = atomic_fetch_add(&counts->calls[mine], 1) + 1;

	if (mine != group || n < number || (n > number && !on))
		return false;
	atomic_fetch_add(&counts->nr_failed, 1);
	errno = error;
	return true;
}

/* ---- memory ---- */

static bool alloc_fails_of(const void *caller)
{
	uintptr_t at = (uintptr_t)caller;
	enum group mine = at >= crypto_start && at < crypto_end ? CRYPTO : ALLOC;

	if (call(SYS_gettid, 0, 0, 0, 0, 0, 0) != call(SYS_getpid, 0, 0, 0, 0, 0, 0))
		atomic_fetch_add(&counts->nr_thread_allocs[mine], 1);
	return fails(mine);
}

#define alloc_fails() alloc_fails_of(__builtin_return_address(0))

void *malloc(size_t nr_bytes)
{
	return alloc_fails() ? NULL : __libc_malloc(nr_bytes);
}

void *calloc(size_t nr, size_t nr_bytes)
{
	return alloc_fails() ? NULL : __libc_calloc(nr, nr_bytes);
}

void *realloc(void *old, size_t nr_bytes)
{
	return alloc_fails() ? NULL : __libc_realloc(old, nr_bytes);
}

void *aligned_alloc(size_t align, size_t nr_bytes)
{
	return alloc_fails() ? NULL : __libc_memalign(align, nr_bytes);
}

int posix_memalign(void **ret, size_t align, size_t nr_bytes)
{
	void *memory = alloc_fails() ? NULL : __libc_memalign(align, nr_bytes);

	if (!memory)
		return ENOMEM;
	*ret = memory;
	return 0;
}

void *mmap(void *at, size_t nr_bytes, int protection, int flags, int fd, off_t offset)
{
	if (alloc_fails())
		return MAP_FAILED;
	return (void *)call_errno(SYS_mmap, (long)at, (long)nr_bytes, protection, flags, fd,
				  offset);
}

int mlock(const void *at, size_t nr_bytes)
{
	return alloc_fails() ? -1
			     : (int)call_errno(SYS_mlock, (long)at, (long)nr_bytes, 0, 0, 0, 0);
}

/* ---- transfers ---- */

static ssize_t transfer(enum group mine, long nr, int fd, const void *bytes, size_t nr_bytes,
			off_t offset)
{
	if (fails(mine)) {
		if (error != 0)
			return -1;
		/* Never within a sector: no medium does that. */
		if (nr_bytes >= 2 * SECTOR_BYTES)
			nr_bytes = nr_bytes / 2 / SECTOR_BYTES * SECTOR_BYTES;
	}
	return call_errno(nr, fd, (long)bytes, (long)nr_bytes, offset, 0, 0);
}

ssize_t read(int fd, void *bytes, size_t nr_bytes)
{
	return transfer(READ, SYS_read, fd, bytes, nr_bytes, 0);
}

ssize_t pread(int fd, void *bytes, size_t nr_bytes, off_t offset)
{
	return transfer(READ, SYS_pread64, fd, bytes, nr_bytes, offset);
}

/* What a program has to say gets through. */
ssize_t write(int fd, const void *bytes, size_t nr_bytes)
{
	if (fd <= STDERR_FILENO)
		return call_errno(SYS_write, fd, (long)bytes, (long)nr_bytes, 0, 0, 0);
	return transfer(WRITE, SYS_write, fd, bytes, nr_bytes, 0);
}

ssize_t pwrite(int fd, const void *bytes, size_t nr_bytes, off_t offset)
{
	return transfer(WRITE, SYS_pwrite64, fd, bytes, nr_bytes, offset);
}

/* ---- the rest ---- */

int fdatasync(int fd)
{
	return fails(SYNC) ? -1 : (int)call_errno(SYS_fdatasync, fd, 0, 0, 0, 0, 0);
}

int fsync(int fd)
{
	return fails(SYNC) ? -1 : (int)call_errno(SYS_fsync, fd, 0, 0, 0, 0, 0);
}

int fallocate(int fd, int mode, off_t offset, off_t nr_bytes)
{
	return fails(SPACE) ? -1 : (int)call_errno(SYS_fallocate, fd, mode, offset, nr_bytes, 0, 0);
}

int posix_fallocate(int fd, off_t offset, off_t nr_bytes)
{
	return fails(SPACE) ? error : (int)-call(SYS_fallocate, fd, 0, offset, nr_bytes, 0, 0);
}

int ftruncate(int fd, off_t nr_bytes)
{
	return fails(SPACE) ? -1 : (int)call_errno(SYS_ftruncate, fd, nr_bytes, 0, 0, 0, 0);
}

int open(const char *path, int flags, ...)
{
	va_list args;
	long mode = 0;

	va_start(args, flags);
	if (flags & (O_CREAT | __O_TMPFILE))
		mode = va_arg(args, int);
	va_end(args);
	return fails(OPEN) ? -1
			   : (int)call_errno(SYS_openat, AT_FDCWD, (long)path, flags, mode, 0, 0);
}

/* What open() becomes with _FORTIFY_SOURCE. */
int __open_2(const char *path, int flags);
int __open_2(const char *path, int flags)
{
	return open(path, flags);
}

int socketpair(int domain, int type, int protocol, int fds[2])
{
	return fails(OPEN)
		       ? -1
		       : (int)call_errno(SYS_socketpair, domain, type, protocol, (long)fds, 0, 0);
}

int socket(int domain, int type, int protocol)
{
	return fails(OPEN) ? -1 : (int)call_errno(SYS_socket, domain, type, protocol, 0, 0, 0);
}

int eventfd(unsigned int count, int flags)
{
	return fails(OPEN) ? -1 : (int)call_errno(SYS_eventfd2, count, flags, 0, 0, 0, 0);
}

int mkdir(const char *path, mode_t mode)
{
	return fails(OTHER) ? -1 : (int)call_errno(SYS_mkdir, (long)path, mode, 0, 0, 0, 0);
}

int mprotect(void *at, size_t nr_bytes, int protection)
{
	return fails(OTHER) ? -1
			    : (int)call_errno(SYS_mprotect, (long)at, (long)nr_bytes, protection, 0,
					      0, 0);
}

int madvise(void *at, size_t nr_bytes, int advice)
{
	return fails(OTHER)
		       ? -1
		       : (int)call_errno(SYS_madvise, (long)at, (long)nr_bytes, advice, 0, 0, 0);
}

int rename(const char *from, const char *to)
{
	return fails(OTHER) ? -1 : (int)call_errno(SYS_rename, (long)from, (long)to, 0, 0, 0, 0);
}

int listen(int fd, int backlog)
{
	return fails(OTHER) ? -1 : (int)call_errno(SYS_listen, fd, backlog, 0, 0, 0, 0);
}

/* renameat2() */
long syscall(long nr, ...)
{
	va_list args;
	long a[6];

	va_start(args, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	if (nr == SYS_renameat2 && fails(OTHER))
		return -1;
	return call_errno(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}
