/* SPDX-License-Identifier: MIT */
/*
 * The crash explorer: every short script, every crash, every state that one may
 * leave. Prints one line, or the first violation. With -v a line for each family
 * of scripts; with SCRIPT arguments ("fresh" or "sealed" or "plain", then the
 * script as one word) just those.
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sim/explore.h"
#include "sim/faults.h"

struct suite {
	struct script_family family;
	unsigned int geometry;
	bool is_long; /* only when there is time */
};

#define ONE_SECTOR "W0 F0 Z0 T0 L"
#define TWO_SECTORS "W0 W1 F0 F1 T0 T1 Wb L"

static const struct suite suites[] = {
	/* One after the other. */
	{ { "one sector", ONE_SECTOR " Y0 - + c K P", START_FRESH, 1, 3, false, ORDER_OLDEST, 1 },
	  0, false },
	{ { "one sector, written", ONE_SECTOR " - + c K P", START_SEALED, 1, 3, false,
	    ORDER_OLDEST, 1 }, 0, false },
	{ { "one sector, switched off", ONE_SECTOR " + c K P", START_PLAIN, 1, 3, false,
	    ORDER_OLDEST, 1 }, 0, false },
	{ { "two sectors", TWO_SECTORS " Z0 Z1 Zb Tb K P", START_FRESH, 1, 3, false,
	    ORDER_OLDEST, 1 }, 0, false },
	{ { "two blocks", TWO_SECTORS " Tb K P", START_FRESH, 1, 3, false, ORDER_OLDEST, 1 }, 1,
	  false },

	/* At the same time. */
	{ { "one sector, together", ONE_SECTOR " R0 - +", START_FRESH, 2, 3, true, ORDER_OLDEST,
	    3 }, 0, false },
	{ { "one sector, written, together", ONE_SECTOR " R0 - +", START_SEALED, 2, 3, true,
	    ORDER_OLDEST, 3 }, 0, false },
	{ { "one sector, switched off, together", ONE_SECTOR " R0 +", START_PLAIN, 2, 3, true,
	    ORDER_OLDEST, 3 }, 0, false },
	{ { "two sectors, together", TWO_SECTORS, START_FRESH, 2, 3, true, ORDER_OLDEST, 2 }, 0,
	  false },
	{ { "two blocks, together", TWO_SECTORS, START_SEALED, 2, 3, true, ORDER_OLDEST, 2 }, 1,
	  false },
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

int main(int argc, char **argv)
{
	const bool verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
	const double begin_s = now_s();
	struct explorer x = {
		.cut_states = 64,
		.branch_states = 8,
		.recovery_states = 16,
		.recrash_one_in = 50,
		.reopen_one_in = 8,
	};

	if (argc > 1 && strcmp(argv[1], "-t") == 0)
		x.trace = stdout;
	/* Fresh zeros for what is large and hardly used: the default would adapt. */
	mallopt(M_MMAP_THRESHOLD, 128 << 10);
	explore_init(&x);
	double f = now_s();
	faults_lose_dirty_file(&x);
	faults_run(&x);
	if (verbose) printf("faults %lu: %.1f s\n", x.nr_faults, now_s()-f);
	for (size_t i = 0; i < ARRAY_LEN(suites); i++) {
		double s = now_s();
		uint64_t sc = x.nr_scripts, re = x.nr_recoveries, st = x.nr_states;
		x.geometry = suites[i].geometry;
		script_family_run(&suites[i].family, run_script, &x);
		if (verbose)
			printf("%s: %" PRIu64 " scripts, %" PRIu64 " states, %" PRIu64 " rec %.1f s\n", suites[i].family.name, x.nr_scripts-sc,
			x.nr_states-st, x.nr_recoveries-re,
			       now_s() - s);
	}
	printf("explorer: %" PRIu64 " scripts, %" PRIu64 " crash states, %" PRIu64
	       " recoveries checked, 0 violations; %.0f states/s\n",
	       x.nr_scripts, x.nr_states, x.nr_recoveries,
	       (double)x.nr_states / (now_s() - begin_s));
	explore_done(&x);
	return EXIT_SUCCESS;
}
