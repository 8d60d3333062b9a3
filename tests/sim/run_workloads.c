/* SPDX-License-Identifier: MIT */
/*
 * Long random workloads: some clients' worth of operations at the same time,
 * completed in random order, over several map blocks; kills and power cuts at
 * any step, also of the recovery, up to three deep; then the image is opened by
 * the real code, held against the oracle, and the run goes on with what is left.
 *
 *	sim-workloads [-t] [RUN]
 *
 * Prints one line of figures, or the first violation and the command that comes
 * to it again: RUN is the number of one run. -t: every step. SEED=N chooses
 * other runs, SEALBLK_LONG=1 many more.
 */
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sim/client.h"
#include "sim/host.h"
#include "sim/sparse.h"
#include "sim/state.h"
#include "sim/verify.h"

#if defined(__SANITIZE_ADDRESS__)
enum { RUNS = 20, RUNS_LONG = 200 };
#else
enum { RUNS = 2000, RUNS_LONG = 15000 };
#endif

enum {
	LIVES = 12,	      /* of a run: opens of its image */
	LIFE_WAITS_MAX = 300, /* before a crash */
	RECOVERY_WAITS_MAX = 60,
	PLANES_ADDED_MAX = 8, /* so that a switch always finds a free one */
	RANGE_MAX = 6,	      /* sectors of one operation */
	LOOKS_MAX = 3, /* states of a crash that are looked at; with the last one it goes on */
};

static const struct geometry geometry = {
	.disk_sectors = 2 * SEAL_BLOCK_SECTORS + 64,
	.first_sector = SEAL_BLOCK_SECTORS - 7,
	.nr_sectors = ORACLE_SECTORS_MAX,
};

/* What is issued, as often as it stands here. */
static const char letters[] = "WWWWWWWWWWFFTTTYZZLLLLLRRRRRRccc-+NEX";

struct figures {
	uint64_t nr_runs, nr_ops, nr_kills, nr_power_cuts, nr_recovery_crashes, nr_looks, nr_closes;
};

struct run {
	struct explorer x; /* for reports */
	uint64_t random;
	struct world *world;
	struct oracle oracle;
	struct client client;
	struct script_step steps[CLIENT_OPS_MAX];
	uint32_t next_content;
	unsigned int nr_planes_added;
	bool enabled; /* as it will be when what was issued is done */
	struct figures *figures;

	/* The crash to come: at the so many-th wait from here; 0: none. */
	uint64_t waits_left;
	enum severity severity; /* of the crashes since the client last saw anything */
	struct world *next;	/* what it left, closed; NULL: not yet */
	struct oracle then;	/* what the client knew at that moment */
};

static uint64_t draw(struct run *run, uint64_t possibilities)
{
	run->random += SIM_GOLDEN;
	return mix64(run->random) % possibilities;
}

/* ---- what a crash leaves -------------------------------------------------- */

static void note_crash(struct run *run, const struct sim_cut *cut, const struct sim_cut_plan *plan,
		       uint64_t state)
{
	const struct crash_note note = {
		.kind = plan->kind,
		.grain = plan->grain,
		.steps = sim_steps(run->world->sim),
		.nr_pending = sim_cut_pending(cut),
		.nr_states = sim_cut_states(cut),
		.state = state,
	};

	if (run->x.nr_notes == ARRAY_LEN(run->x.notes))
		memmove(run->x.notes, run->x.notes + 1,
			--run->x.nr_notes * sizeof(run->x.notes[0]));
	run->x.notes[run->x.nr_notes++] = note;
}

/* One of the worlds that the crash may have left; closed. */
static struct world *take_state(struct run *run, enum sim_cut_kind kind, enum sim_grain grain)
{
	const struct sim_cut_plan plan = {
		.kind = kind, .grain = grain, .states_max = 64, .seed = mix64(run->random)
	};
	struct sim_cut *cut = sim_cut_new(run->world->sim, &plan);
	const uint64_t state = draw(run, sim_cut_states(cut));
	struct world *after = world_after(run->world, sim_cut_take(cut, state), kind);

	note_crash(run, cut, &plan, state);
	sim_cut_free(cut);
	sim_trace(after->sim, run->x.trace);
	run->figures->nr_looks++;
	return after;
}

/* Open and look, to throw it away. */
static void look(struct run *run, enum sim_cut_kind kind)
{
	const bool torn = kind == SIM_POWER_CUT && draw(run, 2) == 0;
	struct world *after = take_state(run, kind, torn ? SIM_UNITS : SIM_SECTORS);
	uint32_t contents[ORACLE_SECTORS_MAX];

	verify_opens(&run->x, after);
	run->x.may_be_torn = torn;
	verify_world(&run->x, after, &run->oracle, run->severity, contents);
	run->x.may_be_torn = false;
	world_free(after);
	run->x.nr_notes--;
}

