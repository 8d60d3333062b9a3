/* SPDX-License-Identifier: MIT */
/*
 * sealblk encryption on|off|status: see `sealblk encryption on --help`. The
 * daemon that serves the image switches it; otherwise it is done here.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "keys.h"
#include "print.h"
#include "reach.h"
#include "session.h"
#include "verbs.h"

enum wish { WISH_STATUS, WISH_ON, WISH_OFF };

static void print_encryption(const struct tool_options *options, const json_t *encryption)
{
	const char *since = json_string_value(json_object_get(encryption, "last_enabled_time"));

	if (options->json) {
		json_dumpf(encryption, stdout, JSON_INDENT(2));
		putchar('\n');
		return;
	}
	printf("image ");
	print_text(stdout, options->image);
	printf(": encryption %s, last enabled %s%s\n",
	       json_is_true(json_object_get(encryption, "enabled")) ? "on" : "off",
	       since ? since : "never",
	       json_is_true(json_object_get(encryption, "revoked")) ? "; its keys are revoked"
								    : "");
}

static int no_memory(const struct tool_options *options, struct problem *problem)
{
	problem_set(problem, "image", options->image, "no memory to report on it");
	return -ENOMEM;
}

/* *ret_encryption: as the daemon answers. */
static int ask_daemon(struct reach *reach, enum wish wish, json_t **ret_encryption,
		      struct problem *problem)
{
	static const char *const requests[] = {
		[WISH_STATUS] = "{\"verb\":\"encryption\"}\n",
		[WISH_ON] = "{\"verb\":\"encryption\",\"enabled\":true}\n",
		[WISH_OFF] = "{\"verb\":\"encryption\",\"enabled\":false}\n",
	};
	int r = reach_request(reach, requests[wish], problem);

	return r == 0 ? reach_answer(reach, ret_encryption, problem) : r;
}

static int switch_here(const struct tool_options *options, enum wish wish, json_t **ret_encryption,
		       struct problem *problem)
{
	CLEANUP(session_done) struct session session = { .uuid_lock = -1 };
	struct report report = { 0 };
	struct problem closing;
	int r, closed;

	if (options->nr_key_sources == 0) {
		problem_set(problem, "image", options->image,
			    "is not being served: a key is needed, " TOOL_KEY_OPTIONS);
		return -EINVAL;
	}
	r = session_open(&session, options, problem);
	if (r < 0)
		return r;
	r = image_switch(session.image, wish == WISH_ON ? IMAGE_TARGET_SEALED : IMAGE_TARGET_PLAIN,
			 (uint64_t)time(NULL), problem);
	/* A switch that was refused has changed nothing: the image is as clean as before. */
	closed = session_close(&session, &closing);
	if (r < 0)
		return r;
	if (closed < 0) {
		*problem = closing;
		return closed;
	}
	report.image = session.image;
	*ret_encryption = report_encryption_json(&report);
	return *ret_encryption ? 0 : no_memory(options, problem);
}

static int report_here(const struct reach *reach, const struct tool_options *options,
		       json_t **ret_encryption, struct problem *problem)
{
	*ret_encryption = report_encryption_json(&reach->report);
	return *ret_encryption ? 0 : no_memory(options, problem);
}

/* Switched already, or nothing to be switched: no key is needed for that. */
static bool is_so(const struct reach *reach, enum wish wish)
{
	return wish == WISH_STATUS ||
	       reach->report.image->super.encryption_enabled == (wish == WISH_ON);
}

static int fulfil(const struct tool_options *options, enum wish wish, struct problem *problem)
{
	CLEANUP(reach_done) struct reach reach = { 0 };
	json_t *encryption = NULL;
	int r = reach_open(&reach, options->image, problem);

	if (r < 0)
		return r;
	if (!reach.daemon && wish != WISH_STATUS && reach.report.image->super.revoked) {
		problem_set(problem, "image", options->image,
			    "its keys are revoked: sealblk key restore lets them be used again");
		return -EKEYREJECTED;
	}
	if (reach.daemon) {
		r = ask_daemon(&reach, wish, &encryption, problem);
	} else if (is_so(&reach, wish)) {
		r = report_here(&reach, options, &encryption, problem);
	} else {
		reach_done(&reach); /* its lock would be in the way */
		r = switch_here(options, wish, &encryption, problem);
	}
	if (r < 0)
		return r;
	print_encryption(options, encryption);
	json_decref(encryption);
	return 0;
}

int verb_encryption_check(const struct tool_options *options, struct problem *problem)
{
	return options->nr_key_sources == 0 ? 0 : tool_check_key(options, problem);
}

int verb_encryption_on(const struct tool_options *options, struct problem *problem)
{
	return fulfil(options, WISH_ON, problem);
}

int verb_encryption_off(const struct tool_options *options, struct problem *problem)
{
	return fulfil(options, WISH_OFF, problem);
}

int verb_encryption_status(const struct tool_options *options, struct problem *problem)
{
	return fulfil(options, WISH_STATUS, problem);
}
