/* SPDX-License-Identifier: MIT */
/* The extents of a disk, from the file or the daemon, for what `sealblk map` makes of them. */
#ifndef TOOLS_MAP_H
#define TOOLS_MAP_H

#include "options.h"
#include "reach.h"

/*
 * Call @extent for the whole disk, as report_walk(). A daemon is asked once:
 * @reach is of no more use then. Returns 0, or a negative errno with *problem.
 */
int MUST_CHECK map_walk(struct reach *reach, report_extent_fn extent, void *arg,
			struct problem *problem);

/* Say on stderr what the extents leave out: stdout is for programs too. */
void map_warn(const struct reach *reach);

/* map_svg.c: sealblk map --svg. Returns as a verb. */
int MUST_CHECK map_draw(const struct tool_options *options, struct problem *problem);

#endif
