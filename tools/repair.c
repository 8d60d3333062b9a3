/* SPDX-License-Identifier: MIT */
/* sealblk check --repair: what is done, image/repair.h says; here it is told. */
#include "image/repair.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "check.h"
#include "print.h"

static void tell_deed(void *arg, const struct repair_deed *deed)
{
	struct checking *checking = arg;

	if (checking->repairs)
		checking_keep(checking, checking->repairs,
			      json_pack("{s:s, s:I, s:I, s:s}", "subject", deed->subject,
					"offset_bytes", (json_int_t)deed->offset_bytes,
					"length_bytes", (json_int_t)deed->nr_bytes, "what",
					deed->what));
	else
		printf("repaired: %s, %" PRIu64 " bytes from byte %" PRIu64 ": %s\n", deed->subject,
		       deed->nr_bytes, deed->offset_bytes, deed->what);
	/* It is done: a program that waits for the line need not wait for the end. */
	fflush(stdout);
}

/* Where it is, and the rest of it, has been said before. */
static void tell_left(void *arg, const struct check_finding *finding)
{
	struct checking *checking = arg;

	if (checking->left) {
		checking_keep(checking, checking->left, checking_finding_json(finding));
		return;
	}
	if (finding->level == CHECK_PROBLEM) {
		printf("left: %s ", finding->subject);
		print_text(stdout, finding->what);
		printf("; %s; %s\n", finding->means, finding->advice);
	}
}

static void print_verdict(const struct checking *checking, const struct repair_result *result)
{
	checking_print_scope(checking, &result->left);
	printf("image ");
	print_text(stdout, checking->options->image);
	printf(": ");
	if (result->recover_first)
		printf("nothing repaired, since it was not closed: serve it once, which recovers it, "
		       "and then repair it; ");
	if (result->nr_repairs > 0)
		print_count(result->nr_repairs, "repair", ", ");
	if (result->left.nr_problems > 0)
		print_count(result->left.nr_problems, "problem", " left\n");
	else if (result->left.unclean)
		printf("no problems%s, but it was not closed cleanly\n",
		       result->nr_repairs > 0 ? " left" : "");
	else
		printf("%s\n", result->nr_repairs > 0 ? "clean" : "clean, nothing to repair");
}

static int print_verdict_json(struct checking *checking, const struct repair_result *result)
{
	const struct check_result *left = &result->left;
	json_t *object = json_pack(
		"{s:o, s:b, s:s, s:b, s:I, s:I, s:I, s:b, s:b, s:O, s:O, s:O}", "path",
		print_text_json(checking->options->image), "sound", left->nr_problems == 0, "state",
		left->unclean ? "unclean" : "clean", "recover_first", result->recover_first,
		"problems_found", (json_int_t)result->found.nr_problems, "repaired",
		(json_int_t)result->nr_repairs, "problems", (json_int_t)left->nr_problems,
		"macs_checked", left->has_macs, "complete", left->has_places, "findings",
		checking->findings, "repairs", checking->repairs, "left",
		result->nr_repairs > 0 ? checking->left : checking->findings);

	if (!object || checking->no_memory) {
		json_decref(object);
		return -ENOMEM;
	}
	json_dumpf(object, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(object);
	return 0;
}

int checking_repair(struct checking *checking, const struct check_order *order,
		    struct problem *problem)
{
	const struct repair_order repair = {
		.check = *order,
		.tell_deed = tell_deed,
		.tell_left = tell_left,
		.arg = checking,
	};
	struct repair_result result;
	int r = repair_image(&repair, &result, problem);

	if (r < 0)
		return r;
	if (checking->options->json) {
		r = print_verdict_json(checking, &result);
		if (r < 0) {
			problem_set(problem, "image", checking->options->image,
				    "no memory to report on it");
			return r;
		}
	} else {
		print_verdict(checking, &result);
	}
	if (result.left.nr_problems == 0)
		return 0;
	/* All has been said: there is nothing to add on stderr. */
	problem->text[0] = '\0';
	return -EUCLEAN;
}
