/* SPDX-License-Identifier: MIT */
/* Bit rot: checking and repairing the image: see rot.h. */
#include <string.h>

#include "image/repair.h"
#include "sim/digest.h"
#include "sim/rot.h"
#include "sim/state.h"

/* The simulated base is not in the file system of this process: a check misses it. */
static bool is_of_base(const struct check_finding *finding)
{
	return strcmp(finding->subject, "base") == 0;
}

static void tell(void *arg, const struct check_finding *finding)
{
	struct rot_told *told = arg;

	if (is_of_base(finding))
		return;
	sim_require(finding->means[0] && finding->advice[0], "a finding explains nothing");
	told->digest = digest_text(told->digest, finding->subject);
	told->digest = digest_text(told->digest, finding->what);
	if (finding->level != CHECK_PROBLEM)
		return;
	told->nr_problems++;
	told->names_it |= finding->offset_bytes <= told->at &&
			  told->at - finding->offset_bytes < finding->nr_bytes;
}

static void tell_left(void *arg, const struct check_finding *finding)
{
	struct rot_told *told = arg;

	told->nr_left += finding->level == CHECK_PROBLEM && !is_of_base(finding);
}

static void tell_deed(void *arg, const struct repair_deed *deed)
{
	(void)arg;
	(void)deed;
}

/* @world must stay where it is, and so must @ret_store. */
static struct check_order order_of(struct world *world, struct store *ret_store,
				   struct rot_told *told)
{
	struct check_order order = {
		.path = "simulated.seal",
		.store = ret_store,
		.ring = &world->tap.ring,
		.secret = world_secret(),
		.dirty_store = &world->memory.store,
		.dirty_place = "memory",
		.tell = tell,
		.arg = told,
	};

	sim_store(world->sim, world->fd, ret_store);
	memcpy(order.boot_id, world->boot_id, sizeof(order.boot_id));
	*told = (struct rot_told){ .at = told->at };
	return order;
}

int rot_check(struct world *world, struct rot_told *told)
{
	struct store store;
	const struct check_order order = order_of(world, &store, told);
	struct check_result result;
	struct problem problem;

	return check_image(&order, &result, &problem);
}

int rot_repair(struct world *world, struct rot_told *told)
{
	struct store store;
	const struct repair_order order = {
		.check = order_of(world, &store, told),
		.tell_deed = tell_deed,
		.tell_left = tell_left,
		.arg = told,
	};
	struct repair_result result;
	struct problem problem;
	int r = repair_image(&order, &result, &problem);

	told->nr_repairs = result.nr_repairs;
	if (result.nr_repairs == 0)
		told->nr_left = told->nr_problems;
	return r;
}
