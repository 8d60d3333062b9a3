/* SPDX-License-Identifier: MIT */
/* Scripts and their enumeration: see script.h. */
#include "sim/script.h"

#include <stdio.h>
#include <string.h>

#include "sim/digest.h"
#include "sim/state.h"

static const char *const start_names[STARTS] = {
	[START_FRESH] = "fresh", [START_SEALED] = "sealed",   [START_PLAIN] = "plain",
	[START_HALF] = "half",	 [START_REKEYED] = "rekeyed",
};

static bool op_has_sectors(char op)
{
	return op_changes_sectors(op) || op == 'R';
}

/* Read one operation; returns what follows it. */
static const char *parse_step(const char *at, struct script_step *ret_step)
{
	struct script_step step = { .op = *at++, .waited = true };

	sim_require(strchr("WFZTYLR-+NEXcVKP", step.op) != NULL, "no such operation");
	if (op_has_sectors(step.op)) {
		const uint8_t first = (uint8_t)(*at++ - '0');
		const uint8_t last = at[0] >= '0' && at[0] <= '9' ? (uint8_t)(*at++ - '0') : first;

		sim_require(first <= last && last < SCRIPT_SECTORS, "which sectors?");
		step.first = first;
		step.nr = (uint8_t)(last - first + 1);
	}
	if (*at == '&') {
		step.waited = false;
		at++;
	}
	sim_require(*at == ' ' || *at == 0, "an operation goes on strangely");
	*ret_step = step;
	return *at ? at + 1 : at;
}

struct script script_parse(enum script_start start, unsigned int order, const char *text)
{
	struct script script = { .start = start, .order = order };

	while (*text) {
		sim_require(script.nr < SCRIPT_STEPS_MAX, "a script is too long");
		text = parse_step(text, &script.steps[script.nr++]);
	}
	return script;
}

void script_text(const struct script *script, char ret_text[SCRIPT_TEXT_BYTES])
{
	int used = snprintf(ret_text, SCRIPT_TEXT_BYTES, "%s '", start_names[script->start]);

	for (unsigned int i = 0; i < script->nr; i++) {
		const struct script_step *step = &script->steps[i];
		char which[3] = { (char)('0' + step->first), 0, 0 };

		if (step->nr > 1)
			which[1] = (char)('0' + step->first + step->nr - 1);
		used += snprintf(ret_text + used, SCRIPT_TEXT_BYTES - (size_t)used, "%s%c%s%s",
				 i ? " " : "", step->op, op_has_sectors(step->op) ? which : "",
				 step->waited ? "" : "&");
	}
	snprintf(ret_text + used, SCRIPT_TEXT_BYTES - (size_t)used, "' %u", script->order);
}

bool script_find_start(const char *name, enum script_start *ret_start)
{
	for (unsigned int start = 0; start < STARTS; start++) {
		if (strcmp(name, start_names[start]) != 0)
			continue;
		*ret_start = (enum script_start)start;
		return true;
	}
	return false;
}

uint64_t script_digest(const struct script *script)
{
	uint64_t digest = digest_number(script->start, script->order);

	for (unsigned int i = 0; i < script->nr; i++) {
		const struct script_step *step = &script->steps[i];

		digest = digest_number(digest, (uint64_t)step->op << 24 |
						       (uint64_t)step->first << 16 |
						       (uint64_t)step->nr << 8 | step->waited);
	}
	return digest;
}

/* ---- which are worth a run ------------------------------------------------ */

/* Off when on, on when off, a new plane at any time; one at a time. Rewrites when on. */
static bool switches_make_sense(const struct script *script)
{
	bool enabled = script->start != START_PLAIN && script->start != START_HALF;
	bool under_way = false;

	for (unsigned int i = 0; i < script->nr; i++) {
		const struct script_step *step = &script->steps[i];

		if (op_is_crash(step->op))
			under_way = false;
		if (op_is_rewrite(step->op) && !enabled)
			return false;
		/* One change at a time. */
		if ((op_is_rewrite(step->op) || step->op == 'V') && under_way)
			return false;
		if (!op_is_switch(step->op))
			continue;
		if (under_way || (step->op != 'N' && enabled == (step->op == '+')))
			return false;
		enabled = step->op != '-';
		under_way = !step->waited;
	}
	return true;
}

/*
 * The sectors are alike: whatever is done to the second before the first, or to
 * the third before the second, is a repetition.
 */
static bool takes_sectors_in_order(const struct script *script)
{
	unsigned int nr_known = 0;

	for (unsigned int i = 0; i < script->nr; i++) {
		const struct script_step *step = &script->steps[i];

		if (!op_has_sectors(step->op))
			continue;
		if (step->first > nr_known)
			return false;
		if (nr_known < (unsigned int)step->first + step->nr)
			nr_known = step->first + step->nr;
	}
	return true;
}

/* What a read finds when nothing else goes on is looked at anyway, as is the end. */
static bool reads_make_sense(const struct script *script)
{
	for (unsigned int i = 0; i < script->nr; i++)
		if (script->steps[i].op == 'R' && (script->steps[i].waited || i + 1 == script->nr))
			return false;
	return true;
}

static bool is_worth_it(const struct script *script)
{
	const char first = script->steps[0].op;

	return !op_is_crash(first) && first != 'c' && switches_make_sense(script) &&
	       takes_sectors_in_order(script) && reads_make_sense(script);
}

/* ---- enumeration ---------------------------------------------------------- */

static void run_orders(const struct script_family *family, struct script *script,
		       void (*run)(void *arg, const struct script *script), void *arg)
{
	for (unsigned int i = 0; i < family->nr_orders; i++) {
		script->order = family->order + i;
		run(arg, script);
	}
}

/* Every way to wait for an operation or not; nobody goes on during a crash or without keys. */
static void run_waits(const struct script_family *family, struct script *script,
		      void (*run)(void *arg, const struct script *script), void *arg)
{
	const unsigned int nr_ways = family->together ? 1u << (script->nr - 1) : 1;

	for (unsigned int way = family->together; way < nr_ways; way++) {
		bool good = true;

		for (unsigned int i = 0; i < script->nr; i++) {
			script->steps[i].waited = !(way >> i & 1);
			good &= script->steps[i].waited ||
				(!op_is_crash(script->steps[i].op) && script->steps[i].op != 'V');
		}
		if (good && is_worth_it(script))
			run_orders(family, script, run, arg);
	}
}

void script_family_run(const struct script_family *family,
		       void (*run)(void *arg, const struct script *script), void *arg)
{
	struct script_step letters[32];
	unsigned int nr_letters = 0;
	const char *at = family->alphabet;

	while (*at) {
		sim_require(nr_letters < ARRAY_LEN(letters), "an alphabet is too long");
		at = parse_step(at, &letters[nr_letters++]);
	}
	for (unsigned int nr = family->nr_min; nr <= family->nr_max; nr++) {
		struct script script = { .start = family->start, .nr = nr };
		unsigned int nr_words = 1;

		for (unsigned int i = 0; i < nr; i++)
			nr_words *= nr_letters;
		for (unsigned int word = 0; word < nr_words; word++) {
			unsigned int rest = word;

			for (unsigned int i = 0; i < nr; i++, rest /= nr_letters)
				script.steps[nr - 1 - i] = letters[rest % nr_letters];
			run_waits(family, &script, run, arg);
		}
	}
}
