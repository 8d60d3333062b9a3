/* SPDX-License-Identifier: MIT */
/*
 * attach --via dm: a device of the device mapper, target "sealblk" (kernel-shim/), and a
 * daemon of attach's own that serves it. The device is there first: the daemon opens the
 * node that comes with its table. Only then the table is put in force, and what udev
 * reads from the device is answered.
 */
#include <errno.h>
#include <inttypes.h>
#include <libdevmapper.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "attach.h"
#include "attach_daemon.h"
#include "attach_device.h"
#include "sealblk/units.h"

static const char target[] = "sealblk";

/* ---- libdevmapper ---- */

/* What it has to say goes into our one line, by way of the errno. */
static void say_nothing(int level, const char *file, int line, int error, const char *fmt, ...)
{
	(void)level;
	(void)file;
	(void)line;
	(void)error;
	(void)fmt;
}

static void task_freep(struct dm_task **task)
{
	if (*task)
		dm_task_destroy(*task);
}

/* A task for the device @name; NULL: no memory, or the device mapper is not there. */
static struct dm_task *new_task(int type, const char *name)
{
	struct dm_task *task;

	dm_log_with_errno_init(say_nothing);
	task = dm_task_create(type);
	if (task && name && !dm_task_set_name(task, name)) {
		dm_task_destroy(task);
		task = NULL;
	}
	return task;
}

/* Returns 0 or a negative errno. */
static int run_task(struct dm_task *task)
{
	int r = 0;

	if (!task)
		return -ENODEV;
	if (!dm_task_run(task))
		r = dm_task_get_errno(task) ? -dm_task_get_errno(task) : -EIO;
	/* It keeps /dev/mapper/control open, which a daemon would inherit. */
	dm_lib_release();
	return r;
}

static bool has_target(void)
{
	CLEANUP(task_freep) struct dm_task *task = new_task(DM_DEVICE_LIST_VERSIONS, NULL);
	const struct dm_versions *version;

	if (run_task(task) < 0)
		return false;
	version = dm_task_get_versions(task);
	while (strcmp(version->name, target) != 0 && version->next)
		version = (const void *)((const char *)version + version->next);
	return strcmp(version->name, target) == 0;
}

/* ---- what is there ---- */

/* The device @name, if it is one of ours. */
static bool look_at(const char *name, struct attached *ret_attached)
{
	CLEANUP(task_freep) struct dm_task *task = new_task(DM_DEVICE_INFO, name);
	struct attached found = { .via = &attach_via_dm };
	struct dm_info info;
	const char *identity;

	if (run_task(task) < 0 || !dm_task_get_info(task, &info) || !info.exists)
		return false;
	identity = dm_task_get_uuid(task);
	if (!identity || attachment_decode(identity, &found.who) < 0)
		return false;
	found.number = makedev(info.major, info.minor);
	snprintf(found.device, sizeof(found.device), "/dev/mapper/%s", found.who.name);
	*ret_attached = found;
	return true;
}

/* Without the device mapper there are none. */
static int list(int (*see)(void *arg, const struct attached *attached), void *arg,
		struct problem *problem)
{
	CLEANUP(task_freep) struct dm_task *task = NULL;
	const struct dm_names *names;
	struct attached attached;
	int r = 0;

	(void)problem;
	if (access("/dev/mapper/control", F_OK) < 0)
		return 0;
	task = new_task(DM_DEVICE_LIST, NULL);
	if (run_task(task) < 0)
		return 0;
	names = dm_task_get_names(task);
	while (r == 0 && names && names->dev) {
		if (look_at(names->name, &attached))
			r = see(arg, &attached);
		if (!names->next)
			break;
		names = (const void *)((const char *)names + names->next);
	}
	return r;
}

/* ---- attaching ---- */

/* Without a table. */
static int create(const struct attach_job *job)
{
	CLEANUP(task_freep) struct dm_task *task = new_task(DM_DEVICE_CREATE, job->who.name);
	char identity[ATTACH_IDENTITY_BYTES];

	attachment_encode(&job->who, identity);
	return task && !dm_task_set_uuid(task, identity) ? -ENOMEM : run_task(task);
}

/* Give it a table, not in force yet; with ours the daemon's node is there. */
static int load(const char *name, const char *type, const char *parameters, uint64_t nr_sectors)
{
	CLEANUP(task_freep) struct dm_task *task = new_task(DM_DEVICE_RELOAD, name);

	return task && !dm_task_add_target(task, 0, nr_sectors, type, parameters) ? -ENOMEM
										  : run_task(task);
}

/* Put the table in force, and wait for udev. */
static int resume(const char *name)
{
	CLEANUP(task_freep) struct dm_task *task = new_task(DM_DEVICE_RESUME, name);
	uint32_t cookie = 0;
	int r = task && !dm_task_set_cookie(task, &cookie, 0) ? -ENOMEM : run_task(task);

	dm_udev_wait(cookie);
	return r;
}

