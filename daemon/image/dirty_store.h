/* SPDX-License-Identifier: MIT */
/*
 * Where dirty files live: memory that survives the daemon but not the host.
 * Files in the runtime directory (image/runtime.h), or the simulator's memory.
 * A file is named by the image's UUID and the open nonce it belongs to.
 */
#ifndef IMAGE_DIRTY_STORE_H
#define IMAGE_DIRTY_STORE_H

#include "base/compiler.h"
#include "map/dirty_file.h"

struct dirty_store;

struct dirty_store_ops {
	/*
	 * DIRTY_FILE_BYTES of zeroes. The header and the first DIRTY_BACKED_RECORDS of both
	 * areas are preallocated. 0, -ENOSPC or a negative errno.
	 */
	int (*create)(struct dirty_store *store, const uint8_t uuid[SEAL_UUID_BYTES],
		      const uint8_t nonce[SEAL_NONCE_BYTES], void **ret_memory);
	/*
	 * Preallocate @nr_bytes more, from @offset_bytes of @memory on. NULL: all is there.
	 * 0, -ENOSPC or a negative errno. Does not wait for a disk.
	 */
	int (*grow)(struct dirty_store *store, void *memory, size_t offset_bytes, size_t nr_bytes);
	/* One that an earlier open left. 0, -ENOENT or a negative errno. */
	int (*find)(struct dirty_store *store, const uint8_t uuid[SEAL_UUID_BYTES],
		    const uint8_t nonce[SEAL_NONCE_BYTES], void **ret_memory);
	/* Give the memory back; the file stays. Accepts NULL. */
	void (*release)(struct dirty_store *store, void *memory);
	/*
	 * Remove what earlier opens of the image in file @inode left, some of which may
	 * have been killed before anything named their file. Only that of @nonce stays;
	 * NULL: none. Those of another file, a copy of the image, are not ours.
	 */
	void (*keep_only)(struct dirty_store *store, const uint8_t uuid[SEAL_UUID_BYTES],
			  uint64_t inode, const uint8_t *nonce);
};

struct dirty_store {
	const struct dirty_store_ops *ops;
};

#endif
