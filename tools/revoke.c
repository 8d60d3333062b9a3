/* SPDX-License-Identifier: MIT */
/*
 * sealblk key revoke|restore: see `sealblk key revoke --help`. The daemon that
 * serves the image drops its keys or takes them up again; otherwise only the mark
 * in the image changes, here.
 */
#include "image/revoke.h"

#include <errno.h>

#include "keys.h"
#include "keys/key_mem.h"
#include "print.h"
#include "reach.h"
#include "session.h"
#include "verbs.h"

struct revoking {
	const struct tool_options *options;
	bool revoke;		   /* or restore */
	struct key_secret *secret; /* NULL: not read yet */
	bool changed;
};

static void revoking_done(struct revoking *revoking)
{
	revoking->secret = key_mem_free(revoking->secret);
}

static int read_key(struct revoking *revoking, struct problem *problem)
{
	return revoking->secret
		       ? 0
		       : tool_read_key(&revoking->options->key_source, revoking->options->image,
				       &revoking->secret, problem);
}

static int change_live(struct revoking *revoking, struct reach *reach, struct problem *problem)
{
	json_t *answer = NULL;
	int r = reach_ask(reach, revoking->revoke ? "key-revoke" : "key-restore", problem);

	if (r == 0 && !revoking->revoke) {
		r = reach_answer(reach, &answer, problem);
		if (r == 0)
			json_decref(answer);
		if (r == 0)
			r = reach_send_secret(reach, revoking->secret, problem);
	}
	if (r == 0)
		r = reach_answer(reach, &answer, problem);
	if (r < 0)
		return r;
	revoking->changed = json_is_true(json_object_get(answer, "changed"));
	json_decref(answer);
	return 0;
}

static int change_here(struct revoking *revoking, struct problem *problem)
{
	CLEANUP(session_done) struct session session = { .uuid_lock = -1 };
	const char *path = revoking->options->image;
	int r;

	if (revoking->options->nr_key_sources == 0) {
		problem_set(problem, "image", path,
			    "is not being served: to mark it a key is needed, " TOOL_KEY_OPTIONS);
		return -EINVAL;
	}
	r = read_key(revoking, problem);
	if (r == 0)
		r = session_open_revoked(&session, path, revoking->secret, problem);
	return r == 0 ? image_mark_revoked(session.image, revoking->revoke, &session.runtime.store,
					   &revoking->changed, problem)
		      : r;
}

static void print_result(const struct revoking *revoking, bool live)
{
	printf("image ");
	print_text(stdout, revoking->options->image);
	if (!revoking->changed)
		puts(revoking->revoke ? ": its keys were revoked already"
				      : ": its keys were not revoked");
	else if (!revoking->revoke)
		puts(live ? ": its keys are restored, I/O goes on"
			  : ": its keys are restored, it can be served again");
	else
		puts(live ? ": its keys are revoked and have left the daemon's memory, all I/O is "
			    "refused"
			  : ": its keys are revoked, it is not served until they are restored");
}

static int change(const struct tool_options *options, bool revoke, struct problem *problem)
{
	CLEANUP(revoking_done)
	struct revoking revoking = { .options = options, .revoke = revoke };
	CLEANUP(reach_done) struct reach reach = { 0 };
	/* A passphrase may come from a pipe that is slow: nobody is to wait for it. */
	int r = revoke ? 0 : read_key(&revoking, problem);
	bool live;

	if (r == 0)
		r = reach_open(&reach, options->image, problem);
	if (r < 0)
		return r;
	live = reach.daemon != NULL;
	if (live) {
		r = change_live(&revoking, &reach, problem);
	} else {
		reach_done(&reach); /* its lock would be in the way */
		r = change_here(&revoking, problem);
	}
	if (r == 0)
		print_result(&revoking, live);
	return r;
}

int verb_key_revoke_check(const struct tool_options *options, struct problem *problem)
{
	return options->nr_key_sources == 0 ? 0 : tool_check_key(options, problem);
}

int verb_key_revoke(const struct tool_options *options, struct problem *problem)
{
	return change(options, true, problem);
}

int verb_key_restore(const struct tool_options *options, struct problem *problem)
{
	return change(options, false, problem);
}
