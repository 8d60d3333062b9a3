/* SPDX-License-Identifier: MIT */
/* sealblk events: see `sealblk events --help`. A line is printed as soon as it comes. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "print.h"
#include "reach.h"
#include "verbs.h"

/* ---- printing ---- */

static const char *text_of(const json_t *event, const char *member, const char *otherwise)
{
	const char *text = json_string_value(json_object_get(event, member));

	return text ? text : otherwise;
}

static int64_t number_of(const json_t *event, const char *member)
{
	return json_integer_value(json_object_get(event, member));
}

static const char *encryption_of(const json_t *event)
{
	return json_is_true(json_object_get(event, "enabled")) ? "on" : "off";
}

static void print_state(const json_t *event)
{
	printf("encryption is %s, last enabled ", encryption_of(event));
	print_text(stdout, text_of(event, "last_enabled_time", "never"));
	if (json_is_true(json_object_get(event, "writes_failed")))
		printf("; writing has failed");
}

static void print_encryption(const json_t *event)
{
	printf("encryption was switched %s", encryption_of(event));
}

static void print_key_added(const json_t *event)
{
	printf("a key was added in slot %" PRId64, number_of(event, "slot"));
}

static void print_key_removed(const json_t *event)
{
	printf("the key in slot %" PRId64 " was removed", number_of(event, "slot"));
}

static void print_failed(const json_t *event)
{
	printf("writing has failed: ");
	print_text(stdout, text_of(event, "reason", "?"));
	printf("; until the image is opened again, writes and flushes answer EIO");
}

static void print_lost(const json_t *event)
{
	printf("%" PRId64 " events were lost: they came faster than they were taken",
	       number_of(event, "events"));
}

static void print_end(const json_t *event)
{
	(void)event;
	printf("the daemon stops");
}

/* Of an event that came after this program: all it has to say. */
static void print_unknown(const json_t *event)
{
	const char *name;
	const json_t *value;

	print_text(stdout, text_of(event, "event", "?"));
	/* The macro takes no const object, and changes none. */
	json_object_foreach((json_t *)(uintptr_t)event, name, value)
	{
		if (strcmp(name, "event") == 0 || strcmp(name, "time") == 0)
			continue;
		putchar(' ');
		print_text(stdout, name);
		putchar('=');
		if (json_is_string(value))
			print_text(stdout, json_string_value(value));
		else
			json_dumpf(value, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
	}
}

static const struct {
	const char *event;
	void (*print)(const json_t *event);
} printers[] = {
	{ "state", print_state },
	{ "encryption", print_encryption },
	{ "key-added", print_key_added },
	{ "key-removed", print_key_removed },
	{ "failed", print_failed },
	{ "lost", print_lost },
	{ "end", print_end },
};

static void print_event(const json_t *event)
{
	const char *name = text_of(event, "event", "");
	void (*print)(const json_t *event) = print_unknown;

	for (size_t i = 0; i < ARRAY_LEN(printers); i++)
		if (strcmp(name, printers[i].event) == 0)
			print = printers[i].print;
	print_text(stdout, text_of(event, "time", "?"));
	printf("  ");
	print(event);
	putchar('\n');
}

/* ---- following ---- */

/* Returns 1 after the last one, 0 to go on, or a negative errno with *problem. */
static int follow_one(struct reach *reach, bool as_json, struct problem *problem)
{
	json_t *event;
	int r = reach_answer(reach, &event, problem);

	if (r < 0)
		return r;
	if (as_json) {
		json_dumpf(event, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		print_event(event);
	}
	r = strcmp(text_of(event, "event", ""), "end") == 0 ? 1 : 0;
	json_decref(event);
	if (fflush(stdout) == 0)
		return r;
	problem_set(problem, "standard", "output", "cannot be written: %s", strerror(errno));
	return -EIO;
}

static int begin(struct reach *reach, struct problem *problem)
{
	const struct timeval for_ever = { 0 };
	int r;

	if (!reach->daemon) {
		problem_set(problem, "image", reach->path,
			    "is not being served: there are no events to follow");
		return -ENOENT;
	}
	r = reach_ask(reach, "events", problem);
	if (r < 0)
		return r;
	if (setsockopt(fileno(reach->daemon), SOL_SOCKET, SO_RCVTIMEO, &for_ever,
		       sizeof(for_ever)) < 0) {
		problem_set(problem, "image", reach->path, "cannot wait for events: %s",
			    strerror(errno));
		return -EIO;
	}
	return 0;
}

int verb_events(const struct tool_options *options, struct problem *problem)
{
	CLEANUP(reach_done) struct reach reach = { 0 };
	int r = reach_open(&reach, options->image, problem);

	if (r == 0)
		r = begin(&reach, problem);
	while (r == 0)
		r = follow_one(&reach, options->json, problem);
	return r == 1 ? 0 : r;
}