/*
 * Called whenever the program is about to wait: if it is time, this is where the
 * machine stops. What the program does after it has no effect.
 */
static void moment(void *arg)
{
	struct run *run = arg;
	const uint64_t random = host_swap_random(0);
	enum sim_cut_kind kind;

	if (run->waits_left > 0 && --run->waits_left == 0) {
		kind = draw(run, 2) ? SIM_KILL : SIM_POWER_CUT;
		if (kind == SIM_POWER_CUT)
			run->severity = SEVERITY_POWER;
		else if (run->severity == SEVERITY_NONE)
			run->severity = SEVERITY_KILL;
		run->figures->nr_kills += kind == SIM_KILL;
		run->figures->nr_power_cuts += kind == SIM_POWER_CUT;
		for (uint64_t i = draw(run, LOOKS_MAX); i > 0; i--)
			look(run, kind);
		run->next = take_state(run, kind, draw(run, 2) ? SIM_SECTORS : SIM_WHOLE_WRITES);
		run->then = run->oracle;
		sim_crash_at(run->world->sim, sim_steps(run->world->sim));
	}
	host_swap_random(random);
}

/* Go on in the world that the crash left. */
static void replace_world(struct run *run)
{
	world_free(run->world);
	run->world = run->next;
	run->next = NULL;
	run->oracle = run->then;
	run->world->tap.moment = moment;
	run->world->tap.arg = run;
}

/* The machine has stopped: open what is left, perhaps after more crashes. */
static void recover(struct run *run)
{
	uint32_t contents[ORACLE_SECTORS_MAX];

	for (int depth = 1; run->next; depth++) {
		int r;

		replace_world(run);
		run->waits_left = depth < EXPLORE_DEPTH_MAX && draw(run, 3) == 0
					  ? 1 + draw(run, RECOVERY_WAITS_MAX)
					  : 0;
		r = world_open(run->world, false);
		if (r < 0 && !run->next)
			verify_failed(&run->x, "does not open: %s", run->world->problem.text);
		run->figures->nr_recovery_crashes += run->next != NULL;
	}
	run->waits_left = 0;
	verify_world(&run->x, run->world, &run->oracle, run->severity, contents);
	run->oracle = verify_oracle(run->world, contents);
	run->severity = SEVERITY_NONE;
	sim_split_completions(run->world->sim, true);
}

/* ---- a life: from an open to a crash or a close --------------------------- */

static uint32_t oldest_read(const struct client *client)
{
	uint32_t oldest = UINT32_MAX;

	for (unsigned int i = 0; i < CLIENT_OPS_MAX; i++) {
		const struct client_op *op = &client->ops[i];

		if (op->pending && op->step->op == 'R' && op->issued_at < oldest)
			oldest = op->issued_at;
	}
	return oldest;
}

/* Would it be refused, or mean nothing, just now? */
static bool is_out_of_place(struct run *run, const struct script_step *step)
{
	if (op_is_switch(step->op) && run->client.switching)
		return true;
	if (op_is_rewrite(step->op) &&
	    (!run->enabled || run->client.switching || run->client.rewriting))
		return true;
	if (step->op == 'N' && run->nr_planes_added == PLANES_ADDED_MAX)
		return true;
	if (step->op == '-' || step->op == '+')
		return run->enabled == (step->op == '+');
	return op_changes_sectors(step->op) &&
	       oracle_is_full(&run->oracle, step->first, step->nr, oldest_read(&run->client));
}

static struct client_op *free_op(struct run *run, unsigned int *ret_number)
{
	for (*ret_number = 0; *ret_number < CLIENT_OPS_MAX; ++*ret_number)
		if (!run->client.ops[*ret_number].pending)
			return &run->client.ops[*ret_number];
	return NULL;
}

static void issue(struct run *run)
{
	struct script_step step = { .op = letters[draw(run, sizeof(letters) - 1)] };
	unsigned int number;

	step.first = (uint8_t)draw(run, geometry.nr_sectors);
	step.nr = (uint8_t)(1 + draw(run, min_u64(RANGE_MAX, geometry.nr_sectors - step.first)));
	if (!free_op(run, &number) || is_out_of_place(run, &step))
		return;
	if (op_is_switch(step.op))
		run->enabled = step.op != '-';
	run->nr_planes_added += step.op == 'N';
	run->steps[number] = step;
	client_issue(&run->client, &run->steps[number], number);
	run->figures->nr_ops++;
}

/* Wait for one of those under way, or for all. */
static int wait_for_some(struct run *run)
{
	const struct client_op *op = &run->client.ops[draw(run, CLIENT_OPS_MAX)];

	if (draw(run, 16) == 0)
		op = NULL;
	return op && !op->pending ? 0 : client_wait(&run->client, op);
}

