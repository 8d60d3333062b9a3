/* SPDX-License-Identifier: MIT */
/* What sealblk check and sealblk check --repair share. */
#ifndef TOOLS_CHECK_H
#define TOOLS_CHECK_H

#include <jansson.h>
#include <stdbool.h>

#include "image/check.h"
#include "image/runtime.h"
#include "options.h"
#include "store/store.h"

struct checking {
	const struct tool_options *options;
	struct ring *ring;
	struct store store;
	struct key_secret *secret; /* NULL: none given */
	struct runtime runtime;
	bool has_runtime;
	uint8_t boot_id[SEAL_UUID_BYTES];
	struct check_result result;

	/* With --json: */
	json_t *findings;
	json_t *repairs;
	json_t *left;	/* findings after repairs */
	bool no_memory; /* for them */
};

/* A check_tell_fn; @arg: the struct checking. */
void checking_tell(void *arg, const struct check_finding *finding);

/* Append @object, which is then @list's; NULL: there was no memory for it. */
void checking_keep(struct checking *checking, json_t *list, json_t *object);
json_t *checking_finding_json(const struct check_finding *finding);

/* "checked: headers, 1 bitmap block, ..." and a newline. */
void checking_print_scope(const struct checking *checking, const struct check_result *result);

/* "2 planes", then @rest. */
void print_count(uint64_t number, const char *what, const char *rest);

/* Repair and report. Results as of struct verb's run. */
int MUST_CHECK checking_repair(struct checking *checking, const struct check_order *order,
			       struct problem *problem);

#endif
