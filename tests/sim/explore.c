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

#include <stdlib.h>
#include <string.h>

#include "sim/client.h"
#include "sim/sparse.h"
#include "sim/state.h"
#include "sim/verify.h"

const struct geometry explore_geometries[GEOMETRIES] = {
	{ .disk_sectors = 1024, .first_sector = 1000 },
	{ .disk_sectors = SEAL_BLOCK_SECTORS + 16, .first_sector = SEAL_BLOCK_SECTORS - 1 },
};

enum { START_CONTENT = CONTENT_LAST };

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
static uint64_t digest_of(const struct run *run, const struct sim *sim, uint64_t memory,
			  enum severity severity)
{
	const struct oracle *oracle = run->oracle;
	uint64_t digest = world_digest(run->world, sim, memory);

	for (uint32_t n = 0; n < ORACLE_SECTORS; n++)
		digest = digest_number(digest, oracle_allowed(oracle, n, severity));
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
		uint8_t contents[ORACLE_SECTORS];

		verify_opens(x, after);
		verify_world(x, after, oracle, SEVERITY_POWER, contents);
		world_free(after);
	}
	sim_cut_free(cut);
	verify_close(x, world, oracle);
}

/* @world, owned, is what a crash left: open it and look. */
static void check_state(const struct run *crashed, struct world *world, enum severity severity,
			uint64_t digest)
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
	const uint64_t random = world_swap_random(0);
	uint8_t contents[ORACLE_SECTORS];
	struct oracle oracle;

	x->nr_recoveries++;
	sim_trace(world->sim, x->trace);
	if (recovery.depth < EXPLORE_DEPTH_MAX && digest % x->recrash_one_in == 0) {
		world->tap.moment = moment;
		world->tap.arg = &recovery;
	}
	verify_opens(x, world);
	verify_world(x, world, crashed->oracle, severity, contents);
	world->tap.moment = NULL;
	oracle = verify_oracle(world, contents);
	if (digest % x->reopen_one_in == 0)
		check_again(x, world, &oracle);
	world_free(world);
	world_swap_random(random);
}

static struct sim_cut *cut_now(struct explorer *x, const struct world *world,
			       enum sim_cut_kind kind, uint64_t states_max)
{
	const struct sim_cut_plan plan = {
		.kind = kind, .grain = SIM_SECTORS, .states_max = states_max, .seed = 1
	};
	struct sim_cut *cut = sim_cut_new(world->sim, &plan);

