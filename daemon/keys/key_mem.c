/* SPDX-License-Identifier: MIT */
/*
 * Key memory. Each allocation is a mapping of its own:
 *
 *	header page, read-only | pages of the caller | page without access
 *
 * The caller's bytes lie at the end of their pages, so that writing past them
 * runs into the last page and writing before them into the header.
 */
#include "keys/key_mem.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sealblk/units.h"

enum {
	KEY_MEM_BYTES_MAX = 1 << 20, /* far above any key; keeps the sums below from wrapping */
	KEY_MEM_ALIGN = 16,
};

/* Not wiped on fork: a child can tell the size of what it inherits, and free it. */
struct header {
	size_t data_bytes; /* whole pages */
};

static size_t page_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* Lock first: a limit that is too small is the one failure to expect. */
static int protect(uint8_t *data, size_t data_bytes)
{
	if (mlock(data, data_bytes) < 0)
		return -ENOMEM;
	if (madvise(data, data_bytes, MADV_DONTDUMP) < 0 ||
	    madvise(data, data_bytes, MADV_WIPEONFORK) < 0)
		return -errno;
	return 0;
}

static int set_up(uint8_t *map, size_t data_bytes)
{
	size_t page = page_bytes();

	if (mprotect(map, page + data_bytes, PROT_READ | PROT_WRITE) < 0)
		return -errno;
	*(struct header *)(void *)map = (struct header){ .data_bytes = data_bytes };
	if (mprotect(map, page, PROT_READ) < 0)
		return -errno;
	return protect(map + page, data_bytes);
}

void *key_mem_new(size_t nr_bytes)
{
	size_t page = page_bytes();
	size_t data_bytes = round_up(nr_bytes, page);
	uint8_t *map;
	int r;

	if (nr_bytes == 0 || nr_bytes > KEY_MEM_BYTES_MAX) {
		errno = EINVAL;
		return NULL;
	}
	/* cppcheck-suppress invalidFunctionArg ; anonymous memory has no file, mmap(2) wants -1 */
	map = mmap(NULL, page + data_bytes + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		return NULL;
	r = set_up(map, data_bytes);
	if (r < 0) {
		munmap(map, page + data_bytes + page);
		errno = -r;
		return NULL;
	}
	return map + page + data_bytes - round_up(nr_bytes, KEY_MEM_ALIGN);
}

void *key_mem_free(void *p)
{
	size_t page = page_bytes();
	uint8_t *data;
	const struct header *header;

	if (!p)
		return NULL;
	/* The caller's bytes begin within the first of their pages. */
	data = (uint8_t *)p - (uintptr_t)p % page;
	header = (const struct header *)(void *)(data - page);
	explicit_bzero(data, header->data_bytes);
	munmap(data - page, page + header->data_bytes + page);
	return NULL;
}

/* A frame of its own, deeper than the caller's. */
__attribute__((noinline)) void key_mem_wipe_stack(void)
{
	uint8_t depth[64 << 10];

	explicit_bzero(depth, sizeof(depth));
}

int key_mem_harden_process(void)
{
	static const struct rlimit no_core = { 0, 0 };

	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || setrlimit(RLIMIT_CORE, &no_core) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return 0;
}
