/* SPDX-License-Identifier: MIT */
/*
 * sealblk encrypt and rekey: see `sealblk encrypt --help`. The daemon that serves
 * the image does the work; otherwise it is done here.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "control/size_text.h"
#include "keys.h"
#include "keys/key_mem.h"
#include "print.h"
#include "reach.h"
#include "rewrite_here.h"
#include "verbs.h"

enum wish { WISH_STATUS, WISH_ORDER, WISH_RUN };

enum { FOLLOW_US = 100000 }; /* between two looks at how far the daemon is */

struct job {
	const struct tool_options *options;
	enum wish wish;
	struct rewrite_order order;
	const char *name;	   /* "encrypt" or "rekey" */
	struct key_secret *secret; /* NULL: not read */
};

static void job_done(struct job *job)
{
	job->secret = key_mem_free(job->secret);
}

static const char *text_of(const json_t *status, const char *member)
{
	const char *text = json_string_value(json_object_get(status, member));

	return text ? text : "";
}

static uint64_t number_of(const json_t *status, const char *member)
{
	return (uint64_t)json_integer_value(json_object_get(status, member));
}

static bool is_done(const struct job *job, const json_t *status)
{
	return strcmp(text_of(status, job->name), "none") == 0;
}

/* ---- telling ---- */

static void print_position(const json_t *status)
{
	const uint64_t at = number_of(status, "at_bytes"), disk = number_of(status, "disk_bytes");
	char at_text[SIZE_TEXT_BYTES], disk_text[SIZE_TEXT_BYTES], moved[SIZE_TEXT_BYTES];
	char left[DURATION_TEXT_BYTES];

	printf(", %.1f%% (%s of %s looked at, %s moved)",
	       disk ? (double)at * 100 / (double)disk : 100.0, size_text(at, at_text),
	       size_text(disk, disk_text), size_text(number_of(status, "moved_bytes"), moved));
	if (number_of(status, "bytes_s") > 0)
		printf(", %s/s", size_text(number_of(status, "bytes_s"), moved));
	if (json_is_integer(json_object_get(status, "eta_s")))
		printf(", %s left", duration_text(number_of(status, "eta_s"), left));
}

static const char *state_text(const char *state)
{
	if (strcmp(state, "none") == 0)
		return "not under way";
	if (strcmp(state, "waiting") == 0)
		return "waits until encryption is on and the keys are not revoked";
	return strcmp(state, "stopped") == 0 ? "goes on when it is served" : state;
}

static int print_status(const struct job *job, const json_t *status)
{
	const char *state = text_of(status, job->name);
	char failed[SIZE_TEXT_BYTES];

	if (job->options->json)
		return print_json_object(status);
	printf("image ");
	print_text(stdout, job->options->image);
	printf(": %s: %s", job->name, state_text(state));
	if (strcmp(state, "running") == 0)
		print_position(status);
	if (*text_of(status, "problem")) {
		printf("; %s could not be moved: ",
		       size_text(number_of(status, "failed_bytes"), failed));
		print_text(stdout, text_of(status, "problem"));
	}
	putchar('\n');
	return 0;
}

static void print_end(const struct job *job)
{
	printf("image ");
	print_text(stdout, job->options->image);
	puts(job->order.which == SEAL_REWRITE_ENCRYPT
		     ? ": no sector is plain any more, and no base is needed"
		     : ": all is under the new key, the old one is destroyed");
}

/* ---- a daemon ---- */

static int ask(const struct job *job, struct reach *reach, const char *action, json_t **ret_status,
	       struct problem *problem)
{
	const bool wants_secret = strcmp(action, "start") == 0 &&
				  job->order.which == SEAL_REWRITE_REKEY;
	char line[256], rate[64] = "";
	json_t *go_on;
	int r;

