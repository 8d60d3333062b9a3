/* SPDX-License-Identifier: MIT */
/* Doing as the policy says, at the start and at SIGHUP, and telling of it: see account.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "account.h"
#include "base/log.h"
#include "control/report.h"
#include "server.h"
#include "switch.h"

enum { NAMES_TEXT_BYTES = 256 };

/* Is @image not as it is wanted, and can that be changed? */
static bool must_switch(const struct server *server, const struct image *image,
			enum policy_wish wish)
{
	if (wish == POLICY_UNSAID || image->super.encryption_enabled == (wish == POLICY_ON))
		return false;
	if (!server->options->read_only)
		return true;
	log_line(LOG_LEVEL_WARNING,
		 "image %s: is served --read-only: its encryption stays %s, which is not what "
		 "policy %s says",
		 image->path, image->super.encryption_enabled ? "on" : "off",
		 server->options->policy);
	return false;
}

static enum image_target target_of(enum policy_wish wish)
{
	return wish == POLICY_ON ? IMAGE_TARGET_SEALED : IMAGE_TARGET_PLAIN;
}

static const char *wish_text(enum policy_wish wish)
{
	if (wish == POLICY_UNSAID)
		return "as each image has it";
	return wish == POLICY_ON ? "on" : "off";
}

/* ---- at the start ---- */

int account_apply_first(struct server *server, struct problem *problem)
{
	const struct account *account = server->account;
	unsigned int nr_switched = 0;

	for (unsigned int i = 0; i < server->nr_exports; i++) {
		struct image *image = server->images[i];
		int r;

		if (!must_switch(server, image, account->wishes[i]))
			continue;
		/* Without workers there is no write to hold back. */
		r = image_switch(image, target_of(account->wishes[i]), (uint64_t)time(NULL),
				 problem);
		if (r < 0)
			return r;
		map_switch_end(&image->disk.map, image->super.current_plane);
		log_line(LOG_LEVEL_INFO, "image %s: encryption is %s from here on", image->path,
			 wish_text(account->wishes[i]));
		nr_switched++;
	}
	if (server->options->policy)
		log_line(LOG_LEVEL_INFO, "policy %s: encryption %s, %u exports, %u switched",
			 server->options->policy, wish_text(account->encryption),
			 account->nr_exports, nr_switched);
	return 0;
}

/* ---- at SIGHUP ---- */

/* An image that cannot be opened now could not be at the next start either. */
static int check_images(struct server *server, const struct account *account,
			struct problem *problem)
{
	for (unsigned int i = 0; i < account->nr_exports; i++) {
		int r = helper_probe(&server->helper, account->exports[i].image);

		if (r < 0) {
			problem_set(problem, "policy", server->options->policy,
				    "the image of the export \"%s\", %s, cannot be opened: %s",
				    account->exports[i].name, account->exports[i].image,
				    strerror(-r));
			return r;
		}
	}
	return 0;
}

/* The number of @export in @account, or that of its exports. */
static unsigned int find_same(const struct account *account, const struct export_option *export)
{
	unsigned int i = 0;

	while (i < account->nr_exports && (strcmp(account->exports[i].name, export->name) != 0 ||
					   strcmp(account->exports[i].image, export->image) != 0))
		i++;
	return i;
}

/* The exports of @these that @others has not: "a", "b". Returns false when there are none. */
static bool list_missing(const struct account *these, const struct account *others,
			 char text[NAMES_TEXT_BYTES])
{
	size_t used = 0;

	snprintf(text, NAMES_TEXT_BYTES, "none");
	for (unsigned int i = 0; i < these->nr_exports; i++) {
		if (find_same(others, &these->exports[i]) < others->nr_exports)
			continue;
		if (used < NAMES_TEXT_BYTES)
			used += (size_t)snprintf(text + used, NAMES_TEXT_BYTES - used, "%s\"%s\"",
						 used ? ", " : "", these->exports[i].name);
	}
	return used > 0;
}

