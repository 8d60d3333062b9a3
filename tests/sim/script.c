/* SPDX-License-Identifier: MIT */
/* Scripts and their enumeration: see script.h. */
#include "sim/script.h"

#include <stdio.h>
#include <string.h>

#include "sim/state.h"

static const char *const start_names[STARTS] = {
	[START_FRESH] = "fresh",
	[START_SEALED] = "sealed",
	[START_PLAIN] = "plain",
	[START_HALF] = "half",
};

static bool op_has_sectors(char op)
{
	return op_changes_sectors(op) || op == 'R';
}

/* Read one operation; returns what follows it. */
static const char *parse_step(const char *at, struct script_step *ret_step)
{
	struct script_step step = { .op = *at++, .waited = true };

	sim_require(strchr("WFZTYLR-+cKP", step.op) != NULL, "no such operation");
	if (op_has_sectors(step.op)) {
		sim_require(*at == '0' || *at == '1' || *at == 'b', "which sectors?");
		step.first = *at == '1';
		step.nr = *at == 'b' ? 2 : 1;
		at++;
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
	static const char sectors[3] = { '0', '1', 'b' };
	int used = snprintf(ret_text, SCRIPT_TEXT_BYTES, "%s:", start_names[script->start]);

	for (unsigned int i = 0; i < script->nr; i++) {
		const struct script_step *step = &script->steps[i];
		const char which[2] = { sectors[step->nr == 2 ? 2 : step->first], 0 };

		used += snprintf(ret_text + used, SCRIPT_TEXT_BYTES - (size_t)used, " %c%s%s",
				 step->op, op_has_sectors(step->op) ? which : "",
				 step->waited ? "" : "&");
	}
	if (script->order == ORDER_NEWEST)
		snprintf(ret_text + used, SCRIPT_TEXT_BYTES - (size_t)used, ", newest first");
	else if (script->order >= ORDER_SEED)
		snprintf(ret_text + used, SCRIPT_TEXT_BYTES - (size_t)used, ", seed %u",
			 script->order);
}

/* ---- which are worth a run ------------------------------------------------ */

/* Off when on, on when off, one at a time. */
static bool switches_make_sense(const struct script *script)
{
	bool enabled = script->start == START_FRESH || script->start == START_SEALED;
	bool under_way = false;

	for (unsigned int i = 0; i < script->nr; i++) {
		const struct script_step *step = &script->steps[i];

		if (op_is_crash(step->op))
			under_way = false;
		if (!op_is_switch(step->op))
			continue;
		if (under_way || enabled == (step->op == '+'))
			return false;
		enabled = !enabled;
		under_way = !step->waited;
	}
	return true;
}

/* The sectors are alike: whatever is done to the second first is a repetition. */
static bool begins_with_first_sector(const struct script *script)
{
	for (unsigned int i = 0; i < script->nr; i++)
		if (op_has_sectors(script->steps[i].op))
			return script->steps[i].first == 0;
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
	       begins_with_first_sector(script) && reads_make_sense(script);
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

/* Every way to wait for an operation or not; nobody goes on during a crash. */
static void run_waits(const struct script_family *family, struct script *script,
		      void (*run)(void *arg, const struct script *script), void *arg)
{
	const unsigned int nr_ways = family->together ? 1u << (script->nr - 1) : 1;

	for (unsigned int way = family->together; way < nr_ways; way++) {
		bool good = true;

		for (unsigned int i = 0; i < script->nr; i++) {
			script->steps[i].waited = !(way >> i & 1);
			good &= script->steps[i].waited || !op_is_crash(script->steps[i].op);
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
