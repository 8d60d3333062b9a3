/* SPDX-License-Identifier: MIT */
/*
 * The crash explorer: see explore.h.
 *
 * explore_script -> run_from -> { client_issue, client_wait } -> verify_close
 *                      | whenever the program waits
 *                      v
 *                  moment -> try_cut -> check_state -> world_open -> verify_world
 *                                                        | whenever recovery waits
 *                                                        v
 *                                                    moment ...
 */
#include "sim/explore.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sim/client.h"
#include "sim/host.h"
#include "sim/sparse.h"
#include "sim/state.h"
#include "sim/verify.h"

const struct geometry explore_geometries[GEOMETRIES] = {
	{ .disk_sectors = 1024, .first_sector = 1000, .nr_sectors = SCRIPT_SECTORS },
	{ .disk_sectors = SEAL_BLOCK_SECTORS + 16,
	  .first_sector = SEAL_BLOCK_SECTORS - 1,
	  .nr_sectors = SCRIPT_SECTORS },
	[GEOMETRY_OWNED] = { .disk_sectors = 1024,
			     .first_sector = 1000,
			     .nr_sectors = SCRIPT_SECTORS,
			     .owns_base = true },
};

/* What a start left in the sectors: above all that a script writes. */
enum { START_CONTENT = CONTENT_FIRST + 100 };

/* A stretch of program between two crashes, looked at from outside. */
struct run {
	struct explorer *x;
	struct world *world;
	const struct oracle *oracle;
	const struct client *client; /* NULL: no client yet */
	enum severity severity;	     /* of what happened since the client last saw anything */
	uint64_t states_max;
	unsigned int depth;		   /* of crashes that were explored, not in the script */
	uint64_t last_steps, last_answers; /* when it was last looked at */
};

/* ---- crashes -------------------------------------------------------------- */

static void moment(void *arg);

static enum severity worse(enum severity severity, enum sim_cut_kind kind)
{
	const enum severity other = kind == SIM_KILL ? SEVERITY_KILL : SEVERITY_POWER;

	return severity > other ? severity : other;
}

/* What a second look at the same state would find again. */
static uint64_t digest_of(const struct run *run, uint64_t files, uint64_t memory,
			  enum severity severity)
{
	const struct oracle *oracle = run->oracle;
	uint64_t digest = world_digest(run->world, files, memory);

	for (uint32_t n = 0; n < oracle->nr_sectors; n++) {
		const struct content_set allowed = oracle_allowed(oracle, n, severity);

		for (uint32_t i = 0; i < allowed.nr; i++)
			digest = digest_number(digest, allowed.contents[i]);
		digest = digest_number(digest, allowed.nr);
	}
	return digest_number(digest, oracle->enabled << 1 | oracle->enabled_wanted);
}

/*
 * Once open, nothing of what was found may be lost any more: neither by a power
 * cut nor by a clean close.
 */
static void check_again(struct explorer *x, struct world *world, const struct oracle *oracle)
{
	const struct sim_cut_plan plan = {
		.kind = SIM_POWER_CUT, .grain = SIM_SECTORS, .states_max = 2, .seed = 1
	};
	struct sim_cut *cut = sim_cut_new(world->sim, &plan);

	for (uint64_t i = 0; i < sim_cut_states(cut); i++) {
		struct world *after = world_after(world, sim_cut_take(cut, i), SIM_POWER_CUT);
		uint32_t contents[ORACLE_SECTORS_MAX];

		verify_opens(x, after);
		verify_world(x, after, oracle, SEVERITY_POWER, contents);
		world_free(after);
	}
	sim_cut_free(cut);
	verify_close(x, world, oracle);
}

