/* SPDX-License-Identifier: MIT */
/*
 * What a client does, in a line of text, and all scripts of a family.
 *
 * An operation is a letter and, where sectors matter, which of those under
 * test, counted from 0: the first and, if there are more, the last one:
 *
 *	W write   F write with FUA   Z write zeroes, no hole   T trim   Y trim with FUA
 *	L flush   R read
 *	- encryption off             + encryption on           N a new plane, sealed
 *	E rewrite until all is encrypted   X rekey and rewrite until the old key is gone
 *	c the worker's tick, a second later
 *	V the keys are revoked, and restored when they have gone
 *	K kill of the daemon         P power cut               (both: and open again)
 *
 * An operation followed by & is not waited for before the next one is issued.
 */
#ifndef TESTS_SIM_SCRIPT_H
#define TESTS_SIM_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>

enum {
	SCRIPT_STEPS_MAX = 6,
	SCRIPT_TEXT_BYTES = 80,
	SCRIPT_SECTORS = 3, /* under test */
};

struct script_step {
	char op;
	uint8_t first, nr; /* sectors, of those under test */
	bool waited;
};

enum script_start {
	START_FRESH,   /* nothing written: all sectors are the base's */
	START_SEALED,  /* all written, flushed, closed */
	START_PLAIN,   /* then encryption switched off */
	START_HALF,    /* then the first one written again: it alone is in the current plane */
	START_REKEYED, /* as sealed; then a new plane, and the first one written to that */
	STARTS,
};

/* In which order completions are delivered; from ORDER_SEED on: at random. */
enum script_order { ORDER_OLDEST, ORDER_NEWEST, ORDER_SEED };

struct script {
	enum script_start start;
	unsigned int order;
	unsigned int nr;
	struct script_step steps[SCRIPT_STEPS_MAX];
};

/* @text: operations apart by spaces. Ends the process when it means nothing. */
struct script script_parse(enum script_start start, unsigned int order, const char *text);

/* START 'SCRIPT' ORDER, as the explorer takes them on its command line. */
void script_text(const struct script *script, char ret_text[SCRIPT_TEXT_BYTES]);
bool script_find_start(const char *name, enum script_start *ret_start);

/* A number that tells scripts apart, the same in each run. */
uint64_t script_digest(const struct script *script);

static inline bool op_is_crash(char op)
{
	return op == 'K' || op == 'P';
}

static inline bool op_is_rewrite(char op)
{
	return op == 'E' || op == 'X';
}

/* Writes are held back for it. */
static inline bool op_is_switch(char op)
{
	return op == '-' || op == '+' || op == 'N' || op == 'X';
}

static inline bool op_changes_sectors(char op)
{
	return op == 'W' || op == 'F' || op == 'Z' || op == 'T' || op == 'Y';
}

/* All scripts of @nr_min to @nr_max operations out of @alphabet. */
struct script_family {
	const char *alphabet; /* as script_parse() */
	enum script_start start;
	unsigned int nr_min, nr_max;
	bool together;		/* those in which something is not waited for, else the others */
	unsigned int order;	/* of the first ... */
	unsigned int nr_orders; /* ... of so many */
};

/*
 * Calls @run for each script that is worth it: left out are those that mean the
 * same as another one, and those that start with a crash.
 */
void script_family_run(const struct script_family *family,
		       void (*run)(void *arg, const struct script *script), void *arg);

#endif
