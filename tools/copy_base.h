/* SPDX-License-Identifier: MIT */
/* A source of copies that is a disk in a file: raw or VHD, with its parents. */
#ifndef TOOLS_COPY_BASE_H
#define TOOLS_COPY_BASE_H

#include <jansson.h>

#include "base/compiler.h"
#include "copy.h"
#include "image/base.h"
#include "image/problem.h"

/*
 * A run of data or of a hole in a file, as the file system told it. On tmpfs that takes
 * as long as the run is: it is not asked again for each block of a VHD that lies in it.
 */
struct copy_run_in_file {
	int fd;
	bool hole;
	uint64_t first_bytes, end_bytes;
};

struct copy_base {
	struct copy_source source;   /* what copy_run() sees */
	struct copy_run_in_file run; /* the last one; end_bytes 0: none */
	struct base base;
	json_t *identity; /* as copy_base_identity() found it when it was opened */
};

/*
 * @name: the user's, a path and perhaps ":FORMAT"; borrowed. Returns 0
 * (copy_base_close() it); -EUCLEAN: damaged, or its chain is not what it should be; or
 * another negative errno, with *problem.
 */
int MUST_CHECK copy_base_open(struct copy_base *from, const char *name, struct problem *problem);

/* Accepts a zeroed struct. */
void copy_base_close(struct copy_base *from);

/* Has a file of it changed since it was opened? 0; -ESTALE; or a negative errno, with *problem. */
int MUST_CHECK copy_base_check(const struct copy_base *from, struct problem *problem);

/*
 * What tells that the files of @base have not changed: an array with numbers and
 * times of each. json_decref() it. NULL: no memory, or a file cannot be asked.
 */
json_t *copy_base_identity(const struct base *base);

/* The same of the open file @fd, as a member of such an array. */
json_t *copy_file_identity(int fd);

/* Is the file at @path one of those of @base? */
bool copy_base_has(const struct base *base, const char *path);

#endif
