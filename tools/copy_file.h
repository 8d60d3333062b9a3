/* SPDX-License-Identifier: MIT */
/* A sink of copies that is a file: fixed or dynamic VHD, or raw. */
#ifndef TOOLS_COPY_FILE_H
#define TOOLS_COPY_FILE_H

#include <pthread.h>

#include "base/compiler.h"
#include "copy.h"
#include "image/problem.h"
#include "sealblk/vhd_format.h"

struct copy_file {
	struct copy_sink sink; /* what copy_run() sees */
	enum tool_format format;
	int fd; /* the caller's */
	uint64_t disk_bytes;

	/* Dynamic. */
	pthread_mutex_t lock;
	/* Below: under @lock, while threads write. */
	be32 *bat;
	uint32_t nr_blocks;
	uint32_t nr_stored;
};

/*
 * @fd: an empty file, or with @resume what copy_file_suspend() left of a disk of that
 * size and format, which is judged like any other file. @path: for messages, borrowed.
 * Returns 0 (copy_file_done() it); -EUCLEAN: no such file; or a negative errno, with *problem.
 */
int MUST_CHECK copy_file_init(struct copy_file *file, enum tool_format format, int fd,
			      const char *path, uint64_t disk_bytes, bool resume,
			      struct problem *problem);

/* Accepts a zeroed struct. */
void copy_file_done(struct copy_file *file);

/* All is there: write what tells where. @footer: of a fixed VHD of the disk's size; not of raw. */
int MUST_CHECK copy_file_finish(struct copy_file *file, const struct vhd_footer *footer);

/* Part is there: write what copy_file_init() wants to know. */
int MUST_CHECK copy_file_suspend(struct copy_file *file);

#endif
