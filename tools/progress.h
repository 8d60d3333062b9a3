/* SPDX-License-Identifier: MIT */
/* How far a long verb is: on a terminal a bar, otherwise a line now and then. To stderr. */
#ifndef TOOLS_PROGRESS_H
#define TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

enum progress_when { PROGRESS_AUTO, PROGRESS_ALWAYS, PROGRESS_NEVER };

struct progress {
	const char *what; /* borrowed */
	bool shown;
	bool bar;
	bool drawn; /* the bar is on the line */
	uint64_t begun_ms, told_ms, told_bytes;
	uint64_t bytes_s; /* of late */
};

void progress_begin(struct progress *progress, enum progress_when when, const char *what);

/* @done_bytes of @total_bytes. Call it as often as you like. */
void progress_show(struct progress *progress, uint64_t done_bytes, uint64_t total_bytes);

/* The bar goes, so that other text can be written. */
void progress_end(struct progress *progress);

/* "1:02:03", "4:05". */
enum { DURATION_TEXT_BYTES = 32 };
const char *duration_text(uint64_t seconds, char text[DURATION_TEXT_BYTES]);

#endif
