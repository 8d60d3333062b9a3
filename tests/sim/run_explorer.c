/* SPDX-License-Identifier: MIT */
/*
 * The crash explorer: every short script, every crash, every state that one may
 * leave; then errors from below. Prints one line, or the first violation and
 * the command that comes to it again.
 *
 *	sim-explorer [-v] [-t] [-s SEED] [-g GEOMETRY] [-f] [START SCRIPT [ORDER]]
 *
 * -v: a line for each family of scripts. -t: every step of every machine. With a
 * START and a SCRIPT (script.h) only that is explored, in the order of enum
 * script_order; -f: with errors from below. SEALBLK_LONG=1: all scripts of up to
 * four operations, more orders, more torn states.
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sim/explore.h"
#include "sim/faults.h"

struct suite {
	const char *name;
	const char *alphabet;
	enum script_start start;
	unsigned int geometry;
	bool together;
	unsigned int nr_max; /* operations of a script */
	unsigned int nr_orders;
	unsigned int long_nr_max, long_nr_orders;
};

#define ONE	     "W0 F0 Z0 T0 Y0 L"
#define SWITCHES     " - + N c K P"
#define TWO	     "W0 W1 F0 F1 T0 T1 W01 L"
#define TWO_TOGETHER "W0 W1 F1 T0 T1 W01 L"
#define THREE	     "W0 W1 W2 W02 F0 F1 T0 T1 T02 Z0 Z12 L"
/* Of four operations those that reach over two sectors are W only: see THREE for the others. */
#define ALL_FOUR "W0 W1 W2 W01 W12 F0 F1 F2 Z0 Z1 Z2 T0 T1 T2 L - + N K P"
#define ALL                                                                                \
	"W0 W1 W2 W01 W12 W02 F0 F1 F2 F01 F12 F02 Z0 Z1 Z2 Z01 Z12 Z02 T0 T1 T2 T01 T12 " \
	"T02 L - + N K P"

