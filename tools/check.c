/* SPDX-License-Identifier: MIT */
/*
 * sealblk check: see `sealblk check --help`. What it looks for is image/check.h's;
 * --repair is in repair.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "keys.h"
#include "keys/key_mem.h"
#include "print.h"
#include "verbs.h"

enum { LOCK_PATIENCE_MS = 500 }; /* for a daemon that is dying */

static void checking_done(struct checking *checking)
{
	json_decref(checking->findings);
	json_decref(checking->repairs);
	json_decref(checking->left);
	checking->secret = key_mem_free(checking->secret);
	store_close(&checking->store);
	ring_free(checking->ring);
}

int verb_check_check(const struct tool_options *options, struct problem *problem)
{
	if (options->repair && options->nr_key_sources == 0) {
		tool_usage_problem(problem, options->verb,
				   "--repair wants a key, " TOOL_KEY_OPTIONS
				   ": what is not authentic is never copied");
		return -EINVAL;
	}
	return options->nr_key_sources == 0 ? 0 : tool_check_key(options, problem);
}

/* ---- telling ---- */

static const char *level_name(enum check_level level)
{
	return level == CHECK_PROBLEM ? "problem" : "note";
}

void checking_keep(struct checking *checking, json_t *list, json_t *object)
{
	if (!object || json_array_append_new(list, object) < 0)
		checking->no_memory = true;
}

json_t *checking_finding_json(const struct check_finding *finding)
{
	bool nowhere = finding->offset_bytes == CHECK_NOWHERE;

	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:s, s:s}", "level", level_name(finding->level),
			 "subject", finding->subject, "offset_bytes",
			 nowhere ? json_null() : json_integer((json_int_t)finding->offset_bytes),
			 "length_bytes",
			 nowhere ? json_null() : json_integer((json_int_t)finding->nr_bytes),
			 "what", print_text_json(finding->what), "means", finding->means, "advice",
			 finding->advice);
}

static void print_finding(const struct check_finding *finding)
{
	if (finding->level == CHECK_NOTE)
		printf("note: ");
	printf("%s", finding->subject);
	if (finding->offset_bytes == CHECK_NOWHERE)
		putchar(' ');
	else
		printf(", %" PRIu64 " bytes from byte %" PRIu64 ": ", finding->nr_bytes,
		       finding->offset_bytes);
	print_text(stdout, finding->what);
	printf("; %s; %s\n", finding->means, finding->advice);
}

void checking_tell(void *arg, const struct check_finding *finding)
{
	struct checking *checking = arg;

	if (checking->findings)
		checking_keep(checking, checking->findings, checking_finding_json(finding));
	else
		print_finding(finding);
}

void print_count(uint64_t number, const char *what, const char *rest)
{
	printf("%" PRIu64 " %s%s%s", number, what, number == 1 ? "" : "s", rest);
}

void checking_print_scope(const struct checking *checking, const struct check_result *result)
{
	printf("checked: headers, ");
	print_count(result->nr_bitmap_blocks, "bitmap block", ", ");
	print_count(result->nr_map_blocks, "map block", ", ");
	print_count(result->nr_planes, "plane", "");
	printf("; MACs and wrapped keys %s\n", result->has_macs	  ? "too"
					       : checking->secret ? "could not be checked"
								  : "not, since no key was given");
}

/* What was looked at, and the verdict. */
static void print_result(const struct checking *checking)
{
	const struct check_result *result = &checking->result;

	checking_print_scope(checking, result);
	printf("image ");
	print_text(stdout, checking->options->image);
	if (result->nr_problems > 0) {
		printf(": ");
		print_count(result->nr_problems, "problem", "\n");
	} else {
		printf(": %s\n",
		       result->unclean ? "no problems, but it was not closed cleanly" : "clean");
	}
}

