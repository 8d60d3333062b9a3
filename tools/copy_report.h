/* SPDX-License-Identifier: MIT */
/* How far a copy is: a bar, lines, or with --json --progress=always objects on stdout. */
#ifndef TOOLS_COPY_REPORT_H
#define TOOLS_COPY_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "options.h"
#include "progress.h"

struct copy_report {
	struct progress progress;
	bool objects;
	double begun_s, told_s;
};

void copy_report_begin(struct copy_report *report, const struct tool_options *options,
		       const char *what);
/* Call it as often as you like. */
void copy_report_show(struct copy_report *report, uint64_t done_bytes, uint64_t total_bytes);
void copy_report_end(struct copy_report *report);

#endif
