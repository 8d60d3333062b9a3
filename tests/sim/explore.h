/* SPDX-License-Identifier: MIT */
/*
 * The crash explorer: runs scripts against the real code on a simulated host
 * and asks, whenever the program waits, what a kill or a power cut would leave:
 * each possible state is opened again by the real code and held against the
 * oracle. States that were looked at before, with the same allowed contents,
 * are not looked at again.
 */
#ifndef TESTS_SIM_EXPLORE_H
#define TESTS_SIM_EXPLORE_H

#include <stdint.h>
#include <stdio.h>

#include "sim/digest.h"
#include "sim/script.h"
#include "sim/world.h"

enum {
	EXPLORE_DEPTH_MAX = 3, /* crashes on top of one another */
	GEOMETRIES = 3,
	GEOMETRY_OWNED = 2,
};

/* How an earlier crash came about, for the report of a violation. */
struct crash_note {
	enum sim_cut_kind kind;
	enum sim_grain grain;
	uint64_t steps;
	uint32_t nr_pending;
	uint64_t state, nr_states;
};

struct explorer {
	/* How much to do; set by the caller. */
	uint64_t cut_states;	     /* of one cut, untorn, at most; fewer are counted as sampled */
	uint64_t torn_states;	     /* sampled of one cut: writes torn between sectors ... */
	uint64_t unit_states;	     /* ... and inside */
	uint64_t branch_states;	     /* after a crash inside a script */
	uint64_t recovery_states;    /* of a cut of a recovery */
	uint64_t seed;		     /* of what is sampled */
	unsigned int recrash_one_in; /* of the states whose recovery is cut at every step */
	unsigned int reopen_one_in;  /* of the states that are opened again and closed */

	FILE *trace; /* NULL, or where every step is told */

	uint64_t nr_scripts;
	uint64_t nr_cuts;
	uint64_t nr_sampled;	/* cuts with more untorn states than were looked at */
	uint64_t nr_torn;	/* sectors found old in part and new in part, under one key */
	uint64_t nr_states;	/* that a crash could leave */
	uint64_t nr_recoveries; /* opened and checked, different ones */
	uint64_t nr_faults;	/* runs with an error from below */
	struct digest_set seen;

	/* Where it is. */
	bool may_be_torn; /* a sector inside */
	struct world *starts[GEOMETRIES][STARTS];
	unsigned int geometry; /* of the scripts to come */
	bool is_long;
	char script_text[SCRIPT_TEXT_BYTES];
	char again[2 * SCRIPT_TEXT_BYTES]; /* the command that comes here again */
	uint64_t script_seed;
	const char *fault_text; /* NULL: no fault */
	uint64_t fault_nth;
	struct crash_note notes[EXPLORE_DEPTH_MAX + SCRIPT_STEPS_MAX];
	unsigned int nr_notes;
};

/*
 * GEOMETRIES of them: all sectors in one map block, in another 512 bytes of it
 * than its header, so that a torn block shows; the sectors in two blocks; as the
 * first, over a base that the image owns (GEOMETRY_OWNED).
 */
extern const struct geometry explore_geometries[GEOMETRIES];

/* The numbers are set by the caller. */
void explore_init(struct explorer *x);
void explore_done(struct explorer *x);

/* Try everything around @script. Ends the process at the first violation. */
void explore_script(struct explorer *x, const struct script *script);

/* @script comes next, @option: how the command line says so, beside the script. */
void explore_begin(struct explorer *x, const struct script *script, const char *option);

/* What the client knows about a new world of @start. */
void explore_oracle(enum script_start start, struct oracle *ret_oracle);

#endif