static void judge(struct run *run)
{
	const struct client *client = &run->client;

	if (client->strange_read)
		verify_failed_content(&run->x, client->read_sector, client->read_found,
				      &client->read_allowed);
	if (!client_left_plane_alone(client))
		verify_failed(&run->x, "plane %u was written to after the switch away from it",
			      client->frozen_plane);
	for (unsigned int i = 0; i < CLIENT_OPS_MAX; i++)
		if (client->ops[i].client && !client->ops[i].pending && client->ops[i].error < 0)
			verify_failed(&run->x, "%c failed: %s", client->ops[i].step->op,
				      strerror(-client->ops[i].error));
}

/* Returns when the machine has stopped. */
static void live(struct run *run)
{
	int r = 0;

	client_init(&run->client, run->world, &run->oracle);
	run->client.next_content = run->next_content;
	run->enabled = run->oracle.enabled;
	run->waits_left = 1 + draw(run, LIFE_WAITS_MAX);
	while (r == 0 && !run->next) {
		issue(run);
		if (draw(run, 3) == 0 || run->client.switching)
			r = wait_for_some(run);
		if (!run->next)
			judge(run);
	}
	run->next_content = run->client.next_content;
	if (!run->next)
		verify_failed(&run->x, "the program is stuck: %s", strerror(-r));
}

/* ---- runs ----------------------------------------------------------------- */

static void begin(struct run *run, const struct world *fresh, uint64_t number)
{
	uint32_t contents[ORACLE_SECTORS_MAX];

	for (uint32_t n = 0; n < geometry.nr_sectors; n++)
		contents[n] = CONTENT_BASE;
	run->random = number;
	run->next_content = CONTENT_FIRST;
	content_use_seed((uint32_t)number);
	snprintf(run->x.script_text, sizeof(run->x.script_text), "run %" PRIu64, number);
	snprintf(run->x.again, sizeof(run->x.again), "sim-workloads %" PRIu64, number);
	oracle_init(&run->oracle, geometry.nr_sectors, contents, true);
	run->world = world_clone(fresh, number);
	sim_trace(run->world->sim, run->x.trace);
	sim_split_completions(run->world->sim, true);
	verify_opens(&run->x, run->world);
	run->world->tap.moment = moment;
	run->world->tap.arg = run;
}

static void run_one(struct world *const fresh[2], uint64_t number, FILE *trace,
		    struct figures *figures)
{
	struct run *run = sparse_alloc(sizeof(*run));
	uint32_t contents[ORACLE_SECTORS_MAX];

	run->figures = figures;
	run->x.trace = trace;
	begin(run, fresh[number % 2], number);
	for (int life = 0; life < LIVES; life++) {
		live(run);
		recover(run);
		if (draw(run, 4) > 0)
			continue;
		verify_close(&run->x, run->world, &run->oracle);
		verify_opens(&run->x, run->world);
		run->world->tap.moment = moment;
		figures->nr_closes++;
	}
	verify_world(&run->x, run->world, &run->oracle, SEVERITY_KILL, contents);
	figures->nr_runs++;
	world_free(run->world);
	free(run);
}

int main(int argc, char **argv)
{
	const char *is_long = getenv("SEALBLK_LONG");
	const char *seed_text = getenv("SEED");
	const bool trace = argc > 1 && strcmp(argv[1], "-t") == 0;
	uint64_t seed = seed_text && *seed_text ? strtoull(seed_text, NULL, 0) : 1;
	int nr_runs = is_long && *is_long ? RUNS_LONG : RUNS;
	const time_t begin_s = time(NULL);
	struct figures sum = { 0 };
	struct geometry owned = geometry; /* of every other run */
	struct world *fresh[2];

	mallopt(M_MMAP_THRESHOLD, 128 << 10);
	owned.owns_base = true;
	fresh[0] = world_new(&geometry);
	fresh[1] = world_new(&owned);
	if (argc > 1 + trace) {
		nr_runs = 1;
		run_one(fresh, strtoull(argv[1 + trace], NULL, 0), trace ? stdout : NULL, &sum);
	}
	for (int i = (int)sum.nr_runs; i < nr_runs; i++)
		run_one(fresh, seed * 1000000 + (uint64_t)i, NULL, &sum);
	printf("figures: %" PRIu64 " runs, %" PRIu64 " operations, %" PRIu64 " kills and %" PRIu64
	       " power cuts (%" PRIu64 " of them in recovery), %" PRIu64
	       " states looked at, %" PRIu64 " clean closes, 0 violations (seed %" PRIu64
	       ", %.0f s)\n",
	       sum.nr_runs, sum.nr_ops, sum.nr_kills, sum.nr_power_cuts, sum.nr_recovery_crashes,
	       sum.nr_looks, sum.nr_closes, seed, difftime(time(NULL), begin_s));
	world_free(fresh[0]);
	world_free(fresh[1]);
	return EXIT_SUCCESS;
}