	if (job->order.has_max_rate)
		snprintf(rate, sizeof(rate), ",\"max_rate\":%" PRIu64, job->order.max_rate);
	snprintf(line, sizeof(line),
		 "{\"verb\":\"rewrite\",\"job\":\"%s\",\"action\":\"%s\"%s%s}\n", job->name, action,
		 rate, job->order.drop_other_slots ? ",\"drop_other_slots\":true" : "");
	r = reach_request(reach, line, problem);
	if (r == 0 && wants_secret) {
		r = reach_answer(reach, &go_on, problem);
		if (r == 0)
			json_decref(go_on);
		if (r == 0)
			r = reach_send_secret(reach, job->secret, problem);
	}
	return r == 0 ? reach_answer(reach, ret_status, problem) : r;
}

static const char *action_of(const struct job *job)
{
	static const char *const actions[] = {
		[REWRITE_START] = "start", [REWRITE_PAUSE] = "pause", [REWRITE_RESUME] = "resume"
	};

	return job->wish == WISH_STATUS ? "status" : actions[job->order.action];
}

/* Returns 1 when it is done, 0 to look again. */
static int look(const struct job *job, struct progress *progress, struct problem *problem)
{
	CLEANUP(reach_done) struct reach reach = { 0 };
	json_t *status = NULL;
	int r = reach_open(&reach, job->options->image, problem);
	const bool is_served = r == 0 && reach.daemon;

	if (is_served)
		r = ask(job, &reach, "status", &status, problem);
	if (r == -EPIPE || (r == 0 && !is_served)) {
		problem_set(problem, "image", job->options->image,
			    "its daemon has stopped: it goes on when it is served again");
		r = -EINTR;
	}
	if (r < 0)
		return r;
	progress_show(progress, number_of(status, "at_bytes"), number_of(status, "disk_bytes"));
	if (strcmp(text_of(status, job->name), "paused") == 0) {
		problem_set(problem, "image", job->options->image, "was paused");
		r = -EINTR;
	} else {
		r = is_done(job, status);
	}
	json_decref(status);
	return r;
}

/* The daemon works on when this program is ended. */
static int follow(const struct job *job, struct problem *problem)
{
	struct progress progress;
	int r;

	progress_begin(&progress, job->options->progress, job->name);
	while ((r = look(job, &progress, problem)) == 0)
		usleep(FOLLOW_US);
	progress_end(&progress);
	if (r > 0)
		print_end(job);
	return r > 0 ? 0 : r;
}

static int do_live(const struct job *job, struct reach *reach, struct problem *problem)
{
	json_t *status = NULL;
	int r = ask(job, reach, action_of(job), &status, problem);

	if (r < 0)
		return r;
	if (job->wish != WISH_RUN)
		r = print_status(job, status);
	json_decref(status);
	reach_done(reach);
	return r == 0 && job->wish == WISH_RUN ? follow(job, problem) : r;
}

/* ---- nobody serves it ---- */

static int order_and_run(const struct job *job, struct session *session, struct problem *problem)
{
	struct problem closing;
	int r = rewrite_order_here(session, &job->order, problem);
	int closed;

	if (r == 0 && job->wish == WISH_RUN)
		r = rewrite_run_here(session, job->options, job->name, problem);
	closed = session_close(session, &closing);
	if (r == 0 && closed < 0) {
		*problem = closing;
		r = closed;
	}
	return r;
}

static int do_here(struct job *job, struct problem *problem)
{
	CLEANUP(session_done) struct session session = { .uuid_lock = -1 };
	json_t *status;
	int r;

	if (job->options->nr_key_sources == 0) {
		problem_set(problem, "image", job->options->image,
			    "is not being served: a key is needed, " TOOL_KEY_OPTIONS);
		return -EINVAL;
	}
	r = session_open_with_base(&session, job->options, problem);
	if (r < 0)
		return r;
	job->order.secret = session.secret;
	r = order_and_run(job, &session, problem);
	if (r < 0)
		return r;
	if (job->wish == WISH_RUN) {
		print_end(job);
		return 0;
	}
	status = report_rewrite_json(session.image);
	r = status ? print_status(job, status) : -ENOMEM;
	json_decref(status);
	return r;
}

