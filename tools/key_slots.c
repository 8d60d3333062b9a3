/* SPDX-License-Identifier: MIT */
/*
 * sealblk key list|add|remove|rotate: see `sealblk key add --help`. The daemon
 * that serves the image changes its key slots; otherwise it is done here.
 */
#include "image/key_slots.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "keys.h"
#include "keys/key_mem.h"
#include "print.h"
#include "reach.h"
#include "session.h"
#include "verbs.h"

/* ---- list ---- */

static void print_slots(const json_t *keys)
{
	const json_t *slots = json_object_get(keys, "key_slots");
	const json_t *slot;
	size_t i;

	if (json_array_size(slots) == 0)
		puts("none: nothing opens this image ever again");
	if (json_is_true(json_object_get(keys, "revoked")))
		puts("revoked: none is used until key restore");
	json_array_foreach(slots, i, slot)
	{
		const char *kind = json_string_value(json_object_get(slot, "kind"));
		const char *time = json_string_value(json_object_get(slot, "created_time"));

		printf("%" JSON_INTEGER_FORMAT ": ",
		       json_integer_value(json_object_get(slot, "slot")));
		print_text(stdout, kind ? kind : "?");
		printf(", key %" JSON_INTEGER_FORMAT ", added ",
		       json_integer_value(json_object_get(slot, "key_id")));
		print_text(stdout, time ? time : "?");
		putchar('\n');
	}
}

static int get_keys(struct reach *reach, json_t **ret_keys, struct problem *problem)
{
	int r;

	if (reach->daemon) {
		r = reach_ask(reach, "keys", problem);
		return r == 0 ? reach_answer(reach, ret_keys, problem) : r;
	}
	*ret_keys = report_keys_json(&reach->report);
	if (*ret_keys)
		return 0;
	problem_set(problem, "image", reach->path, "no memory to report on it");
	return -ENOMEM;
}

int verb_key_list(const struct tool_options *options, struct problem *problem)
{
	CLEANUP(reach_done) struct reach reach = { 0 };
	json_t *keys = NULL;
	int r = reach_open(&reach, options->image, problem);

	if (r == 0)
		r = get_keys(&reach, &keys, problem);
	if (r < 0)
		return r;
	if (!options->json)
		print_slots(keys);
	else if (print_json_object(keys) < 0) {
		problem_set(problem, "image", options->image, "no memory to report on it");
		r = -ENOMEM;
	}
	json_decref(keys);
	return r;
}

/* ---- add, remove, rotate ---- */

struct changing {
	const struct tool_options *options;
	struct key_change change;
	struct key_secret *secret;
	struct key_secret *new_secret;
	struct key_change_result result;
};

static void changing_done(struct changing *changing)
{
	changing->secret = key_mem_free(changing->secret);
	changing->new_secret = key_mem_free(changing->new_secret);
}

/* For a removal see change_here(). */
static int read_keys(struct changing *changing, enum key_change_kind kind, struct problem *problem)
{
	const struct tool_options *options = changing->options;
	int r;

	if (kind == KEY_CHANGE_REMOVE)
		return 0;
	r = tool_read_key(&options->key_source, options->image, &changing->secret, problem);
	return r == 0 ? tool_read_new_key(&options->new_key_source, options->image,
					  &changing->new_secret, problem)
		      : r;
}

static int send_secrets(struct reach *reach, const struct changing *changing,
			struct problem *problem)
{
	json_t *go_on = NULL;
	int r = reach_answer(reach, &go_on, problem);

	if (r < 0)
		return r;
	json_decref(go_on);
	r = reach_send_secret(reach, changing->secret, problem);
	return r == 0 ? reach_send_secret(reach, changing->new_secret, problem) : r;
}

static unsigned int number_of(const json_t *object, const char *name)
{
	return (unsigned int)json_integer_value(json_object_get(object, name));
}

