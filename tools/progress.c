/* SPDX-License-Identifier: MIT */
/* Bars and lines of progress: see progress.h. */
#include "progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control/size_text.h"
#include "print.h"

enum {
	BAR_MS = 200,
	LINE_MS = 10000,
	BAR_CHARACTERS = 30,
};

static uint64_t clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

const char *duration_text(uint64_t seconds, char text[DURATION_TEXT_BYTES])
{
	const uint64_t minutes = seconds / 60 % 60, hours = seconds / 3600;

	if (hours > 0)
		snprintf(text, DURATION_TEXT_BYTES, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, hours,
			 minutes, seconds % 60);
	else
		snprintf(text, DURATION_TEXT_BYTES, "%" PRIu64 ":%02" PRIu64, minutes,
			 seconds % 60);
	return text;
}

void progress_begin(struct progress *progress, enum progress_when when, const char *what)
{
	const bool terminal = isatty(STDERR_FILENO);

	*progress = (struct progress){
		.what = what,
		.shown = when == PROGRESS_ALWAYS || (when == PROGRESS_AUTO && terminal),
		.bar = terminal,
		.begun_ms = clock_ms(),
	};
	progress->told_ms = progress->begun_ms;
}

static void draw_bar(uint64_t done_bytes, uint64_t total_bytes)
{
	const unsigned int nr =
		total_bytes
			? (unsigned int)((double)done_bytes / (double)total_bytes * BAR_CHARACTERS)
			: BAR_CHARACTERS;
	char bar[BAR_CHARACTERS + 1];

	memset(bar, '.', BAR_CHARACTERS);
	memset(bar, '#', nr < BAR_CHARACTERS ? nr : BAR_CHARACTERS);
	bar[BAR_CHARACTERS] = 0;
	fprintf(stderr, " [%s]", bar);
}

static void tell(const struct progress *progress, uint64_t done_bytes, uint64_t total_bytes)
{
	char done[SIZE_TEXT_BYTES], total[SIZE_TEXT_BYTES], speed[SIZE_TEXT_BYTES];
	char left[DURATION_TEXT_BYTES];

	fprintf(stderr, "%s%s", progress->bar ? "\r" : "", progress->what);
	if (progress->bar)
		draw_bar(done_bytes, total_bytes);
	fprintf(stderr, " %5.1f%%  %s of %s",
		total_bytes ? (double)done_bytes * 100 / (double)total_bytes : 100.0,
		size_text(done_bytes, done), size_text(total_bytes, total));
	if (progress->bytes_s > 0)
		fprintf(stderr, "  %s/s  %s left", size_text(progress->bytes_s, speed),
			duration_text((total_bytes - done_bytes) / progress->bytes_s, left));
	/* What the line before had more of goes. */
	fputs(progress->bar ? "\033[K" : "\n", stderr);
	fflush(stderr);
}

void progress_show(struct progress *progress, uint64_t done_bytes, uint64_t total_bytes)
{
	const uint64_t now_ms = clock_ms();
	const uint64_t passed_ms = now_ms - progress->told_ms;

	if (!progress->shown || passed_ms < (uint64_t)(progress->bar ? BAR_MS : LINE_MS))
		return;
	progress->bytes_s = done_bytes > progress->told_bytes
				    ? (done_bytes - progress->told_bytes) * 1000 / passed_ms
				    : 0;
	progress->told_ms = now_ms;
	progress->told_bytes = done_bytes;
	tell(progress, done_bytes, total_bytes);
	progress->drawn = progress->bar;
}

void progress_end(struct progress *progress)
{
	if (progress->drawn)
		fputs("\r\033[K", stderr);
	progress->drawn = false;
}
