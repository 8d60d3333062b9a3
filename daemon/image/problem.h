/* SPDX-License-Identifier: MIT */
/* One line that tells the user what is wrong, where, and what to do. */
#ifndef IMAGE_PROBLEM_H
#define IMAGE_PROBLEM_H

#include "base/compiler.h"
#include "sealblk/limits.h"

/* Without a newline. Holds any path whole. */
struct problem {
	char text[PATH_BYTES_MAX + 512];
};

/* Write the text: "@what @path: ...", e.g. "image vm.seal: ...". */
void problem_set(struct problem *problem, const char *what, const char *path, const char *fmt, ...)
	PRINTF_LIKE(4, 5);

#endif
