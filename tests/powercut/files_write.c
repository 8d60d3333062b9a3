/* SPDX-License-Identifier: MIT */
/*
 * powercut files-write FOLDER DEVICE MARK_OFFSET SEED STEPS
 *
 * Goes through a plan (plan.h) in an empty folder; the marks go to DEVICE, the disk
 * on which all of it lies in the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "powercut/content.h"
#include "powercut/plan.h"
#include "powercut/util.h"
#include "powercut/verbs.h"

struct place {
	const char *name;
	uint64_t file;
	int flags;
};

static void must(int result, const char *what)
{
	if (result < 0)
		die(errno, "%s", what);
}

static void sync_folder(void)
{
	int fd = must_open(".", O_RDONLY | O_DIRECTORY);

	must(fsync(fd), "fsync of the folder");
	close(fd);
}

static void write_sectors(const struct plan *plan, uint64_t number, const struct place *to)
{
	const struct step *step = &plan->steps[number];
	uint8_t *bytes = must_alloc(step->nr, SECTOR_BYTES);
	int fd = must_open(to->name, to->flags);

	for (uint64_t i = 0; i < step->nr; i++)
		plan_fill(plan, to->file, step->first + i, number, bytes + i * SECTOR_BYTES);
	must_write(fd, bytes, step->nr * SECTOR_BYTES, step->first * SECTOR_BYTES);
	if (step->synced)
		must(fsync(fd), "fsync");
	close(fd);
	free(bytes);
}

static void take_step(const struct plan *plan, uint64_t number)
{
	const struct step *step = &plan->steps[number];
	struct place to = { "state.new", FILE_STATE, O_WRONLY | O_CREAT | O_TRUNC };
	char name[32];

	snprintf(name, sizeof(name), "%" PRIu64, step->kind == STEP_REMOVE ? step->first : number);
	switch (step->kind) {
	case STEP_TABLE:
		to = (struct place){ "table", FILE_TABLE, O_WRONLY | O_CREAT };
		break;
	case STEP_APPEND:
		to = (struct place){ "log", FILE_LOG, O_WRONLY | O_CREAT };
		break;
	case STEP_CREATE:
		to = (struct place){ name, number, O_WRONLY | O_CREAT | O_EXCL };
		break;
	case STEP_REMOVE:
		must(unlink(name), name);
		break;
	case STEP_REPLACE:
		break;
	}
	if (step->kind != STEP_REMOVE)
		write_sectors(plan, number, &to);
	if (step->kind == STEP_REPLACE)
		must(rename("state.new", "state"), "rename");
	if (step->synced)
		sync_folder();
}

int verb_files_write(char **arguments)
{
	int mark_fd = must_open(arguments[1], O_WRONLY | O_DIRECT);
	uint64_t mark_offset_bytes = must_number(arguments[2]);
	struct plan plan = plan_of(must_number(arguments[3]), must_number(arguments[4]));
	uint64_t nr_marks = 0;

	must(chdir(arguments[0]), arguments[0]);
	for (uint64_t i = 1; i <= plan.nr_steps; i++) {
		take_step(&plan, i);
		if (!plan.steps[i].synced)
			continue;
		mark_write(mark_fd, mark_offset_bytes, plan.seed, i);
		nr_marks++;
	}
	printf("files: %" PRIu64 " steps, %" PRIu64 " marks\n", plan.nr_steps, nr_marks);
	return 0;
}
