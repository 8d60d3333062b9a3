/* SPDX-License-Identifier: MIT */
/*
 * Where the bytes of an image or a base live. Reading and writing go through
 * the ring by @fd; what has no asynchronous form is here.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

struct store;

struct store_ops {
	int (*extent)(const struct store *store, uint64_t offset_bytes, uint64_t limit_bytes,
		      bool *ret_hole, uint64_t *ret_bytes);
	int (*drop_cache)(const struct store *store);
	void (*close)(struct store *store);
};

struct store {
	const struct store_ops *ops;
	int fd;		 /* what ring operations name; owned by the store */
	uint64_t bytes;	 /* length when opened */
	uint64_t inode;	 /* st_ino of what was opened ... */
	uint64_t device; /* ... and its st_dev */
	bool in_memory;	 /* on a file system that has no device to wait for: tmpfs */
};

/*
 * Is there a hole at @offset_bytes, and how far does it (or the data) reach?
 * *ret_bytes is 1..@limit_bytes. A store that cannot tell says data. May block.
 * Returns 0 or a negative errno.
 */
static inline int MUST_CHECK store_extent(const struct store *store, uint64_t offset_bytes,
					  uint64_t limit_bytes, bool *ret_hole, uint64_t *ret_bytes)
{
	return store->ops->extent(store, offset_bytes, limit_bytes, ret_hole, ret_bytes);
}

/*
 * Forget clean cached pages, so that the next read shows what the medium
 * holds: after a failed fsync the cache may hold pages that never reached it.
 * A hint; returns 0 or a negative errno. May block.
 */
static inline int MUST_CHECK store_drop_cache(const struct store *store)
{
	return store->ops->drop_cache(store);
}

static inline void store_close(struct store *store)
{
	if (store->ops)
		store->ops->close(store);
	store->ops = NULL;
}

enum store_lock {
	STORE_LOCK_NONE,
	STORE_LOCK_SHARED,
	STORE_LOCK_EXCLUSIVE,
};

/*
 * Wrap an open file or block device; the store owns @fd from here, also on
 * failure. The lock (of the open file description, so that it lives as long as
 * any ring operation on it) is tried for @wait_ms.
 * Returns 0, -EBUSY when somebody else holds the lock, or a negative errno.
 */
int MUST_CHECK store_file_init(struct store *store, int fd, enum store_lock lock, int wait_ms);

#endif