/* @world, owned, is what a crash left: open it and look. */
static void check_state(const struct run *crashed, struct world *world, enum severity severity,
			uint64_t digest, enum sim_grain grain)
{
	struct explorer *x = crashed->x;
	struct run recovery = {
		.x = x,
		.world = world,
		.oracle = crashed->oracle,
		.severity = severity,
		.states_max = x->recovery_states,
		.depth = crashed->depth + 1,
	};
	const uint64_t random = host_swap_random(0);
	uint32_t contents[ORACLE_SECTORS_MAX];
	struct oracle oracle;

	x->nr_recoveries++;
	sim_trace(world->sim, x->trace);
	if (recovery.depth < EXPLORE_DEPTH_MAX && grain != SIM_UNITS &&
	    digest % x->recrash_one_in == 0) {
		world->tap.moment = moment;
		world->tap.arg = &recovery;
	}
	verify_opens(x, world);
	x->may_be_torn = grain == SIM_UNITS;
	verify_world(x, world, crashed->oracle, severity, contents);
	x->may_be_torn = false;
	world->tap.moment = NULL;
	if (grain != SIM_UNITS && digest % x->reopen_one_in == 0) {
		oracle = verify_oracle(world, contents);
		check_again(x, world, &oracle);
	}
	world_free(world);
	host_swap_random(random);
}

static struct sim_cut *cut_now(struct explorer *x, const struct world *world,
			       enum sim_cut_kind kind, enum sim_grain grain, uint64_t states_max)
{
	const struct sim_cut_plan plan = {
		.kind = kind,
		.grain = grain,
		.states_max = states_max,
		.seed = mix64(x->script_seed + sim_steps(world->sim)),
	};
	struct sim_cut *cut = sim_cut_new(world->sim, &plan);

	x->notes[x->nr_notes++] = (struct crash_note){
		.kind = kind,
		.grain = grain,
		.steps = sim_steps(world->sim),
		.nr_pending = sim_cut_pending(cut),
		.nr_states = sim_cut_states(cut),
	};
	return cut;
}

static void end_cut(struct explorer *x, struct sim_cut *cut)
{
	sim_cut_free(cut);
	x->nr_notes--;
}

/* Returns whether these were all states that there are at this grain. */
static bool try_cut(const struct run *run, enum sim_cut_kind kind, enum sim_grain grain,
		    uint64_t states_max)
{
	struct explorer *x = run->x;
	const enum severity severity = worse(run->severity, kind);
	const uint64_t memory = kind == SIM_KILL ? memory_store_digest(&run->world->memory) : 0;
	struct sim_cut *cut = cut_now(x, run->world, kind, grain, states_max);
	const uint64_t rest = digest_of(run, 0, memory, severity);
	const bool exhaustive = sim_cut_exhaustive(cut);

	for (uint64_t i = 0; i < sim_cut_states(cut); i++) {
		const uint64_t digest = digest_number(rest, sim_cut_digest(cut, i));

		x->nr_states++;
		x->notes[x->nr_notes - 1].state = i;
		if (digest_set_add(&x->seen, digest))
			check_state(run, world_after(run->world, sim_cut_take(cut, i), kind),
				    severity, digest, grain);
	}
	end_cut(x, cut);
	return exhaustive;
}

/*
 * First with torn writes: when there are so few states that all are looked at,
 * the untorn ones are among them.
 */
static void try_cuts(const struct run *run, enum sim_cut_kind kind)
{
	struct explorer *x = run->x;

	x->nr_cuts++;
	if (!try_cut(run, kind, SIM_SECTORS, min_u64(x->torn_states, run->states_max)) &&
	    !try_cut(run, kind, SIM_WHOLE_WRITES, run->states_max))
		x->nr_sampled++;
	if (kind == SIM_POWER_CUT && run->depth == 0)
		(void)try_cut(run, kind, SIM_UNITS, x->unit_states);
}

/* Called whenever the program is about to wait. */
static void moment(void *arg)
{
	struct run *run = arg;
	const uint64_t steps = sim_steps(run->world->sim);
	const uint64_t answers = run->client ? run->client->nr_answers : 0;

	if (steps == run->last_steps && answers == run->last_answers)
		return;
	run->last_steps = steps;
	run->last_answers = answers;
	try_cuts(run, SIM_POWER_CUT);
	try_cuts(run, SIM_KILL);
}

