/* SPDX-License-Identifier: MIT */
/* attach --via nbd: the kernel's NBD client on the daemon's unix socket. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attach.h"
#include "attach_daemon.h"
#include "attach_device.h"
#include "nbd_dial.h"
#include "nbd_link.h"
#include "nbd_probe.h"
#include "udev_settle.h"

enum {
	/* See docs/attach.md, "When the daemon dies". */
	TIMEOUT_S = 120,
	DEAD_CONN_S = 300,
};

static const char device_format[] = "/dev/nbd%u";

/* ---- what is there ---- */

static int read_text(const char *path, char *ret_text, size_t text_bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, ret_text, text_bytes - 1);
	close(fd);
	if (n < 0)
		return -EIO;
	ret_text[n] = 0;
	return 0;
}

/* The disk /sys/block/@name, if it is one of ours. */
static bool look_at(const char *name, struct attached *ret_attached)
{
	struct attached found = { .via = &attach_via_nbd };
	char path[64], text[ATTACH_IDENTITY_BYTES + 1];
	unsigned int index;
	struct stat st;
	int end = 0;

	if (sscanf(name, "nbd%5u%n", &index, &end) != 1 || name[end])
		return false;
	snprintf(path, sizeof(path), "/sys/block/nbd%u/backend", index);
	if (read_text(path, text, sizeof(text)) < 0 || attachment_decode(text, &found.who) < 0)
		return false;
	snprintf(found.device, sizeof(found.device), device_format, index);
	if (stat(found.device, &st) == 0)
		found.number = st.st_rdev;
	*ret_attached = found;
	return true;
}

static int list(int (*see)(void *arg, const struct attached *attached), void *arg,
		struct problem *problem)
{
	DIR *blocks = opendir("/sys/block");
	const struct dirent *entry;
	struct attached attached;
	int r = 0;

	if (!blocks) {
		problem_set(problem, "folder", "/sys/block", "cannot be read: %s", strerror(errno));
		return -EIO;
	}
	/* cppcheck-suppress readdirCalled ; nobody else has this stream */
	while (r == 0 && (entry = readdir(blocks)))
		if (look_at(entry->d_name, &attached))
			r = see(arg, &attached);
	closedir(blocks);
	return r;
}

static unsigned int index_of(const struct attached *attached)
{
	unsigned int index = 0;

	sscanf(attached->device, device_format, &index);
	return index;
}

static const char *name_of(const struct attached *attached)
{
	return attached->device + strlen("/dev/");
}

/* ---- attaching ---- */

/* The kernel has a queue for each connection: more than processors are of no use. */
static unsigned int count_connections(const struct nbdc_export *export, unsigned int max)
{
	const long online = sysconf(_SC_NPROCESSORS_ONLN);

	if (!(export->transmission_flags & NBD_FLAG_CAN_MULTI_CONN) || online < 2)
		return 1;
	return online < (long)max ? (unsigned int)online : max;
}

static void hang_up(struct nbd_link_setup *setup)
{
	for (unsigned int i = 0; i < setup->nr_sockets; i++)
		close(setup->sockets[i]);
	setup->nr_sockets = 0;
}

static int dial_all(const struct attach_endpoint *endpoint, unsigned int max,
		    struct nbd_link_setup *setup, struct problem *problem)
{
	unsigned int nr = 1;
	int r = 0;

	for (unsigned int i = 0; i < nr && r == 0; i++) {
		r = nbd_dial(endpoint->socket, endpoint->export, &setup->sockets[i], &setup->export,
			     problem);
		if (r == 0)
			setup->nr_sockets++;
		if (i == 0)
			nr = count_connections(&setup->export, max);
	}
	return r;
}

static int refuse(const struct attach_job *job, int error, struct problem *problem)
{
	problem_set(problem, "image", job->path, "the kernel's nbd has refused it: %s%s",
		    strerror(-error), error == -EPERM ? " (are you root?)" : "");
	return error;
}

/* Otherwise it is not connected any more. */
static bool all_answer(const struct nbd_link *link, unsigned int index, unsigned int nr_connections)
{
	struct nbd_probe probe;
	bool answered;

	nbd_probe_begin(&probe, index, nr_connections);
	answered = nbd_probe_wait(&probe);
	if (!answered)
		nbd_link_disconnect(link, index);
	nbd_probe_end(&probe);
	return answered;
}

/* Returns -EAGAIN: it should be tried with one connection. */
static int connect_new(const struct nbd_link *link, const struct attach_job *job,
		       const struct nbd_link_setup *setup, struct attached *attached,
		       struct problem *problem)
{
	unsigned int index;
	char name[32];
	int r = nbd_link_connect(link, setup, &index);

