/* SPDX-License-Identifier: MIT */
#include "powercut/plan.h"

#include "powercut/content.h"
#include "powercut/util.h"

/* A file to remove: one of the last that were created and are still there. 0: none found. */
static uint64_t pick_victim(const struct plan *plan, uint64_t now, struct dice *dice)
{
	for (int tries = 0; tries < 8; tries++) {
		uint64_t step = 1 + dice_below(dice, now - 1);

		if (plan->steps[step].kind == STEP_CREATE &&
		    plan->steps[step].gone_by == UINT64_MAX)
			return step;
	}
	return 0;
}

static struct step pick_step(const struct plan *plan, uint64_t now, struct dice *dice,
			     uint64_t *log_sectors)
{
	struct step step = { .kind = STEP_CREATE, .gone_by = UINT64_MAX };
	uint64_t kind = dice_below(dice, 16);

	step.synced = dice_below(dice, 3) == 0;
	step.nr = 1 + dice_below(dice, FILE_SECTORS_MAX);
	if (kind < 4) {
		step.kind = STEP_TABLE;
		step.nr = 1 + dice_below(dice, 8);
		step.first = dice_below(dice, TABLE_SECTORS - step.nr + 1);
	} else if (kind < 6) {
		step.kind = STEP_REPLACE;
		step.synced = true;
	} else if (kind < 9) {
		step.kind = STEP_APPEND;
		step.nr = 1 + dice_below(dice, 8);
		step.first = *log_sectors;
		*log_sectors += step.nr;
	} else if (kind < 11) {
		step.first = pick_victim(plan, now, dice);
		if (step.first != 0)
			step.kind = STEP_REMOVE;
	}
	return step;
}

struct plan plan_of(uint64_t seed, uint64_t nr_steps)
{
	struct plan plan = { seed, nr_steps, must_alloc(nr_steps + 1, sizeof(*plan.steps)) };
	struct dice dice = dice_of(seed);
	uint64_t log_sectors = 0;

	plan.steps[1] = (struct step){ .kind = STEP_TABLE, .synced = true, .nr = TABLE_SECTORS };
	for (uint64_t i = 2; i <= nr_steps; i++) {
		plan.steps[i] = pick_step(&plan, i, &dice, &log_sectors);
		if (plan.steps[i].kind == STEP_REMOVE)
			plan.steps[plan.steps[i].first].gone_by = i;
	}
	return plan;
}

static uint64_t place(uint64_t file, uint64_t sector)
{
	return file << 32 | sector;
}

void plan_fill(const struct plan *plan, uint64_t file, uint64_t sector, uint64_t step,
	       uint8_t bytes[SECTOR_BYTES])
{
	content_fill(bytes, plan->seed, place(file, sector), step);
}

uint64_t plan_step_of(const struct plan *plan, uint64_t file, uint64_t sector,
		      const uint8_t bytes[SECTOR_BYTES])
{
	uint64_t step = 0;

	if (content_read(bytes, plan->seed, place(file, sector), &step) == CONTENT_WRONG)
		return UINT64_MAX;
	return step;
}
