/* SPDX-License-Identifier: MIT */
/*
 * The runtime directory: /run/sealblk for root, else $XDG_RUNTIME_DIR/sealblk.
 * Holds, by image UUID, a lock (two live images with one UUID are refused), the
 * dirty file and the control socket. All calls block; opening thread only.
 */
#ifndef IMAGE_RUNTIME_H
#define IMAGE_RUNTIME_H

#include "base/compiler.h"
#include "image/dirty_store.h"
#include "image/problem.h"

struct runtime {
	struct dirty_store store; /* first: what the image sees */
	char directory[PATH_BYTES_MAX - 128];
};

/*
 * Find the directory; @make: create it (mode 0700) when it is missing.
 * Returns 0, or a negative errno with *problem.
 */
int MUST_CHECK runtime_init(struct runtime *runtime, bool make, struct problem *problem);

/*
 * Take the lock of image @uuid, until runtime_unlock() or the process ends.
 * Returns 0, -EBUSY: a live daemon serves an image of that UUID; or an errno.
 */
int MUST_CHECK runtime_lock(struct runtime *runtime, const uint8_t uuid[SEAL_UUID_BYTES],
			    int *ret_fd);

/* Give it back, and remove its file. @fd: -1 is accepted. */
void runtime_unlock(struct runtime *runtime, const uint8_t uuid[SEAL_UUID_BYTES], int fd);

/* Path of the control socket of image @uuid. Returns 0 or -ENAMETOOLONG. */
int MUST_CHECK runtime_socket_path(const struct runtime *runtime,
				   const uint8_t uuid[SEAL_UUID_BYTES], char *ret_path,
				   size_t path_bytes);

/* This boot's id, from /proc/sys/kernel/random/boot_id. 0 or a negative errno. */
int MUST_CHECK runtime_boot_id(uint8_t ret_boot_id[SEAL_UUID_BYTES]);

#endif
