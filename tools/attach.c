/* SPDX-License-Identifier: MIT */
/* sealblk attach and detach: see attach.h. */
#include "attach.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "attach_daemon.h"
#include "attach_options.h"
#include "attach_place.h"
#include "base/uuid.h"
#include "keys.h"
#include "print.h"
#include "reach.h"
#include "verbs.h"

enum { BARRIER_US = 5 * 1000000 };

static const struct attach_via *const vias[] = { &attach_via_nbd, &attach_via_dm };

const char *attach_option_via(struct tool_options *options, const char *value)
{
	for (size_t i = 0; i < ARRAY_LEN(vias); i++)
		if (strcmp(value, vias[i]->name) == 0)
			options->via = vias[i];
	return options->via ? NULL : "neither nbd nor dm";
}

/* ---- finding ---- */

/* What is looked for; an empty one counts for nothing. */
struct wanted {
	const char *uuid;
	const char *name;
	dev_t number;
	struct attached *ret_attached;
};

static int see_device(void *arg, const struct attached *attached)
{
	const struct wanted *wanted = arg;

	if (!(wanted->uuid && strcmp(wanted->uuid, attached->who.uuid) == 0) &&
	    !(wanted->name && strcmp(wanted->name, attached->who.name) == 0) &&
	    !(wanted->number && wanted->number == attached->number))
		return 0;
	*wanted->ret_attached = *attached;
	return 1;
}

/* Returns 1, 0: there is none, or a negative errno with *problem. */
static int find_device(struct wanted wanted, struct problem *problem)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(vias) && r == 0; i++)
		r = vias[i]->list(see_device, &wanted, problem);
	return r;
}

/* ---- attach ---- */

int verb_attach_check(const struct tool_options *options, struct problem *problem)
{
	if (options->nr_key_sources > 1)
		return tool_check_key(options, problem);
	if (options->second && !attachment_name_is_good(options->second)) {
		tool_usage_problem(problem, options->verb,
				   "%s is no name for a device: letters, digits and \"._-\", at "
				   "most %d",
				   options->second, ATTACH_NAME_BYTES_MAX);
		return -EINVAL;
	}
	return 0;
}

static int name_device(struct attach_job *job, struct problem *problem)
{
	const char *given = job->options->second;

	if (given) {
		memcpy(job->who.name, given, strlen(given) + 1);
		return 0;
	}
	if (attachment_default_name(job->options->image, job->who.name) == 0)
		return 0;
	problem_set(problem, "image", job->options->image,
		    "its name is no name for a device: give one behind it");
	return -EINVAL;
}

static int look_at_image(struct attach_job *job, struct problem *problem)
{
	struct seal_superblock super;
	int r = reach_read_super(job->options->image, &super, problem);

	if (r < 0)
		return r;
	if (!realpath(job->options->image, job->path)) {
		problem_set(problem, "image", job->options->image, "cannot be found: %s",
			    strerror(errno));
		return -ENOENT;
	}
	job->disk_bytes = le64_get(super.disk_bytes);
	uuid_to_text(super.uuid, job->who.uuid);
	return name_device(job, problem);
}
_Static_assert(PATH_MAX <= PATH_BYTES_MAX, "a path fits");

static int refuse_other(const struct attach_job *job, const struct attached *there,
			struct problem *problem)
{
	if (job->options->via && job->options->via != there->via) {
		problem_set(problem, "image", job->options->image,
			    "is attached as %s, via %s: detach it first", there->device,
			    there->via->name);
		return -EEXIST;
	}
	if (job->options->second && strcmp(job->who.name, there->who.name) != 0) {
		problem_set(problem, "image", job->options->image,
			    "is attached as %s, by the name of %s: detach it first", there->device,
			    there->who.name);
		return -EEXIST;
	}
	return 0;
}

static int refuse_taken_name(const struct attach_job *job, struct problem *problem)
{
	struct attached other;
	int r = find_device((struct wanted){ .name = job->who.name, .ret_attached = &other },
			    problem);

	if (r <= 0)
		return r;
	problem_set(problem, "image", job->options->image,
		    "%s has the name %s already: give another one behind the image", other.device,
		    job->who.name);
	return -EEXIST;
}