static int refuse_create(const struct attach_job *job, int error, struct problem *problem)
{
	if (access("/dev/mapper/control", F_OK) < 0 || !has_target())
		problem_set(problem, "kernel", "dm-sealblk",
			    "is not there: load the module first (modprobe dm-sealblk)");
	else
		problem_set(problem, "device", job->who.name, "cannot be made: %s%s",
			    strerror(-error),
			    error == -EBUSY			  ? " (the name is taken)"
			    : error == -EPERM || error == -EACCES ? " (are you root?)"
								  : "");
	return error;
}

/* @deferred: if it is open, as soon as it is no more. */
static int remove_device(const char *name, bool deferred)
{
	CLEANUP(task_freep) struct dm_task *task = new_task(DM_DEVICE_REMOVE, name);
	uint32_t cookie = 0;
	int r;

	/* udev may just be looking at it. */
	if (!task || !(deferred ? dm_task_deferred_remove(task) : dm_task_retry_remove(task)) ||
	    !dm_task_set_cookie(task, &cookie, 0))
		return -ENODEV;
	r = run_task(task);
	dm_udev_wait(cookie);
	return r;
}

static int serve(const struct attach_job *job, struct problem *problem)
{
	pid_t pid;

	return attach_daemon_start(job, job->who.name, &pid, problem);
}

static int refuse_served(const struct attach_job *job, struct problem *problem)
{
	problem_set(problem, "image", job->path,
		    "is served by a daemon that cannot take on a device: stop it first, or "
		    "attach --via nbd");
	return -EBUSY;
}

/* The device of @job is there, without a table. */
static int bring_up(const struct attach_job *job, struct attached *attached,
		    struct problem *problem)
{
	struct problem ignored;
	int r = load(job->who.name, target, job->who.name, bytes_to_sectors(job->disk_bytes));

	if (r < 0)
		return refuse_create(job, r, problem);
	r = serve(job, problem);
	if (r < 0)
		return r;
	r = resume(job->who.name);
	if (r == 0 && look_at(job->who.name, attached) &&
	    attach_device_wait_usable(attached, job->disk_bytes))
		return 0;
	problem_set(problem, "device", job->who.name, "has not come up");
	attach_daemon_stop(job->place, &ignored);
	return -ENXIO;
}

static int make_device(const struct attach_job *job, struct attached *attached,
		       struct problem *problem)
{
	int r = create(job);

	if (r < 0)
		return refuse_create(job, r, problem);
	r = bring_up(job, attached, problem);
	if (r < 0)
		remove_device(job->who.name, false);
	return r;
}

/* The device is there; perhaps an attach that was killed has not put its table in force. */
static int take_over(const struct attach_job *job, const struct attached *attached, bool served,
		     struct problem *problem)
{
	int r = served ? 0 : serve(job, problem);

	if (r < 0)
		return r;
	r = resume(job->who.name);
	if (r == 0 && attach_device_wait_usable(attached, job->disk_bytes))
		return 0;
	problem_set(problem, "device", attached->device, "cannot be used: detach it first");
	return -ENXIO;
}

static int attach(const struct attach_job *job, const struct attached *before,
		  struct attached *ret_attached, struct problem *problem)
{
	struct attach_endpoint endpoint;
	int served = attach_daemon_find(job->path, &endpoint, problem);

	if (served < 0 && served != -EADDRNOTAVAIL)
		return served;
	if (!before)
		return served ? refuse_served(job, problem)
			      : make_device(job, ret_attached, problem);
	*ret_attached = *before;
	return take_over(job, before, served != 0, problem);
}

/* ---- detaching ---- */

/* What is under way goes to the next table. */
static int suspend(const char *name)
{
	CLEANUP(task_freep) struct dm_task *task = new_task(DM_DEVICE_SUSPEND, name);

	return task && (!dm_task_no_flush(task) || !dm_task_skip_lockfs(task)) ? -ENOMEM
									       : run_task(task);
}

/* Whoever has it open gets errors from now on; nothing waits for a daemon any more. */
static int cut_off(const char *name)
{
	CLEANUP(task_freep) struct dm_task *task = new_task(DM_DEVICE_TABLE, name);
	uint64_t start = 0, nr_sectors = 0;
	char *type, *parameters;
	int r = run_task(task);

	if (r < 0)
		return r;
	dm_get_next_target(task, NULL, &start, &nr_sectors, &type, &parameters);
	r = load(name, "error", "", nr_sectors);
	if (r == 0)
		r = suspend(name);
	return r == 0 ? resume(name) : r;
}

static int detach(const struct attached *attached, bool force, struct problem *problem)
{
	int fd = -1;
	int r = force ? cut_off(attached->who.name) : attach_device_claim(attached, &fd, problem);

	if (r < 0 && !force)
		return r;
	if (fd >= 0)
		close(fd);
	if (r == 0)
		r = remove_device(attached->who.name, force);
	if (r < 0)
		problem_set(problem, "device", attached->device, "cannot be removed: %s",
			    strerror(-r));
	return r;
}

const struct attach_via attach_via_dm = {
	.name = "dm",
	.list = list,
	.attach = attach,
	.detach = detach,
};