/* ---- scripts -------------------------------------------------------------- */

static void run_from(struct explorer *x, const struct script *script, struct world *world,
		     const struct oracle *before, enum severity severity, unsigned int at);

/* The crash is part of the script: go on after it, in each state there may be. */
static void crash_and_go_on(struct explorer *x, const struct script *script,
			    const struct world *world, const struct oracle *oracle, unsigned int at)
{
	const enum sim_cut_kind kind = script->steps[at].op == 'K' ? SIM_KILL : SIM_POWER_CUT;
	struct sim_cut *cut = cut_now(x, world, kind, SIM_WHOLE_WRITES, x->branch_states);
	struct digest_set seen = { 0 };

	for (uint64_t i = 0; i < sim_cut_states(cut); i++) {
		if (!digest_set_add(&seen, sim_cut_digest(cut, i)))
			continue;
		x->notes[x->nr_notes - 1].state = i;
		run_from(x, script, world_after(world, sim_cut_take(cut, i), kind), oracle,
			 worse(SEVERITY_NONE, kind), at + 1);
	}
	digest_set_done(&seen);
	end_cut(x, cut);
}

/*
 * From which operation on is there anything new to see? What comes before it is
 * a script by itself, every operation of which is waited for.
 */
static unsigned int first_of_interest(const struct script *script, unsigned int at)
{
	while (at + 1 < script->nr && script->steps[at].waited)
		at++;
	return at;
}

static void check_client(struct explorer *x, const struct client *client, int r)
{
	if (r < 0)
		verify_failed(x, "the program is stuck: %s", strerror(-r));
	if (client->unfinished)
		verify_failed(x, "a rewrite is said to be done, and is not");
	if (client->strange_read)
		verify_failed_content(x, client->read_sector, client->read_found,
				      &client->read_allowed);
	if (!client_left_plane_alone(client))
		verify_failed(x, "plane %u was written to after the switch away from it",
			      client->frozen_plane);
	for (unsigned int i = 0; i < CLIENT_OPS_MAX; i++)
		if (client->ops[i].client && !client->ops[i].pending && client->ops[i].error < 0)
			verify_failed(x, "operation %u failed: %s", i + 1,
				      strerror(-client->ops[i].error));
}

static void run_to_end(struct run *run, struct client *client)
{
	const int r = client_wait(client, NULL);
	uint32_t contents[ORACLE_SECTORS_MAX];
	struct oracle closed;

	check_client(run->x, client, r);
	moment(run);
	verify_world(run->x, run->world, client->oracle, SEVERITY_NONE, contents);
	closed = verify_oracle(run->world, contents);
	verify_close(run->x, run->world, &closed);
}

/* Owns @world, which is closed; operation @at comes next. */
static void run_from(struct explorer *x, const struct script *script, struct world *world,
		     const struct oracle *before, enum severity severity, unsigned int at)
{
	const unsigned int interest = first_of_interest(script, at);
	struct client *client = sparse_alloc(sizeof(*client));
	struct oracle oracle = *before;
	struct run run = {
		.x = x,
		.world = world,
		.oracle = &oracle,
		.client = client,
		.severity = severity,
		.states_max = x->cut_states,
	};
	uint32_t contents[ORACLE_SECTORS_MAX];
	bool crashed = false;

	client_init(client, world, &oracle);
	client->next_content = CONTENT_FIRST + at;
	world->tap.arg = &run;
	if (at == script->nr)
		world->tap.moment = moment;
	sim_newest_first(world->sim, script->order == ORDER_NEWEST);
	verify_opens(x, world);
	verify_world(x, world, &oracle, severity == SEVERITY_NONE ? SEVERITY_KILL : severity,
		     contents);
	oracle = verify_oracle(world, contents);
	run.severity = SEVERITY_NONE;
	for (; at < script->nr && !crashed; at++) {
		const struct script_step *step = &script->steps[at];
		const struct client_op *op;

		if (op_is_crash(step->op)) {
			crash_and_go_on(x, script, world, &oracle, at);
			crashed = true;
			break;
		}
		if (at >= interest)
			world->tap.moment = moment;
		op = client_issue(client, step, at);
		if (step->waited)
			check_client(x, client, client_wait(client, op));
	}
	if (!crashed)
		run_to_end(&run, client);
	world_free(world);
	free(client);
}

