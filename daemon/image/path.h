/* SPDX-License-Identifier: MIT */
/* Paths of files beside other files. */
#ifndef IMAGE_PATH_H
#define IMAGE_PATH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "sealblk/limits.h"

/* @folder (its first @folder_bytes), a slash, @rest. Returns 0 or -ENAMETOOLONG. */
int MUST_CHECK path_join(const char *folder, size_t folder_bytes, const char *rest,
			 char ret_path[PATH_BYTES_MAX]);

/*
 * The folder that holds @path, resolved; @path need not exist itself.
 * Returns 0, -ENAMETOOLONG or what realpath() said.
 */
int MUST_CHECK path_folder(const char *path, char ret_folder[PATH_BYTES_MAX]);

/*
 * @relative as seen from the folder where the file @path really lies: a link to
 * it elsewhere does not count. Returns 0 or -ENAMETOOLONG.
 */
int MUST_CHECK path_beside(const char *path, const char *relative, char ret_path[PATH_BYTES_MAX]);

/* Is it called so: does it end in @suffix, after something else? Capitals do not matter. */
bool path_ends_in(const char *path, const char *suffix);

/*
 * Make durable what was done to the folder of @path: a file made, renamed or removed.
 * Returns 0 or a negative errno.
 */
int MUST_CHECK path_sync_folder(const char *path);

#endif
