/* SPDX-License-Identifier: MIT */
/*
 * The crash explorer: see explore.h.
 *
 * explore_script -> run_from -> { client_issue, client_wait } -> explore_close
 *                      | whenever the program waits
 *                      v
 *                  moment -> try_cut -> check_state -> world_open -> explore_verify
 *                                                        | whenever recovery waits
 *                                                        v
 *                                                    moment ...
 */
#include "sim/explore.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "map/entries.h"
#include "sim/client.h"
#include "sim/sparse.h"
#include "sim/state.h"

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
	unsigned int depth; /* of crashes that were explored, not in the script */
	uint64_t last_steps, last_answers; /* when it was last looked at */
};

/* ---- reports -------------------------------------------------------------- */

void explore_violation(const struct explorer *x, const char *format, ...)
{
	va_list args;

	printf("violation: script %s (sectors %" PRIu64 " and next)\n", x->script_text,
	       explore_geometries[x->geometry].first_sector);
	if (x->fault_text)
		printf("  %s, number %" PRIu64 "\n", x->fault_text, x->fault_nth);
	for (unsigned int i = 0; i < x->nr_notes; i++) {
		const struct crash_note *note = &x->notes[i];

		printf("  %s after step %" PRIu64 ", state %" PRIu64 " of %" PRIu64
		       " (%u pending)\n",
		       note->kind == SIM_KILL ? "kill" : "power cut", note->steps, note->state,
		       note->nr_states, note->nr_pending);
	}
	printf("  ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	exit(EXIT_FAILURE);
}

static void violation_content(const struct explorer *x, uint32_t n, uint8_t found,
			      uint64_t allowed)
{
	char found_text[CONTENT_TEXT_BYTES], allowed_text[CONTENT_TEXT_BYTES];

	content_name(found, found_text);
	content_names(allowed, allowed_text);
	explore_violation(x, "sector %u reads as %s, allowed: %s", n, found_text, allowed_text);
}

/* ---- what must be true ---------------------------------------------------- */

static void verify_contents(struct explorer *x, const struct world *world,
			    const struct oracle *oracle, enum severity severity,
			    uint8_t ret_contents[ORACLE_SECTORS])
{
	for (uint32_t i = 0; i < WINDOW_SECTORS; i++) {
		const uint32_t n = i - WINDOW_BEFORE;
		const uint8_t found = content_of(window_first(world) + i,
						 world->window + i * SECTOR_BYTES);
		uint64_t allowed = 1u << CONTENT_BASE;

		if (n < ORACLE_SECTORS) {
			allowed = oracle_allowed(oracle, n, severity);
			ret_contents[n] = found;
		}
		if (!(allowed >> found & 1))
			violation_content(x, n, found, allowed);
	}
}

/* Invariants 4 and 11: a place that the map does not name holds nothing. */
static void verify_places(struct explorer *x, const struct world *world)
{
	const struct map *map = &world->image->disk.map;
	uint64_t sector = 0;

	while (sector < world->geometry->disk_sectors) {
		struct map_run found;

		if (map_find(map, sector, world->geometry->disk_sectors - sector, &found) < 0) {
			/* Not in memory: nothing was done to it since it was closed. */
			sector = min_u64(map_block_first(map_block_of(sector) + 1),
					 world->geometry->disk_sectors);
			continue;
		}
		for (unsigned int plane = WORLD_SEALED; plane < WORLD_PLANES_END; plane++)
			if (found.entry != plane &&
			    !sim_is_zero(world->sim, world->fd, SIM_MEDIUM,
					 world_place(world, plane, sector),
					 sectors_to_bytes(found.nr_sectors)))
				explore_violation(x,
						  "plane %u holds superseded data in sectors "
						  "%" PRIu64 " to %" PRIu64 ", whose entry is %u",
						  plane, sector, sector + found.nr_sectors - 1,
						  found.entry);
		sector += found.nr_sectors;
	}
}

static void verify_policy(struct explorer *x, const struct world *world,
			  const struct oracle *oracle)
{
	const struct seal_superblock *super = &world->image->super;
	const bool enabled = super->encryption_enabled;

	if (enabled != oracle->enabled && enabled != oracle->enabled_wanted)
		explore_violation(x, "encryption is %s", enabled ? "on" : "off");
	if (super->current_plane != (enabled ? WORLD_SEALED : WORLD_PLAIN))
		explore_violation(x, "the current plane is %u", super->current_plane);
}

void explore_verify(struct explorer *x, struct world *world, const struct oracle *oracle,
		    enum severity severity, uint8_t ret_contents[ORACLE_SECTORS])
{
	void (*moment)(void *arg) = world->tap.moment;
	int r;

	world->tap.moment = NULL;
	if (world->image->nr_damaged_blocks > 0 || atomic_load(&world->image->disk.map.damaged))
		explore_violation(x, "a map block is damaged");
	verify_policy(x, world, oracle);
	r = world_read(world);
	if (r < 0)
		explore_violation(x, "READ: %s", strerror(-r));
	verify_contents(x, world, oracle, severity, ret_contents);
	if (severity != SEVERITY_NONE)
		verify_places(x, world);
	world->tap.moment = moment;
}

/* ---- closing -------------------------------------------------------------- */

static bool slots_are_equal(const struct world *world, uint64_t offset_bytes)
{
	struct seal_block pair[2];

	sim_peek(world->sim, world->fd, SIM_MEDIUM, offset_bytes, pair, sizeof(pair));
	return memcmp(&pair[0], &pair[1], sizeof(pair[0])) == 0;
}

static void verify_closed(struct explorer *x, const struct world *world)
{
	static const uint64_t places[2] = { SEAL_SUPERBLOCK_A, SEAL_SUPERBLOCK_B };
	const struct map *map = &world->image->disk.map;

	for (int i = 0; i < 2; i++) {
		struct seal_superblock super;

		sim_peek(world->sim, world->fd, SIM_MEDIUM, places[i], &super, sizeof(super));
		if (super.open_state != SEAL_CLEAN)
			explore_violation(x, "closed, but superblock %d is not clean", i);
	}
	if (!slots_are_equal(world, map->config.bitmap_offset))
		explore_violation(x, "closed, but the bitmap's slots differ");
	for (uint64_t i = 0; i < map->nr_blocks; i++)
		if (map_is_written(map, i) && !slots_are_equal(world, map_pair_offset(map, i)))
			explore_violation(x, "closed, but the slots of map block %" PRIu64
					     " differ", i);
	for (int i = 0; i < MEMORY_FILES_MAX; i++)
		if (world->memory.files[i].exists &&
		    memcmp(world->memory.files[i].nonce, world->image->super.open_nonce,
			   SEAL_NONCE_BYTES) == 0)
			explore_violation(x, "closed, but a dirty file is left");
	verify_places(x, world);
}

static void open_or_violation(struct explorer *x, struct world *world)
{
	const int r = world_open(world, false);

	if (r < 0)
		explore_violation(x, "does not open: %s", world->problem.text);
}

struct oracle explore_oracle_of(const struct world *world, const uint8_t contents[ORACLE_SECTORS])
{
	struct oracle oracle;

	oracle_init(&oracle, contents, world->image->super.encryption_enabled);
	return oracle;
}

void explore_close(struct explorer *x, struct world *world, const struct oracle *oracle)
{
	uint8_t contents[ORACLE_SECTORS];
	int r = image_stop(world->image, &world->problem);

	if (r < 0)
		explore_violation(x, "does not close: %s", world->problem.text);
	verify_closed(x, world);
	world->tap.moment = NULL;
	world_abandon(world);
	open_or_violation(x, world);
	explore_verify(x, world, oracle, SEVERITY_KILL, contents);
	if (world->image->nr_recovered_records > 0)
		explore_violation(x, "closed, but there was something to merge");
	world_abandon(world);
}

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

		open_or_violation(x, after);
		explore_verify(x, after, oracle, SEVERITY_POWER, contents);
		world_free(after);
	}
	sim_cut_free(cut);
	explore_close(x, world, oracle);
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
	open_or_violation(x, world);
	explore_verify(x, world, crashed->oracle, severity, contents);
	world->tap.moment = NULL;
	oracle = explore_oracle_of(world, contents);
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
			    const struct world *world, const struct oracle *oracle,
			    unsigned int at)
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
		explore_violation(x, "the program is stuck: %s", strerror(-r));
	if (client->strange_read)
		violation_content(x, client->read_sector, client->read_found,
				  client->read_allowed);
	if (!client_left_plane_alone(client))
		explore_violation(x, "plane %u was written to after the switch away from it",
				  client->frozen_plane);
	for (unsigned int i = 0; i < SCRIPT_STEPS_MAX; i++)
		if (client->ops[i].client && !client->ops[i].pending && client->ops[i].error < 0)
			explore_violation(x, "operation %u failed: %s", i + 1,
					  strerror(-client->ops[i].error));
}

static void run_to_end(struct run *run, struct client *client)
{
	const int r = client_wait(client, NULL);
	uint8_t contents[ORACLE_SECTORS];
	struct oracle closed;

	check_client(run->x, client, r);
	moment(run);
	explore_verify(run->x, run->world, client->oracle, SEVERITY_NONE, contents);
	closed = explore_oracle_of(run->world, contents);
	explore_close(run->x, run->world, &closed);
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
	open_or_violation(x, world);
	explore_verify(x, world, &oracle, severity == SEVERITY_NONE ? SEVERITY_KILL : severity,
		       contents);
	oracle = explore_oracle_of(world, contents);
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

	oracle_init(ret_oracle, start == START_FRESH ? fresh : written, start != START_PLAIN);
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
	}
}

void explore_done(struct explorer *x)
{
	for (unsigned int g = 0; g < GEOMETRIES; g++)
		for (unsigned int start = 0; start < STARTS; start++)
			world_free(x->starts[g][start]);
	digest_set_done(&x->seen);
}