	x->notes[x->nr_notes++] = (struct crash_note){
		.kind = kind,
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

static void try_cut(const struct run *run, enum sim_cut_kind kind)
{
	struct explorer *x = run->x;
	const enum severity severity = worse(run->severity, kind);
	const uint64_t memory = kind == SIM_KILL ? memory_store_digest(&run->world->memory) : 0;
	struct sim_cut *cut = cut_now(x, run->world, kind, run->states_max);

	for (uint64_t i = 0; i < sim_cut_states(cut); i++) {
		struct sim *sim = sim_cut_take(cut, i);
		const uint64_t digest = digest_of(run, sim, memory, severity);

		x->nr_states++;
		x->notes[x->nr_notes - 1].state = i;
		if (digest_set_add(&x->seen, digest))
			check_state(run, world_after(run->world, sim, kind), severity, digest);
		else
			sim_free(sim);
	}
	end_cut(x, cut);
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
	try_cut(run, SIM_POWER_CUT);
	try_cut(run, SIM_KILL);
}

/* ---- scripts -------------------------------------------------------------- */

static void run_from(struct explorer *x, const struct script *script, struct world *world,
		     const struct oracle *before, enum severity severity, unsigned int at);

/* The crash is part of the script: go on after it, in each state there may be. */
static void crash_and_go_on(struct explorer *x, const struct script *script,
			    const struct world *world, const struct oracle *oracle, unsigned int at)
{
	const enum sim_cut_kind kind = script->steps[at].op == 'K' ? SIM_KILL : SIM_POWER_CUT;
	struct sim_cut *cut = cut_now(x, world, kind, x->branch_states);

	for (uint64_t i = 0; i < sim_cut_states(cut); i++) {
		x->notes[x->nr_notes - 1].state = i;
		run_from(x, script, world_after(world, sim_cut_take(cut, i), kind), oracle,
			 worse(SEVERITY_NONE, kind), at + 1);
	}
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
	if (client->strange_read)
		verify_failed_content(x, client->read_sector, client->read_found,
				      client->read_allowed);
	if (!client_left_plane_alone(client))
		verify_failed(x, "plane %u was written to after the switch away from it",
			      client->frozen_plane);
	for (unsigned int i = 0; i < SCRIPT_STEPS_MAX; i++)
		if (client->ops[i].client && !client->ops[i].pending && client->ops[i].error < 0)
			verify_failed(x, "operation %u failed: %s", i + 1,
				      strerror(-client->ops[i].error));
}

static void run_to_end(struct run *run, struct client *client)
{
	const int r = client_wait(client, NULL);
	uint8_t contents[ORACLE_SECTORS];
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
	uint8_t contents[ORACLE_SECTORS];
	bool crashed = false;

	client_init(client, world, &oracle);
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

void explore_script(struct explorer *x, const struct script *script)
{
	const uint64_t seed = script->order >= ORDER_SEED ? script->order : 0;
	struct world *world = world_clone(x->starts[x->geometry][script->start], seed);
	struct oracle oracle;

	x->nr_scripts++;
	script_text(script, x->script_text);
	sim_trace(world->sim, x->trace);
	sim_split_completions(world->sim, seed != 0);
	explore_oracle(script->start, &oracle);
	run_from(x, script, world, &oracle, SEVERITY_NONE, 0);
}

/* ---- starts --------------------------------------------------------------- */

void explore_oracle(enum script_start start, struct oracle *ret_oracle)
{
	static const uint8_t fresh[ORACLE_SECTORS] = { CONTENT_BASE, CONTENT_BASE };
	static const uint8_t written[ORACLE_SECTORS] = { START_CONTENT, START_CONTENT };

	oracle_init(ret_oracle, start == START_FRESH ? fresh : written,
		    start == START_FRESH || start == START_SEALED);
}

/* Run @text on @world and close it. */
static void prepare(struct world *world, const char *text)
{
	const struct script script = script_parse(START_FRESH, ORDER_OLDEST, text);
	struct client *client = sparse_alloc(sizeof(*client));
	struct oracle oracle;

	explore_oracle(START_FRESH, &oracle);
	client_init(client, world, &oracle);
	client->first_content = START_CONTENT;
	sim_require(world_open(world, false) == 0, "a new image does not open");
	for (unsigned int i = 0; i < script.nr; i++) {
		sim_require(client_wait(client, client_issue(client, &script.steps[i], i)) == 0,
			    "a new image does not work");
	}
	sim_require(client_wait(client, NULL) == 0, "a new image does not work");
	sim_require(image_stop(world->image, &world->problem) == 0, "it does not close");
	world_abandon(world);
	free(client);
}

void explore_init(struct explorer *x)
{
	for (unsigned int g = 0; g < GEOMETRIES; g++) {
		struct world **starts = x->starts[g];

		starts[START_FRESH] = world_new(&explore_geometries[g]);
		starts[START_SEALED] = world_clone(starts[START_FRESH], 0);
		prepare(starts[START_SEALED], "Wb L");
		starts[START_PLAIN] = world_clone(starts[START_SEALED], 0);
		prepare(starts[START_PLAIN], "- L");
		starts[START_HALF] = world_clone(starts[START_PLAIN], 0);
		prepare(starts[START_HALF], "W0 L");
	}
}

void explore_done(struct explorer *x)
{
	for (unsigned int g = 0; g < GEOMETRIES; g++)
		for (unsigned int start = 0; start < STARTS; start++)
			world_free(x->starts[g][start]);
	digest_set_done(&x->seen);
}
