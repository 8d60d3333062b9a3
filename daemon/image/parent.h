/* SPDX-License-Identifier: MIT */
/* From a differencing VHD or VHDX to its parent. */
#ifndef IMAGE_PARENT_H
#define IMAGE_PARENT_H

#include "base/compiler.h"
#include "image/layer.h"
#include "image/problem.h"

/* Opens the files that a base names. Blocks. */
struct base_opener {
	/* Read only, without waiting for a pipe's writer. Returns 0 or a negative errno. */
	int (*open_file)(void *arg, const char *path, int *ret_fd);
	void *arg;
};

/* With open(). */
extern const struct base_opener base_opener_direct;

/*
 * Find and open the parent of @child, which layer_has_parent(): by its relative
 * paths (from the folder where the child lies), then by its absolute ones.
 * The first file that is the parent is taken; if none is, *ret_problem is about
 * the first that was there.
 * Returns 0 (layer_close() it) or, with *ret_problem: -ENOENT: no path leads
 * to a file; or what opening or layer_open() said.
 */
int MUST_CHECK parent_open(const struct layer *child, const struct base_opener *opener,
			   struct layer **ret_parent, struct problem *ret_problem);

/*
 * Is @parent (its footer has been read) what @child was made from? Its unique id
 * must be the recorded one; the recorded timestamp must be its footer's or its
 * file's modification time, as writers differ in which they record; the disks
 * must be of one size.
 * Returns 0 or, with *ret_problem: -ESTALE: another, or changed since; -EINVAL:
 * the sizes differ; or the negative errno of fstat().
 */
int MUST_CHECK parent_check(const struct layer *parent, const struct layer *child,
			    struct problem *ret_problem);

/*
 * Is the VHDX @parent (parent->vhdx has been read) what the VHDX @child was made
 * from? Its data write id must be the recorded one, its logical sectors of the
 * same size. The disks may differ in size: what a child has more is zeros.
 * Returns 0 or, with *ret_problem: -ESTALE: another, or changed since; -EINVAL:
 * the sectors differ.
 */
int MUST_CHECK parent_check_vhdx(const struct layer *parent, const struct layer *child,
				 struct problem *ret_problem);

#endif