/*
 * In a unit of Type=notify: the daemon is the service, not this process, which ends now.
 * It ends only when systemd has taken that in, or else it would take the service for ended.
 */
static void tell_systemd(const struct attach_job *job, const struct attached *attached)
{
	const pid_t daemon = attach_daemon_pid(job->place);

	/* In one message: when the first half has been taken in, we are not the main process. */
	if (daemon > 0)
		sd_notifyf(0, "READY=1\nSTATUS=Attached as %s\nMAINPID=%ld", attached->device,
			   (long)daemon);
	else
		sd_notifyf(0, "READY=1\nSTATUS=Attached as %s", attached->device);
	sd_notify_barrier(0, BARRIER_US);
}

/* With the image's place locked. */
static int attach_locked(struct attach_job *job, struct problem *problem)
{
	struct attached there, attached;
	int found = find_device((struct wanted){ .uuid = job->who.uuid, .ret_attached = &there },
				problem);
	const struct attach_via *via = job->options->via ? job->options->via : vias[0];
	int r = found < 0    ? found
		: found == 1 ? refuse_other(job, &there, problem)
			     : refuse_taken_name(job, problem);

	/* The name that it has, where another would be the default. */
	if (found == 1)
		job->who = there.who;
	if (r == 0 && found)
		r = there.via->attach(job, &there, &attached, problem);
	else if (r == 0)
		r = via->attach(job, NULL, &attached, problem);
	if (r == 0) {
		printf("%s\n", attached.device);
		tell_systemd(job, &attached);
	}
	return r;
}

int verb_attach(const struct tool_options *options, struct problem *problem)
{
	CLEANUP(attach_place_close) struct attach_place place = { .fd = -1 };
	struct attach_job job = { .options = options, .place = &place };
	int r = look_at_image(&job, problem);

	if (r == 0)
		r = attach_place_open(&place, job.who.uuid, problem);
	return r == 0 ? attach_locked(&job, problem) : r;
}

/* ---- detach ---- */

/* *ret_uuid: of what @operand names, a device, an image or a name. As find_device(). */
static int find_operand(const char *operand, char ret_uuid[UUID_TEXT_BYTES],
			struct problem *problem)
{
	const bool is_there = access(operand, F_OK) == 0;
	struct wanted wanted = { 0 };
	struct seal_superblock super;
	struct attached attached = { 0 };
	struct problem ignored;
	struct stat st;
	int r;

	if (is_there && stat(operand, &st) == 0 && S_ISBLK(st.st_mode))
		wanted.number = st.st_rdev;
	else if (is_there && reach_read_super(operand, &super, &ignored) == 0) {
		uuid_to_text(super.uuid, ret_uuid);
		return 1;
	} else {
		wanted.name = operand;
	}
	wanted.ret_attached = &attached;
	r = find_device(wanted, problem);
	if (r == 1)
		memcpy(ret_uuid, attached.who.uuid, UUID_TEXT_BYTES);
	return r;
}

/* With the image's place locked. Returns 1; 0: there was nothing; or a negative errno. */
static int detach_locked(const struct tool_options *options, const struct attach_place *place,
			 const char *uuid, struct problem *problem)
{
	struct attached attached;
	int found =
		find_device((struct wanted){ .uuid = uuid, .ret_attached = &attached }, problem);
	int r = found == 1 ? attached.via->detach(&attached, options->force, problem) : found;
	int stopped = r == 0 ? attach_daemon_stop(place, problem) : r;

	return stopped < 0 ? stopped : found || stopped;
}

int verb_detach(const struct tool_options *options, struct problem *problem)
{
	CLEANUP(attach_place_close) struct attach_place place = { .fd = -1 };
	char uuid[UUID_TEXT_BYTES];
	int r = find_operand(options->image, uuid, problem);

	if (r == 1) {
		r = attach_place_open(&place, uuid, problem);
		if (r == 0)
			r = detach_locked(options, &place, uuid, problem);
	}
	if (r < 0)
		return r;
	if (r == 0) {
		print_text(stdout, options->image);
		printf(" is not attached\n");
	}
	return 0;
}
