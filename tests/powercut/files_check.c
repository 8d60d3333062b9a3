/* SPDX-License-Identifier: MIT */
/*
 * powercut files-check FOLDER DISK MARK_OFFSET SEED STEPS
 *
 * Looks at a folder in which a plan was under way when a power cut left the disk
 * below as DISK: what was synced is whole, and nothing holds what was never written
 * there. Of the steps, the first @done had been taken, those up to @horizon may have
 * been.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "powercut/content.h"
#include "powercut/plan.h"
#include "powercut/util.h"
#include "powercut/verbs.h"

struct check {
	struct plan plan;
	uint64_t done;
	uint64_t horizon;
	uint64_t nr_wrong;
};

struct file {
	const char *name;
	uint64_t number;
	uint8_t *bytes; /* NULL: there is none */
	uint64_t nr_sectors;
	uint64_t *steps; /* by sector: which wrote it */
};

static void __attribute__((format(printf, 2, 3)))
wrong(struct check *check, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, " (%" PRIu64 " steps done)\n", check->done);
	check->nr_wrong++;
}

/* Whatever is in a sector: it was written there, or nothing was yet. */
static void judge_sectors(struct check *check, struct file *file)
{
	for (uint64_t i = 0; i < file->nr_sectors; i++) {
		file->steps[i] =
			plan_step_of(&check->plan, file->number, i, file->bytes + i * SECTOR_BYTES);
		if (file->steps[i] > check->horizon)
			wrong(check, "%s: sector %" PRIu64 " holds what nobody wrote there",
			      file->name, i);
	}
}

static struct file load_file(struct check *check, const char *name, uint64_t number)
{
	struct file file = { .name = name, .number = number };
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return file;
	if (fd < 0 || fstat(fd, &st) < 0)
		die(errno, "%s", name);
	if (st.st_size % SECTOR_BYTES != 0)
		wrong(check, "%s has %lld bytes", name, (long long)st.st_size);
	file.nr_sectors = (uint64_t)st.st_size / SECTOR_BYTES;
	file.bytes = must_alloc(file.nr_sectors, SECTOR_BYTES);
	file.steps = must_alloc(file.nr_sectors, sizeof(*file.steps));
	must_read(fd, file.bytes, file.nr_sectors * SECTOR_BYTES, 0);
	close(fd);
	judge_sectors(check, &file);
	return file;
}

static void done_with(struct file *file)
{
	free(file->bytes);
	free(file->steps);
}

/* Each sector that step @number wrote holds that, or something later. */
static void expect_sectors(struct check *check, const struct file *file, uint64_t number)
{
	const struct step *step = &check->plan.steps[number];

	if (file->nr_sectors < step->first + step->nr) {
		wrong(check, "%s: step %" PRIu64 " was synced, but there are %" PRIu64 " sectors",
		      file->name, number, file->nr_sectors);
		return;
	}
	for (uint64_t i = step->first; i < step->first + step->nr; i++)
		if (file->steps[i] < number)
			wrong(check,
			      "%s: sector %" PRIu64 " is of step %" PRIu64 ", but %" PRIu64
			      " was synced",
			      file->name, i, file->steps[i], number);
}

static void check_created(struct check *check, uint64_t number)
{
	const struct step *step = &check->plan.steps[number];
	const struct step *removal = NULL;
	struct file file;
	char name[32];

	snprintf(name, sizeof(name), "%" PRIu64, number);
	file = load_file(check, name, number);
	if (step->gone_by <= check->done)
		removal = &check->plan.steps[step->gone_by];
	if (file.bytes && (number > check->horizon || (removal && removal->synced)))
		wrong(check, "%s is there", name);
	if (file.bytes && file.nr_sectors > step->nr)
		wrong(check, "%s is too long", name);
	if (step->synced && number <= check->done && step->gone_by > check->horizon)
		expect_sectors(check, &file, number);
	done_with(&file);
}

/* "state" is one version as a whole, the last that was synced or a later one. */
static void check_state(struct check *check)
{
	struct file file = load_file(check, "state", FILE_STATE);
	uint64_t promised = 0;
	uint64_t found = file.nr_sectors > 0 ? file.steps[0] : 0;

	for (uint64_t i = 1; i <= check->done; i++)
		if (check->plan.steps[i].kind == STEP_REPLACE)
			promised = i;
	if (found < promised)
		wrong(check, "state is of step %" PRIu64 ", but %" PRIu64 " was synced", found,
		      promised);
	for (uint64_t i = 0; i < file.nr_sectors; i++)
		if (file.steps[i] != found || found == 0)
			wrong(check, "state is of several steps");
	if (file.bytes && found > 0 && found <= check->horizon &&
	    file.nr_sectors != check->plan.steps[found].nr)
		wrong(check, "state has %" PRIu64 " sectors", file.nr_sectors);
	done_with(&file);
}

static void check_grown(struct check *check, enum step_kind kind, const char *name, uint64_t number)
{
	struct file file = load_file(check, name, number);
	bool all = false;

	/* Syncing a file syncs what earlier steps wrote into it. */
	for (uint64_t i = check->done; i >= 1; i--) {
		if (check->plan.steps[i].kind != kind)
			continue;
		all |= check->plan.steps[i].synced;
		if (all)
			expect_sectors(check, &file, i);
	}
	done_with(&file);
}

int verb_files_check(char **arguments)
{
	struct check check = { .plan = plan_of(must_number(arguments[3]),
					       must_number(arguments[4])) };

	check.done = mark_read(arguments[1], must_number(arguments[2]), check.plan.seed);
	check.horizon = check.done + 1;
	while (check.horizon < check.plan.nr_steps && !check.plan.steps[check.horizon].synced)
		check.horizon++;
	if (chdir(arguments[0]) < 0)
		die(errno, "%s", arguments[0]);
	check_grown(&check, STEP_TABLE, "table", FILE_TABLE);
	check_grown(&check, STEP_APPEND, "log", FILE_LOG);
	check_state(&check);
	for (uint64_t i = 1; i <= check.plan.nr_steps; i++)
		if (check.plan.steps[i].kind == STEP_CREATE)
			check_created(&check, i);
	return check.nr_wrong > 0;
}
