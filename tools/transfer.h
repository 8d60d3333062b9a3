/* SPDX-License-Identifier: MIT */
/* The second half of convert and export: a source goes into a file, whole or resumable. */
#ifndef TOOLS_TRANSFER_H
#define TOOLS_TRANSFER_H

#include <jansson.h>

#include "base/compiler.h"
#include "copy.h"
#include "image/problem.h"
#include "part.h"
#include "sealblk/vhd_format.h"

struct transfer {
	const struct tool_options *options;
	const char *what; /* "converted": for people */
	struct copy_source *source;
	const json_t *identity;	  /* of the source */
	const char *path;	  /* of the destination */
	enum tool_format format;  /* not AUTO */
	mode_t mode;		  /* of a new file */
	uint64_t disk_bytes;	  /* of the destination: at least the source's */
	struct vhd_footer footer; /* of a fixed VHD of that size; unless raw */
	/* Is the source still what it was? 0 or a negative errno with *problem. */
	int (*check_source)(const void *arg, struct problem *problem);
	const void *arg;
	/* The source is as it is this once: of what is interrupted nothing is kept. */
	bool once;
};

/* Is DEST something that is written? Returns 0, or -EINVAL with *problem. */
int MUST_CHECK transfer_check_options(const struct tool_options *options, struct problem *problem);

/* The format of a file called @path. */
enum tool_format transfer_format(const struct tool_options *options, const char *path);

/*
 * How large the disk of such a file is to be: a fixed VHD's is what Azure takes, whole MiB
 * and 20 of them at least; others are as the source.
 */
uint64_t transfer_disk_bytes(enum tool_format format, uint64_t source_bytes);

/* A footer of a new disk. Returns 0 or -EIO. */
int MUST_CHECK transfer_new_footer(uint64_t disk_bytes, struct vhd_footer *ret_footer);

/*
 * Copy, and say what was done. Returns 0; -EINTR: a signal came, and the same again goes
 * on where it was, unless it is @once; or another negative errno: there is no
 * destination. With *problem.
 */
int MUST_CHECK transfer_run(const struct transfer *transfer, struct problem *problem);

/* Also for import: the last words of a copy that has succeeded. */
struct transfer_summary {
	const struct tool_options *options;
	const char *what, *from, *to;
	const char *format; /* "fixed VHD" */
	uint64_t disk_bytes;
	uint64_t padding_bytes; /* of them, that the source does not have */
	const struct copy_result *result;
};
int MUST_CHECK transfer_tell(const struct transfer_summary *summary, struct problem *problem);

/* What becomes of an earlier run that cannot be gone on with. */
void transfer_tell_part(const struct part *part);

/* And of one that a signal has ended. @part: what was kept. Returns -EINTR. */
int transfer_interrupted(const struct copy_result *result, uint64_t nr_sectors, const char *part,
			 struct problem *problem);

#endif