static const struct suite suites[] = {
	/* Few, and they see a lot. */
	{ "two sectors, off, together", "W0 W1 T0 L", START_PLAIN, 0, true, 3, 2, 4, 4 },
	{ "same sector, many orders", "W0 T0", START_PLAIN, 0, true, 3, 16, 4, 16 },
	{ "half written, many orders", "W0 W01 T0", START_HALF, 0, true, 3, 16, 4, 16 },

	/* One operation after the other. */
	{ "one sector", ONE SWITCHES, START_FRESH, 0, false, 4, 1, 4, 1 },
	{ "one sector, written", ONE SWITCHES, START_SEALED, 0, false, 3, 1, 4, 1 },
	{ "one sector, off", ONE SWITCHES, START_PLAIN, 0, false, 3, 1, 4, 1 },
	{ "one sector, half", ONE SWITCHES, START_HALF, 0, false, 3, 1, 4, 1 },
	{ "one sector, rekeyed", ONE SWITCHES, START_REKEYED, 0, false, 3, 1, 4, 1 },
	{ "two sectors", TWO " Z01 K P", START_FRESH, 0, false, 3, 1, 4, 1 },
	{ "two sectors, off", "W0 W1 T1 W01 L + K P", START_PLAIN, 0, false, 3, 1, 4, 1 },
	{ "two blocks", TWO " K P", START_FRESH, 1, false, 3, 1, 4, 1 },
	{ "two blocks, written", TWO " T01 K P", START_SEALED, 1, false, 2, 1, 4, 1 },
	{ "three sectors", THREE " - N K P", START_FRESH, 0, false, 3, 1, 3, 1 },
	{ "three sectors, all", ALL, START_FRESH, 0, false, 2, 1, 3, 1 },
	{ "three sectors, four times", ALL_FOUR, START_FRESH, 0, false, 0, 1, 4, 1 },

	/* Ticks refresh stale slots. */
	{ "left alone", "W0 W1 L c K P", START_FRESH, 1, false, 4, 1, 4, 1 },
	{ "left alone, together", "W0 L c", START_PLAIN, 1, true, 4, 2, 4, 4 },

	/* Rewrites in the background. */
	{ "rewritten", "W0 W01 T0 L E X - + N K P", START_PLAIN, 0, false, 3, 1, 3, 1 },
	{ "rewritten, two blocks", "W0 W01 L E X K P", START_FRESH, 1, false, 3, 1, 3, 1 },
	{ "rewritten, together", "W0 T0 F1 E X R0", START_HALF, 0, true, 3, 2, 3, 4 },
	{ "rewritten, rekeyed, together", "W0 T1 E X - R0", START_REKEYED, 0, true, 3, 2, 3, 4 },

	/* The keys go and come back; then there is another session. */
	{ "revoked", "W0 T0 L V c K P", START_FRESH, 0, false, 4, 1, 4, 1 },
	{ "revoked, half", "W0 T0 V + c K P", START_HALF, 0, false, 3, 1, 3, 1 },
	{ "revoked, two blocks", "W0 W1 L V c K P", START_SEALED, 1, false, 3, 1, 3, 1 },
	{ "revoked, together", "W0 F0 T0 L V", START_PLAIN, 1, true, 3, 2, 3, 4 },

	/* What has been superseded goes out of the base. */
	{ "owned base", ONE SWITCHES, START_FRESH, GEOMETRY_OWNED, false, 3, 1, 3, 1 },
	{ "owned base, two sectors", TWO " c K P", START_FRESH, GEOMETRY_OWNED, false, 3, 1, 3, 1 },
	{ "owned base, together", ONE " R0 c", START_FRESH, GEOMETRY_OWNED, true, 3, 2, 3, 4 },

	/* Some at the same time. */
	{ "one sector, together", ONE " R0 - + N", START_FRESH, 0, true, 3, 2, 3, 4 },
	{ "one sector, written, together", ONE " R0 - + N", START_SEALED, 0, true, 3, 2, 3, 4 },
	{ "one sector, off, together", ONE " R0 + N", START_PLAIN, 0, true, 3, 2, 3, 4 },
	{ "two sectors, together", TWO_TOGETHER, START_FRESH, 0, true, 3, 2, 3, 4 },
	{ "two blocks, together", TWO_TOGETHER, START_SEALED, 1, true, 3, 2, 3, 4 },
};

/*
 * A sanitizer looks for other mistakes, which a few scripts show as well; it
 * makes every open a hundred times as long.
 */
#if defined(__SANITIZE_ADDRESS__)
enum { OPERATIONS_MAX = 1, FAULTS_AFTER = 1, FAULTS_ONE_IN = 6 };
#else
enum { OPERATIONS_MAX = SCRIPT_STEPS_MAX, FAULTS_AFTER = 2, FAULTS_ONE_IN = 1 };
#endif

struct options {
	bool verbose;
	bool trace;
	bool faults;
	unsigned int geometry;
	uint64_t seed;
	char **script; /* of the command line, or NULL */
};

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void run_script(void *arg, const struct script *script)
{
	explore_script(arg, script);
}

/* The scripts of @suite that have @nr operations. */
static void run_suite(struct explorer *x, const struct suite *suite, unsigned int nr,
		      const struct options *options)
{
	const struct script_family family = {
		.alphabet = suite->alphabet,
		.start = suite->start,
		.nr_min = nr,
		.nr_max = nr,
		.together = suite->together,
		.nr_orders = x->is_long ? suite->long_nr_orders : suite->nr_orders,
	};
	const double begin_s = now_s();
	const uint64_t nr_scripts = x->nr_scripts;
	const uint64_t nr_states = x->nr_states;
	const uint64_t nr_recoveries = x->nr_recoveries;

	x->geometry = suite->geometry;
	script_family_run(&family, run_script, x);
	if (options->verbose && x->nr_scripts > nr_scripts)
		printf("%s, %u operations: %" PRIu64 " scripts, %" PRIu64 " states, %" PRIu64
		       " recoveries, %.1f s\n",
		       suite->name, nr, x->nr_scripts - nr_scripts, x->nr_states - nr_states,
		       x->nr_recoveries - nr_recoveries, now_s() - begin_s);
}