static int change_live(struct changing *changing, struct reach *reach, struct problem *problem)
{
	static const char *const verbs[] = {
		[KEY_CHANGE_ADD] = "key-add",
		[KEY_CHANGE_REMOVE] = "key-remove",
		[KEY_CHANGE_ROTATE] = "key-rotate",
	};
	const struct key_change *change = &changing->change;
	char line[128];
	json_t *result = NULL;
	int r;

	/* Slot and destroy_data count for a removal only. */
	snprintf(line, sizeof(line), "{\"verb\":\"%s\",\"slot\":%u,\"destroy_data\":%s}\n",
		 verbs[change->kind], change->slot, change->destroy_data ? "true" : "false");
	r = reach_request(reach, line, problem);
	if (r == 0 && change->kind != KEY_CHANGE_REMOVE)
		r = send_secrets(reach, changing, problem);
	if (r == 0)
		r = reach_answer(reach, &result, problem);
	if (r < 0)
		return r;
	changing->result = (struct key_change_result){
		.added = json_is_true(json_object_get(result, "added")),
		.new_slot = number_of(result, "new_slot"),
		.removed = json_is_true(json_object_get(result, "removed")),
		.old_slot = number_of(result, "old_slot"),
		.nr_slots_left = number_of(result, "nr_slots_left"),
	};
	json_decref(result);
	return 0;
}

static int change_here(struct changing *changing, struct problem *problem)
{
	CLEANUP(session_done) struct session session = { .uuid_lock = -1 };
	const char *path = changing->options->image;
	int r = 0;

	if (changing->options->nr_key_sources == 0) {
		problem_set(problem, "image", path,
			    "is not being served: a key is needed, " TOOL_KEY_OPTIONS);
		return -EINVAL;
	}
	if (!changing->secret)
		r = tool_read_key(&changing->options->key_source, path, &changing->secret, problem);
	if (r == 0)
		r = session_open_keyring(&session, path, changing->secret, problem);
	return r == 0 ? image_change_keys(session.image, &changing->change, &changing->result,
					  problem)
		      : r;
}

static void print_result(const struct changing *changing)
{
	const struct key_change_result *result = &changing->result;

	printf("image ");
	print_text(stdout, changing->options->image);
	if (changing->change.kind != KEY_CHANGE_REMOVE)
		printf(": the new key %s in slot %u", result->added ? "is" : "was already",
		       result->new_slot);
	if (changing->change.kind != KEY_CHANGE_ADD)
		printf("%s slot %u %s", changing->change.kind == KEY_CHANGE_ROTATE ? "," : ":",
		       result->old_slot, result->removed ? "is emptied" : "was empty already");
	putchar('\n');
	if (result->nr_slots_left > 0)
		return;
	printf("image ");
	print_text(stdout, changing->options->image);
	puts(": its data is destroyed: no key opens it ever again\n"
	     "copies of it, backups and snapshots, are not: they still hold their key slots");
}

static int change_keys(const struct tool_options *options, enum key_change_kind kind,
		       struct problem *problem)
{
	CLEANUP(changing_done) struct changing changing = { .options = options };
	CLEANUP(reach_done) struct reach reach = { 0 };
	int r = read_keys(&changing, kind, problem);

	changing.change = (struct key_change){
		.kind = kind,
		.new_secret = changing.new_secret,
		.slot = options->slot,
		.destroy_data = options->destroy_data,
		.now_s = (uint64_t)time(NULL),
	};
	if (r == 0)
		r = reach_open(&reach, options->image, problem);
	if (r < 0)
		return r;
	if (reach.daemon) {
		r = change_live(&changing, &reach, problem);
	} else {
		reach_done(&reach); /* its lock would be in the way */
		r = change_here(&changing, problem);
	}
	if (r == 0)
		print_result(&changing);
	return r;
}

int verb_key_add_check(const struct tool_options *options, struct problem *problem)
{
	int r = tool_check_key(options, problem);

	return r == 0 ? tool_check_new_key(options, problem) : r;
}

int verb_key_add(const struct tool_options *options, struct problem *problem)
{
	return change_keys(options, KEY_CHANGE_ADD, problem);
}

int verb_key_remove_check(const struct tool_options *options, struct problem *problem)
{
	if (!options->has_slot) {
		tool_usage_problem(problem, options->verb,
				   "wants --slot, as key list numbers them");
		return -EINVAL;
	}
	return options->nr_key_sources == 0 ? 0 : tool_check_key(options, problem);
}

int verb_key_remove(const struct tool_options *options, struct problem *problem)
{
	return change_keys(options, KEY_CHANGE_REMOVE, problem);
}

int verb_key_rotate(const struct tool_options *options, struct problem *problem)
{
	return change_keys(options, KEY_CHANGE_ROTATE, problem);
}
