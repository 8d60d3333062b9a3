/* SPDX-License-Identifier: MIT */
/* How far a copy is: see copy_report.h. */
#include "copy_report.h"

#include <jansson.h>
#include <stdio.h>
#include <time.h>

#include "print.h"

static const double tell_s = 0.5;

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void copy_report_begin(struct copy_report *report, const struct tool_options *options,
		       const char *what)
{
	*report = (struct copy_report){
		.objects = options->json && options->progress == PROGRESS_ALWAYS,
		.begun_s = now_s(),
	};
	report->told_s = report->begun_s;
	progress_begin(&report->progress, options->json ? PROGRESS_NEVER : options->progress, what);
}

static void tell(const struct copy_report *report, uint64_t done_bytes, uint64_t total_bytes)
{
	const double passed_s = report->told_s - report->begun_s;
	const double bytes_s = (double)done_bytes / passed_s;
	json_t *object = json_pack("{s:s, s:I, s:I, s:f, s:o}", "event", "progress", "done_bytes",
				   (json_int_t)done_bytes, "total_bytes", (json_int_t)total_bytes,
				   "bytes_per_second", bytes_s, "seconds_left",
				   bytes_s > 0
					   ? json_real((double)(total_bytes - done_bytes) / bytes_s)
					   : json_null());

	/* A line that cannot be told is no reason to stop. */
	if (object && print_json_object(object) == 0)
		(void)fflush(stdout);
	json_decref(object);
}

void copy_report_show(struct copy_report *report, uint64_t done_bytes, uint64_t total_bytes)
{
	const double now = now_s();

	if (!report->objects) {
		progress_show(&report->progress, done_bytes, total_bytes);
	} else if (now >= report->told_s + tell_s) {
		report->told_s = now;
		tell(report, done_bytes, total_bytes);
	}
}

void copy_report_end(struct copy_report *report)
{
	progress_end(&report->progress);
}