static int report_here(const struct job *job, const struct reach *reach)
{
	json_t *status = report_rewrite_json(reach->report.image);
	int r = status ? print_status(job, status) : -ENOMEM;

	json_decref(status);
	return r;
}

/* ---- verbs ---- */

/* A daemon needs a key for the beginning of a rekey only. */
static int read_key(struct job *job, struct problem *problem)
{
	if (job->wish == WISH_STATUS || job->order.which != SEAL_REWRITE_REKEY ||
	    job->order.action != REWRITE_START)
		return 0;
	if (job->options->nr_key_sources == 0) {
		problem_set(problem, "rekey", job->options->image,
			    "a key is needed, " TOOL_KEY_OPTIONS);
		return -EINVAL;
	}
	return tool_read_key(&job->options->key_source, job->options->image, &job->secret, problem);
}

static int fulfil(const struct tool_options *options, enum seal_rewrite which, enum wish wish,
		  enum rewrite_action action, struct problem *problem)
{
	CLEANUP(job_done)
	struct job job = {
		.options = options,
		.wish = wish,
		.name = which == SEAL_REWRITE_ENCRYPT ? "encrypt" : "rekey",
		.order = { .which = which,
			   .action = action,
			   .has_max_rate = options->has_max_rate,
			   .max_rate = options->max_rate,
			   .drop_other_slots = options->drop_other_slots },
	};
	CLEANUP(reach_done) struct reach reach = { 0 };
	int r = reach_open(&reach, options->image, problem);

	if (r < 0)
		return r;
	if (reach.daemon) {
		r = read_key(&job, problem);
		return r == 0 ? do_live(&job, &reach, problem) : r;
	}
	if (wish == WISH_STATUS)
		return report_here(&job, &reach);
	reach_done(&reach); /* its lock would be in the way */
	return do_here(&job, problem);
}

int verb_rewrite_check(const struct tool_options *options, struct problem *problem)
{
	return options->nr_key_sources == 0 ? 0 : tool_check_key(options, problem);
}

int verb_encrypt(const struct tool_options *options, struct problem *problem)
{
	return fulfil(options, SEAL_REWRITE_ENCRYPT, WISH_RUN, REWRITE_START, problem);
}

int verb_encrypt_start(const struct tool_options *options, struct problem *problem)
{
	return fulfil(options, SEAL_REWRITE_ENCRYPT, WISH_ORDER, REWRITE_START, problem);
}

int verb_encrypt_status(const struct tool_options *options, struct problem *problem)
{
	return fulfil(options, SEAL_REWRITE_ENCRYPT, WISH_STATUS, REWRITE_START, problem);
}

int verb_encrypt_pause(const struct tool_options *options, struct problem *problem)
{
	return fulfil(options, SEAL_REWRITE_ENCRYPT, WISH_ORDER, REWRITE_PAUSE, problem);
}

int verb_encrypt_resume(const struct tool_options *options, struct problem *problem)
{
	return fulfil(options, SEAL_REWRITE_ENCRYPT, WISH_ORDER, REWRITE_RESUME, problem);
}

int verb_rekey(const struct tool_options *options, struct problem *problem)
{
	return fulfil(options, SEAL_REWRITE_REKEY, WISH_RUN, REWRITE_START, problem);
}

int verb_rekey_start(const struct tool_options *options, struct problem *problem)
{
	return fulfil(options, SEAL_REWRITE_REKEY, WISH_ORDER, REWRITE_START, problem);
}

int verb_rekey_status(const struct tool_options *options, struct problem *problem)
{
	return fulfil(options, SEAL_REWRITE_REKEY, WISH_STATUS, REWRITE_START, problem);
}

int verb_rekey_pause(const struct tool_options *options, struct problem *problem)
{
	return fulfil(options, SEAL_REWRITE_REKEY, WISH_ORDER, REWRITE_PAUSE, problem);
}

int verb_rekey_resume(const struct tool_options *options, struct problem *problem)
{
	return fulfil(options, SEAL_REWRITE_REKEY, WISH_ORDER, REWRITE_RESUME, problem);
}
