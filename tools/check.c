/* SPDX-License-Identifier: MIT */
/* sealblk check: see `sealblk check --help`. What it looks for is image/check.h's. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "image/check.h"
#include "keys.h"
#include "keys/key_mem.h"
#include "print.h"
#include "store/store.h"
#include "verbs.h"

enum { LOCK_PATIENCE_MS = 500 }; /* for a daemon that is dying */

struct checking {
	const struct tool_options *options;
	struct ring *ring;
	struct store store;
	struct key_secret *secret; /* NULL: none given */
	struct check_result result;
	json_t *findings; /* with --json */
	bool no_memory;	  /* for them */
};

static void checking_done(struct checking *checking)
{
	json_decref(checking->findings);
	checking->secret = key_mem_free(checking->secret);
	store_close(&checking->store);
	ring_free(checking->ring);
}

int verb_check_check(const struct tool_options *options, struct problem *problem)
{
	if (options->repair) {
		tool_usage_problem(problem, options->verb, "--repair is not in this version");
		return -EINVAL;
	}
	return options->nr_key_sources == 0 ? 0 : tool_check_key(options, problem);
}

/* ---- telling ---- */

static const char *level_name(enum check_level level)
{
	return level == CHECK_PROBLEM ? "problem" : "note";
}

static void keep_finding(struct checking *checking, const struct check_finding *finding)
{
	bool nowhere = finding->offset_bytes == CHECK_NOWHERE;
	json_t *object = json_pack(
		"{s:s, s:s, s:o, s:o, s:o, s:s}", "level", level_name(finding->level), "subject",
		finding->subject, "offset_bytes",
		nowhere ? json_null() : json_integer((json_int_t)finding->offset_bytes),
		"length_bytes", nowhere ? json_null() : json_integer((json_int_t)finding->nr_bytes),
		"what", print_text_json(finding->what), "advice", finding->advice);

	if (!object || json_array_append_new(checking->findings, object) < 0)
		checking->no_memory = true;
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
	printf("; %s\n", finding->advice);
}

static void tell(void *arg, const struct check_finding *finding)
{
	struct checking *checking = arg;

	if (checking->findings)
		keep_finding(checking, finding);
	else
		print_finding(finding);
}

static void print_count(uint64_t number, const char *what, const char *rest)
{
	printf("%" PRIu64 " %s%s%s", number, what, number == 1 ? "" : "s", rest);
}

/* What was looked at, and the verdict. */
static void print_result(const struct checking *checking)
{
	const struct check_result *result = &checking->result;

	printf("checked: headers, ");
	print_count(result->nr_bitmap_blocks, "bitmap block", ", ");
	print_count(result->nr_map_blocks, "map block", ", ");
	print_count(result->nr_planes, "plane", "");
	printf("; MACs and wrapped keys %s\n", result->has_macs	  ? "too"
					       : checking->secret ? "could not be checked"
								  : "not, since no key was given");
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

/* Read only, and locked shared: whoever serves it keeps us out, and we him. */
static int open_store(struct checking *checking, struct problem *problem)
{
	const char *path = checking->options->image;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int r;

	if (fd < 0) {
		r = -errno;
		problem_set(problem, "image", path, "cannot be opened: %s", strerror(-r));
		return r;
	}
	r = store_file_init(&checking->store, fd, STORE_LOCK_SHARED, LOCK_PATIENCE_MS);
	if (r == -EBUSY)
		problem_set(problem, "image", path,
			    "is being served, and cannot be checked meanwhile: stop its daemon "
			    "first");
	else if (r < 0)
		problem_set(problem, "image", path, "cannot be read: %s",
			    r == -EINVAL ? "neither a file nor a disk" : strerror(-r));
	return r;
}

static int prepare(struct checking *checking, struct problem *problem)
{
	const struct tool_options *options = checking->options;
	int r = ring_sync_new(&checking->ring);

	if (r == 0 && options->json) {
		checking->findings = json_array();
		r = checking->findings ? 0 : -ENOMEM;
	}
	if (r < 0) {
		problem_set(problem, "image", options->image, "no memory to check it");
		return r;
	}
	r = open_store(checking, problem);
	if (r == 0 && options->nr_key_sources > 0)
		r = tool_read_key(&options->key_source, &checking->secret, problem);
	return r;
}

int verb_check(const struct tool_options *options, struct problem *problem)
{
	CLEANUP(checking_done) struct checking checking = { .options = options };
	struct check_order order = { .path = options->image, .tell = tell, .arg = &checking };
	int r = prepare(&checking, problem);

	if (r < 0)
		return r;
	order.store = &checking.store;
	order.ring = checking.ring;
	order.secret = checking.secret;
	r = check_image(&order, &checking.result, problem);
	if (r < 0)
		return r;
	if (options->json) {
		r = print_json(&checking);
		if (r < 0) {
			problem_set(problem, "image", options->image, "no memory to report on it");
			return r;
		}
	} else {
		print_result(&checking);
	}
	if (checking.result.nr_problems == 0)
		return 0;
	/* All has been said: there is nothing to add on stderr. */
	problem->text[0] = '\0';
	return -EUCLEAN;
}