void explore_begin(struct explorer *x, const struct script *script, const char *option)
{
	x->script_seed = digest_number(x->seed, script_digest(script));
	script_text(script, x->script_text);
	snprintf(x->again, sizeof(x->again), "%ssim-explorer -g %u -s %" PRIu64 " %s%s",
		 x->is_long ? "SEALBLK_LONG=1 " : "", x->geometry, x->seed, option, x->script_text);
}

void explore_script(struct explorer *x, const struct script *script)
{
	const uint64_t seed = script->order >= ORDER_SEED ? script->order : 0;
	struct world *world = world_clone(x->starts[x->geometry][script->start], seed);
	struct oracle oracle;

	x->nr_scripts++;
	explore_begin(x, script, "");
	sim_trace(world->sim, x->trace);
	sim_split_completions(world->sim, seed != 0);
	explore_oracle(script->start, &oracle);
	run_from(x, script, world, &oracle, SEVERITY_NONE, 0);
}

/* ---- starts --------------------------------------------------------------- */

void explore_oracle(enum script_start start, struct oracle *ret_oracle)
{
	uint32_t contents[SCRIPT_SECTORS];

	for (uint32_t n = 0; n < SCRIPT_SECTORS; n++)
		contents[n] = start == START_FRESH ? CONTENT_BASE : START_CONTENT;
	if (start == START_HALF || start == START_REKEYED)
		contents[0] = START_CONTENT + 1;
	oracle_init(ret_oracle, SCRIPT_SECTORS, contents,
		    start != START_PLAIN && start != START_HALF);
}

/* A copy of @from on which @text has run, whose data begins with @content; closed. */
static struct world *prepare(const struct world *from, enum script_start start, const char *text,
			     uint32_t content)
{
	const struct script script = script_parse(start, ORDER_OLDEST, text);
	struct world *world = world_clone(from, 0);
	struct client *client = sparse_alloc(sizeof(*client));
	struct oracle oracle;

	explore_oracle(start, &oracle);
	client_init(client, world, &oracle);
	client->next_content = content;
	sim_require(world_open(world, false) == 0, "a new image does not open");
	for (unsigned int i = 0; i < script.nr; i++)
		sim_require(client_wait(client, client_issue(client, &script.steps[i], i)) == 0,
			    "a new image does not work");
	sim_require(client_wait(client, NULL) == 0, "a new image does not work");
	sim_require(image_stop(world->image, &world->problem) == 0, "it does not close");
	world_abandon(world);
	free(client);
	return world;
}

void explore_init(struct explorer *x)
{
	for (unsigned int g = 0; g < GEOMETRIES; g++) {
		struct world **starts = x->starts[g];

		starts[START_FRESH] = world_new(&explore_geometries[g]);
		starts[START_SEALED] =
			prepare(starts[START_FRESH], START_FRESH, "W02 L", START_CONTENT);
		starts[START_PLAIN] = prepare(starts[START_SEALED], START_SEALED, "- L", 0);
		starts[START_HALF] =
			prepare(starts[START_PLAIN], START_PLAIN, "W0 L", START_CONTENT + 1);
		starts[START_REKEYED] =
			prepare(starts[START_SEALED], START_SEALED, "N W0 L", START_CONTENT + 1);
	}
}

void explore_done(struct explorer *x)
{
	for (unsigned int g = 0; g < GEOMETRIES; g++)
		for (unsigned int start = 0; start < STARTS; start++)
			world_free(x->starts[g][start]);
	digest_set_done(&x->seen);
}
