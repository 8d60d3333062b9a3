/* SPDX-License-Identifier: MIT */
/*
 * Copying a disk: the one engine below convert, export and import. A source says
 * which sectors it stores and reads them, a sink takes those that are not zeros; a
 * few threads carry pieces from one to the other, in no order.
 */
#ifndef TOOLS_COPY_H
#define TOOLS_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "image/problem.h"
#include "options.h"
#include "sealblk/units.h"

enum {
	COPY_THREADS = 4, /* at most, and no more than there are processors, but for two */
	COPY_PIECE_BYTES = 1 << 20, /* read and written in one go; no piece crosses a multiple */
	COPY_PIECE_SECTORS = COPY_PIECE_BYTES / SECTOR_BYTES,
};

/*
 * All functions: 0 or a negative errno. @thread: 0 to COPY_THREADS - 1; two calls at a
 * time never have the same one.
 */
struct copy_source {
	/*
	 * Are the sectors from @first_sector on stored, or a hole that reads as zeros? For
	 * *ret_sectors, 1 to @limit_sectors; what follows may be alike.
	 */
	int (*extent)(struct copy_source *source, unsigned int thread, uint64_t first_sector,
		      uint64_t limit_sectors, bool *ret_hole, uint64_t *ret_sectors);
	/* At most COPY_PIECE_SECTORS. */
	int (*read)(struct copy_source *source, unsigned int thread, uint64_t first_sector,
		    uint32_t nr_sectors, uint8_t *ret_data);
	/* @thread will not call again. @wait: until all the others have left. NULL: no matter. */
	void (*leave)(struct copy_source *source, unsigned int thread, bool wait);
	const char *path; /* for messages */
	uint64_t nr_sectors;
	uint32_t missing_bytes; /* at the end of the last one, where they read as zeros */
};

struct copy_sink {
	/* Of one piece. @data is not needed afterwards, and may have been changed. */
	int (*write)(struct copy_sink *sink, unsigned int thread, uint64_t first_sector,
		     uint32_t nr_sectors, uint8_t *data);
	/* What is there now: of an earlier run, or zeros. At most COPY_PIECE_SECTORS. */
	int (*read)(struct copy_sink *sink, unsigned int thread, uint64_t first_sector,
		    uint32_t nr_sectors, uint8_t *ret_data);
	/* Let sectors read as zeros whatever an earlier run has left there; any number of them. */
	int (*clear)(struct copy_sink *sink, unsigned int thread, uint64_t first_sector,
		     uint64_t nr_sectors);
	void (*leave)(struct copy_sink *sink, unsigned int thread, bool wait); /* as the source's */
	const char *path;
};

struct copy_job {
	struct copy_source *source;
	struct copy_sink *sink; /* empty, but for the sectors before @kept_sectors */
	/* Up to here an earlier run has come: compared, and written where it differs. */
	uint64_t kept_sectors;
	const struct tool_options *options; /* --progress, --json */
	const char *what;		    /* for progress */
};

/* In bytes of the disk. */
struct copy_result {
	uint64_t stored_bytes;	 /* of the source, all in all */
	uint64_t written_bytes;	 /* of it, here and now */
	uint64_t verified_bytes; /* of it, found as it should be */
	uint64_t at_sector;	 /* before it all is done */
	double seconds;
};

/* From here on SIGINT and SIGTERM end copy_run(), and nothing else. */
void copy_catch_signals(void);

/*
 * Returns 0 when all is in the sink; -EINTR: a signal came, and all before
 * ret_result->at_sector is there; or a negative errno with *problem.
 */
int MUST_CHECK copy_run(const struct copy_job *job, struct copy_result *ret_result,
			struct problem *problem);

#endif