static int print_json(struct checking *checking)
{
	const struct check_result *result = &checking->result;
	json_t *object = json_pack("{s:o, s:b, s:s, s:I, s:I, s:b, s:b, s:I, s:I, s:I, s:O}",
				   "path", print_text_json(checking->options->image), "sound",
				   result->nr_problems == 0, "state",
				   result->unclean ? "unclean" : "clean", "problems",
				   (json_int_t)result->nr_problems, "notes",
				   (json_int_t)result->nr_notes, "macs_checked", result->has_macs,
				   "complete", result->has_places, "bitmap_blocks",
				   (json_int_t)result->nr_bitmap_blocks, "map_blocks",
				   (json_int_t)result->nr_map_blocks, "planes",
				   (json_int_t)result->nr_planes, "findings", checking->findings);

	int r = object && !checking->no_memory ? print_json_object(object) : -ENOMEM;

	json_decref(object);
	return r;
}

/* ---- checking ---- */

/*
 * Locked, shared for reading: whoever serves it keeps us out, and we him. To be
 * repaired it is ours alone.
 */
static int open_store(struct checking *checking, struct problem *problem)
{
	const char *path = checking->options->image;
	bool repair = checking->options->repair;
	int fd = open(path, (repair ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int r;

	if (fd < 0) {
		r = -errno;
		problem_set(problem, "image", path, "cannot be opened%s: %s",
			    repair ? " for writing" : "", strerror(-r));
		return r;
	}
	r = store_file_init(&checking->store, fd, repair ? STORE_LOCK_EXCLUSIVE : STORE_LOCK_SHARED,
			    LOCK_PATIENCE_MS);
	if (r == -EBUSY)
		problem_set(problem, "image", path,
			    "is being served, and cannot be %s meanwhile: stop its daemon first",
			    repair ? "repaired" : "checked");
	else if (r < 0)
		problem_set(problem, "image", path, "cannot be read: %s",
			    r == -EINVAL ? "neither a file nor a disk" : strerror(-r));
	return r;
}

/* Without a runtime directory no daemon of this user has a dirty file. */
static void find_runtime(struct checking *checking)
{
	struct problem ignored;

	checking->has_runtime = runtime_init(&checking->runtime, false, &ignored) == 0;
}

static int prepare(struct checking *checking, struct problem *problem)
{
	const struct tool_options *options = checking->options;
	int r = ring_sync_new(&checking->ring);

	if (r == 0 && options->json) {
		checking->findings = json_array();
		checking->repairs = json_array();
		checking->left = json_array();
		r = checking->findings && checking->repairs && checking->left ? 0 : -ENOMEM;
	}
	if (r < 0) {
		problem_set(problem, "image", options->image, "no memory to check it");
		return r;
	}
	find_runtime(checking);
	r = runtime_boot_id(checking->boot_id);
	if (r < 0) {
		problem_set(problem, "image", options->image,
			    "cannot be checked without the id of this boot: %s", strerror(-r));
		return r;
	}
	r = open_store(checking, problem);
	if (r == 0 && options->nr_key_sources > 0)
		r = tool_read_key(&options->key_source, options->image, &checking->secret, problem);
	return r;
}

static struct check_order order_of(struct checking *checking)
{
	struct check_order order = {
		.path = checking->options->image,
		.store = &checking->store,
		.ring = checking->ring,
		.secret = checking->secret,
		.tell = checking_tell,
		.arg = checking,
	};

	memcpy(order.boot_id, checking->boot_id, sizeof(order.boot_id));
	if (checking->has_runtime) {
		order.dirty_store = &checking->runtime.store;
		order.dirty_place = checking->runtime.directory;
	}
	return order;
}

static int report(struct checking *checking, struct problem *problem)
{
	int r = 0;

	if (!checking->options->json)
		print_result(checking);
	else
		r = print_json(checking);
	if (r < 0)
		problem_set(problem, "image", checking->options->image,
			    "no memory to report on it");
	return r;
}

int verb_check(const struct tool_options *options, struct problem *problem)
{
	CLEANUP(checking_done) struct checking checking = { .options = options };
	struct check_order order;
	int r = prepare(&checking, problem);

	if (r < 0)
		return r;
	order = order_of(&checking);
	if (options->repair)
		return checking_repair(&checking, &order, problem);
	r = check_image(&order, &checking.result, problem);
	if (r == 0)
		r = report(&checking, problem);
	if (r < 0 || checking.result.nr_problems == 0)
		return r;
	/* All has been said: there is nothing to add on stderr. */
	problem->text[0] = '\0';
	return -EUCLEAN;
}