static void tell_of_exports(const struct server *server, const struct account *account)
{
	char added[NAMES_TEXT_BYTES], removed[NAMES_TEXT_BYTES];
	bool changed = list_missing(account, server->account, added);

	changed |= list_missing(server->account, account, removed);
	if (changed)
		log_line(LOG_LEVEL_WARNING,
			 "policy %s: the list of exports has changed (new: %s; gone: %s): that "
			 "takes effect when the daemon is started again",
			 server->options->policy, added, removed);
}

/* Of the exports that are served, and are still listed; whoever has come or gone waits. */
static void take_wishes(struct server *server, const struct account *account)
{
	struct account *mine = server->account;

	pthread_mutex_lock(&server->changes);
	mine->encryption = account->encryption;
	mine->read_s = account->read_s;
	for (unsigned int i = 0; i < mine->nr_exports; i++) {
		const unsigned int number = find_same(account, &mine->exports[i]);

		if (number < account->nr_exports)
			mine->wishes[i] = account->wishes[number];
	}
	pthread_mutex_unlock(&server->changes);
}

/* Logs what fails; then the others are switched all the same. */
static void switch_all(struct server *server)
{
	unsigned int nr_switched = 0, nr_failed = 0;
	struct problem problem;

	for (unsigned int i = 0; i < server->nr_exports; i++) {
		const enum policy_wish wish = server->account->wishes[i];
		int r;

		/* For each anew: clients of the control socket get their turn. */
		pthread_mutex_lock(&server->changes);
		if (must_switch(server, server->images[i], wish)) {
			r = server_switch(server, server->images[i], target_of(wish), &problem);
			nr_switched += r == 0;
			nr_failed += r < 0;
		}
		pthread_mutex_unlock(&server->changes);
	}
	log_line(LOG_LEVEL_INFO, "policy %s: read again: encryption %s, %u switched, %u failed",
		 server->options->policy, wish_text(server->account->encryption), nr_switched,
		 nr_failed);
}

void account_reload(struct server *server)
{
	struct account *account = NULL;
	struct problem problem;
	int r;

	if (!server->options->policy) {
		log_line(LOG_LEVEL_INFO, "SIGHUP: there is no --policy to read again");
		return;
	}
	r = account_read(server->options, &server->helper, &account, &problem);
	if (r == 0)
		r = check_images(server, account, &problem);
	if (r == 0) {
		tell_of_exports(server, account);
		take_wishes(server, account);
		switch_all(server);
	} else {
		log_line(LOG_LEVEL_ERROR, "%s; the policy in force stays as it is", problem.text);
	}
	account_free(account);
}

/* ---- telling ---- */

static json_t *wish_json(enum policy_wish wish)
{
	return wish == POLICY_UNSAID ? json_null() : json_boolean(wish == POLICY_ON);
}

static json_t *export_json(const struct server *server, unsigned int i)
{
	struct image *image = server->images[i];
	const struct report report = { .image = image, .live = true };
	json_t *export = json_pack("{s:o, s:o, s:o}", "export",
				   report_text_json(server->account->exports[i].name), "image",
				   report_text_json(image->path), "policy",
				   wish_json(server->account->wishes[i]));

	if (export && json_object_update_new(export, report_encryption_json(&report)) < 0) {
		json_decref(export);
		return NULL;
	}
	return export;
}

json_t *account_json(const struct server *server)
{
	const char *path = server->options->policy;
	json_t *exports = json_array();

	for (unsigned int i = 0; i < server->nr_exports && exports; i++) {
		if (json_array_append_new(exports, export_json(server, i)) < 0) {
			json_decref(exports);
			exports = NULL;
		}
	}
	return json_pack("{s:o, s:o, s:o, s:o}", "file",
			 path ? report_text_json(path) : json_null(), "read_time",
			 report_time_json(server->account->read_s), "encryption",
			 wish_json(server->account->encryption), "exports", exports);
}
