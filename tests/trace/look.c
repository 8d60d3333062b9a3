/* SPDX-License-Identifier: MIT */
/* Building and judging one state: see replay.h. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "trace/replay.h"

enum {
	READ_SECTORS = 512,
	SELF_CHECK_EVERY = 256,
};

/* ---- violations ------------------------------------------------------------ */

static void choice_text(const struct media *media, const struct choice *choice, char *ret_text,
			size_t text_bytes)
{
	static const char *const names[CHOICES] = {
		"all",	  "none",   "mask",   "only", "all but",
		"oldest", "newest", "random", "torn", "ended",
	};

	snprintf(ret_text, text_bytes, "%s %" PRIu32 "/%" PRIx64 " of %" PRIu32 " pending writes",
		 names[choice->kind], choice->nth, choice->bits, media->nr_pending);
}

static void keep_state(struct replay *x)
{
	const size_t bytes = sectors_to_bytes(x->media.nr_sectors);
	FILE *file;

	if (x->subject.image)
		subject_abandon(&x->subject);
	media_restore(&x->media);
	media_build(&x->media, &x->choice);
	file = fopen(x->keep, "w");
	if (!file || fwrite(x->media.scratch, 1, bytes, file) != bytes || fclose(file) != 0)
		give_up("%s: %s", x->keep, strerror(errno));
}

static void failed(struct replay *x, const char *fmt, ...) PRINTF_LIKE(2, 3)
	__attribute__((noreturn));

static void failed(struct replay *x, const char *fmt, ...)
{
	char event[EVENT_TEXT_BYTES] = "the end", choice[128];
	va_list args;

	if (x->event < x->timeline.nr)
		event_text(&x->timeline.events[x->event], event);
	choice_text(&x->media, &x->choice, choice, sizeof(choice));
	printf("trace: violation: a power cut before event %" PRIu32 " (%s), seed %" PRIu64 "\n"
	       "  on storage: %s\n  ",
	       x->event, event, x->seed, choice);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	keep_state(x);
	printf("\n  left in %s; again with:\n ", x->keep);
	for (char **arg = x->argv; *arg; arg++)
		printf(" %s", *arg);
	printf(" --only %" PRIu32 ":%" PRIu64 "\n", x->event, x->sample);
	unlink(x->scratch);
	exit(1);
}

/* ---- one state ------------------------------------------------------------- */

/*
 * Does `sealblk check` in check.out call nothing a problem but superblocks, and
 * the dirty file? That it misses, since for it the host has not been rebooted.
 */
static bool tells_of_a_cut_only(void)
{
	static const char *const good[] = { "superblock ", "dirty file ",
					    "note: ", "checked: ", "image " };
	FILE *file = fopen("check.out", "r");
	char line[512];
	bool only = file != NULL;

	while (file && fgets(line, sizeof(line), file)) {
		bool is_good = false;

		for (size_t i = 0; i < ARRAY_LEN(good); i++)
			is_good |= strncmp(line, good[i], strlen(good[i])) == 0;
		only &= is_good;
	}
	if (file)
		fclose(file);
	return only;
}

/* Its exit code: 0 no problems, 3 problems; -1: it did not end well. */
static int run_check(struct replay *x)
{
	char *const args[] = { strdup(x->check),    strdup("check"),	strdup("--key-file"),
			       strdup(x->key_file), strdup(x->scratch), NULL };
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int status;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 1, "check.out", O_WRONLY | O_CREAT | O_TRUNC,
					 0600);
	posix_spawn_file_actions_adddup2(&actions, 1, 2);
	if (posix_spawn(&pid, x->check, &actions, NULL, args, environ) != 0 ||
	    waitpid(pid, &status, 0) != pid)
		give_up("%s: cannot be run", x->check);
	posix_spawn_file_actions_destroy(&actions);
	for (int i = 0; args[i]; i++)
		free(args[i]);
	x->nr_checked++;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void read_windows(struct replay *x, uint8_t *to)
{
	for (unsigned int w = 0; w < x->expect.nr_windows; w++) {
		const struct window *window = &x->expect.windows[w];

		for (uint32_t at = 0; at < window->nr_sectors; at += READ_SECTORS) {
			const uint32_t nr =
				(uint32_t)min_u64(READ_SECTORS, window->nr_sectors - at);
			const int r = subject_read(&x->subject, window->first_sector + at, nr, to);

			if (r < 0)
				failed(x, "READ of sector %" PRIu64 ": %s",
				       window->first_sector + at, strerror(-r));
			to += sectors_to_bytes(nr);
		}
	}
}

static void judge_windows(struct replay *x)
{
	char text[EXPECT_TEXT_BYTES];
	uint32_t cell = 0;

	for (unsigned int w = 0; w < x->expect.nr_windows; w++) {
		const struct window *window = &x->expect.windows[w];
		uint64_t superseded;

		for (uint32_t i = 0; i < window->nr_sectors; i++, cell++)
			if (!expect_allows(&x->expect, cell, window->first_sector + i, x->time_ns,
					   x->contents + sectors_to_bytes(cell), text))
				failed(x, "%s", text);
		superseded = subject_find_superseded(&x->subject, window);
		if (superseded != UINT64_MAX)
			failed(x, "sector %" PRIu64 ": superseded data was left in a plane",
			       superseded);
	}
}

/*
 * The second open finds what the first one has made of it, another power cut later.
 */
static void look_twice(struct replay *x)
{
	if (!subject_open(&x->subject))
		failed(x, "refused: %s", x->subject.problem.text);
	read_windows(x, x->contents);
	judge_windows(x);
	subject_abandon(&x->subject);
	if (!subject_open(&x->subject))
		failed(x, "refused when opened again: %s", x->subject.problem.text);
	read_windows(x, x->contents_again);
	if (memcmp(x->contents, x->contents_again, sectors_to_bytes(x->expect.nr_cells)) != 0)
		failed(x, "reads otherwise when opened again");
	if (!subject_close(&x->subject))
		failed(x, "cannot be closed: %s", x->subject.problem.text);
}

void replay_look(struct replay *x)
{
	const bool check = x->check && x->nr_built % x->check_every == 0;
	int r;

	media_build(&x->media, &x->choice);
	x->nr_built++;
	/* A cut may leave one superblock torn or behind; the other one is good. */
	r = check ? run_check(x) : 0;
	if (r != 0 && (r != 3 || !tells_of_a_cut_only()))
		failed(x, "sealblk check, as the cut left it: exit %d; see check.out", r);
	look_twice(x);
	x->nr_opened++;
	r = check ? run_check(x) : 0;
	if (r != 0)
		failed(x, "sealblk check, opened and closed: exit %d; see check.out", r);
	media_restore(&x->media);
	if (x->nr_built % SELF_CHECK_EVERY == 0 && !media_is_restored(&x->media))
		give_up("the scratch file is not what it should be");
}