	if (r < 0)
		return refuse(job, r, problem);
	if (setup->nr_sockets > 1 && !all_answer(link, index, setup->nr_sockets))
		return -EAGAIN;
	snprintf(name, sizeof(name), "nbd%u", index);
	if (look_at(name, attached) && attach_device_wait_usable(attached, setup->export.bytes))
		return 0;
	nbd_link_disconnect(link, index);
	problem_set(problem, "device", name,
		    "has not come up (Linux 5.14 or later, and /dev mounted?)");
	return -ENXIO;
}

static int reconnect(const struct nbd_link *link, const struct nbd_link_setup *setup,
		     const struct attached *attached, struct problem *problem)
{
	int r = nbd_link_reconnect(link, index_of(attached), setup);

	if (r == 0)
		return 0;
	if (r == -EINVAL)
		problem_set(problem, "device", attached->device,
			    "was detached while it was in use: close it everywhere first");
	else
		problem_set(problem, "device", attached->device, "cannot be connected anew: %s",
			    strerror(-r));
	return r;
}

static int connect_with(const struct nbd_link *link, const struct attach_job *job,
			const struct attach_endpoint *endpoint, unsigned int max_connections,
			struct attached *attached, struct problem *problem)
{
	struct nbd_link_setup setup = { .timeout_s = TIMEOUT_S, .dead_conn_s = DEAD_CONN_S };
	int r = dial_all(endpoint, max_connections, &setup, problem);

	attachment_encode(&job->who, setup.identity);
	if (r == 0)
		r = attached->via ? reconnect(link, &setup, attached, problem)
				  : connect_new(link, job, &setup, attached, problem);
	/* The kernel holds on to those that it has taken. */
	hang_up(&setup);
	return r;
}

/* @attached: empty, or what is there already. */
static int connect_device(const struct attach_job *job, const struct attach_endpoint *endpoint,
			  struct attached *attached, struct problem *problem)
{
	struct nbd_link link = { 0 };
	int r = nbd_link_open(&link, problem);

	if (r == 0) {
		r = connect_with(&link, job, endpoint, NBD_LINK_SOCKETS_MAX, attached, problem);
		if (r == -EAGAIN)
			r = connect_with(&link, job, endpoint, 1, attached, problem);
	}
	nbd_link_close(&link);
	return r;
}

/* Before a daemon is started for nothing. */
static int check_module(struct problem *problem)
{
	struct nbd_link link = { 0 };
	int r = nbd_link_open(&link, problem);

	nbd_link_close(&link);
	return r;
}

static int attach(const struct attach_job *job, const struct attached *before,
		  struct attached *ret_attached, struct problem *problem)
{
	struct attach_endpoint endpoint = { .export = "" };
	struct problem ignored;
	bool started = false;
	pid_t pid;
	int r = check_module(problem);

	if (r == 0)
		r = attach_daemon_find(job->path, &endpoint, problem);
	if (r == 0) {
		snprintf(endpoint.socket, sizeof(endpoint.socket), "%s", job->place->socket);
		r = attach_daemon_start(job, NULL, &pid, problem);
		started = r == 0;
	}
	if (r < 0)
		return r;
	*ret_attached = before ? *before : (struct attached){ 0 };
	r = connect_device(job, &endpoint, ret_attached, problem);
	if (r == 0)
		udev_settle(name_of(ret_attached));
	else if (started)
		attach_daemon_stop(job->place, &ignored);
	return r;
}

/* ---- detaching ---- */

static bool is_gone(const struct attached *attached, uint64_t unused)
{
	struct attached now;

	(void)unused;
	return !look_at(name_of(attached), &now);
}

static int detach(const struct attached *attached, bool force, struct problem *problem)
{
	struct nbd_link link = { 0 };
	int fd = -1;
	int r = nbd_link_open(&link, problem);

	if (r == 0 && !force)
		r = attach_device_claim(attached, &fd, problem);
	if (r == 0) {
		r = nbd_link_disconnect(&link, index_of(attached));
		if (r < 0)
			problem_set(problem, "device", attached->device,
				    "cannot be disconnected: %s", strerror(-r));
	}
	if (fd >= 0)
		close(fd);
	nbd_link_close(&link);
	if (r < 0)
		return r;
	/* Of one that is in use there is something left until it is no more. */
	if (!force && !attach_device_wait(is_gone, attached, 0)) {
		problem_set(problem, "device", attached->device,
			    "is disconnected, and still open somewhere");
		return -EBUSY;
	}
	udev_settle(name_of(attached));
	return 0;
}

const struct attach_via attach_via_nbd = {
	.name = "nbd",
	.list = list,
	.attach = attach,
	.detach = detach,
};