/* The short ones of all suites first: most mistakes show there. */
static void run_suites(struct explorer *x, const struct options *options)
{
	for (unsigned int nr = 1; nr <= OPERATIONS_MAX; nr++) {
		for (size_t i = 0; i < ARRAY_LEN(suites); i++) {
			const struct suite *suite = &suites[i];

			if (nr <= (x->is_long ? suite->long_nr_max : suite->nr_max))
				run_suite(x, suite, nr, options);
		}
		if (nr == FAULTS_AFTER) {
			faults_run(x, GEOMETRY_OWNED, FAULTS_ONE_IN);
			faults_run(x, 0, FAULTS_ONE_IN);
		}
	}
}

static int run_one(struct explorer *x, const struct options *options)
{
	char **argument = options->script;
	struct script script;
	enum script_start start;

	if (!script_find_start(argument[0], &start) || !argument[1]) {
		fprintf(stderr, "usage: sim-explorer [-v] [-t] [-s SEED] [-g GEOMETRY] [-f] "
				"[START SCRIPT [ORDER]]\n");
		return EXIT_FAILURE;
	}
	script =
		script_parse(start, argument[2] ? (unsigned int)atoi(argument[2]) : 0, argument[1]);
	x->geometry = options->geometry % GEOMETRIES;
	if (options->faults)
		faults_run_script(x, &script);
	else
		explore_script(x, &script);
	return EXIT_SUCCESS;
}

static struct options parse(int argc, char **argv)
{
	const char *seed = getenv("SEED");
	struct options options = { .seed = seed && *seed ? strtoull(seed, NULL, 0) : 1 };
	int option;

	while ((option = getopt(argc, argv, "+vtfs:g:")) != -1) {
		options.verbose |= option == 'v';
		options.trace |= option == 't';
		options.faults |= option == 'f';
		if (option == 's')
			options.seed = strtoull(optarg, NULL, 0);
		if (option == 'g')
			options.geometry = (unsigned int)strtoul(optarg, NULL, 0);
	}
	options.script = optind < argc ? argv + optind : NULL;
	return options;
}

int main(int argc, char **argv)
{
	const struct options options = parse(argc, argv);
	const char *is_long = getenv("SEALBLK_LONG");
	const double begin_s = now_s();
	struct explorer x = {
		.is_long = is_long && *is_long,
		.seed = options.seed,
		.cut_states = 1 << 17,
		.trace = options.trace ? stdout : NULL,
	};
	int status = EXIT_SUCCESS;

	x.torn_states = x.is_long ? 256 : 32;
	x.unit_states = x.is_long ? 16 : 4;
	x.branch_states = x.is_long ? 64 : 16;
	x.recovery_states = x.is_long ? 64 : 16;
	x.recrash_one_in = x.is_long ? 20 : 100;
	x.reopen_one_in = x.is_long ? 4 : 16;
	/* Opening an image takes and gives back 50 MiB that it hardly touches: no system calls for it. */
	mallopt(M_MMAP_MAX, 0);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	explore_init(&x);
	if (options.script) {
		status = run_one(&x, &options);
	} else {
		faults_lose_dirty_file(&x);
		run_suites(&x, &options);
	}
	printf("figures: %" PRIu64 " scripts, %" PRIu64 " faults, %" PRIu64
	       " crash states (%" PRIu64 " of %" PRIu64 " cuts sampled, %" PRIu64
	       " sectors torn inside), %" PRIu64
	       " recoveries checked, 0 violations (%.0f states/s)\n",
	       x.nr_scripts, x.nr_faults, x.nr_states, x.nr_sampled, x.nr_cuts, x.nr_torn,
	       x.nr_recoveries, (double)x.nr_states / (now_s() - begin_s));
	explore_done(&x);
	return status;
}
