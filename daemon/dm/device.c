/* SPDX-License-Identifier: MIT */
/* Opening and closing devices of dm-sealblk: see device.h. */
#include "dm/device.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/log.h"
#include "server.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

static int find_export(const struct server *server, const char *name)
{
	for (unsigned int i = 0; i < server->nr_exports; i++)
		if (strcmp(server->exports[i].name, name) == 0)
			return (int)i;
	return -ENOENT;
}

static int open_node(struct dm_device *device, struct problem *problem)
{
	char path[sizeof(SHIM_FOLDER) + SHIM_NAME_BYTES_MAX];
	int r;

	snprintf(path, sizeof(path), SHIM_FOLDER "%s", device->name);
	device->fd = open(path, O_RDWR | O_CLOEXEC);
	if (device->fd >= 0)
		return 0;
	r = -errno;
	if (r == -ENOENT)
		problem_set(problem, "device", device->name,
			    "%s is not there: load a table with the target sealblk first", path);
	else
		problem_set(problem, "device", device->name, "%s cannot be opened: %s", path,
			    r == -EBUSY ? "another daemon serves it" : strerror(-r));
	return r;
}

/* Says what is served, and learns how it is to be done. */
static int introduce(const struct server *server, struct dm_device *device, struct problem *problem)
{
	const uint64_t sectors = server->images[device->export]->disk.nr_sectors;
	struct shim_start start = {
		.abi_version = SHIM_ABI_VERSION,
		.flags = server->options->read_only ? SHIM_START_READ_ONLY : 0,
		.disk_sectors = sectors,
	};
	int r = ioctl(device->fd, SHIM_IOC_START, &start) < 0 ? -errno : 0;

	/* The rings have been told to expect no more. */
	if (r == 0 && (start.queue_depth == 0 || start.queue_depth > SHIM_QUEUE_DEPTH_MAX))
		r = -EPROTO;
	device->queue_depth = start.queue_depth;
	device->max_io_bytes = start.max_io_bytes;
	if (r == -EPROTONOSUPPORT)
		problem_set(problem, "device", device->name,
			    "the module dm-sealblk speaks version %u, and this daemon %u",
			    start.abi_version, SHIM_ABI_VERSION);
	else if (r == -ERANGE)
		problem_set(problem, "device", device->name,
			    "its table has %llu sectors, and the image %llu",
			    (unsigned long long)start.disk_sectors, (unsigned long long)sectors);
	else if (r == -EROFS)
		problem_set(problem, "device", device->name,
			    "it is writable, and the image is not: make it with --readonly");
	else if (r < 0)
		problem_set(problem, "device", device->name, "cannot be served: %s", strerror(-r));
	return r;
}

static int map_part(const struct dm_device *device, int protection, uint64_t at, size_t bytes,
		    void **ret_part)
{
	void *part = mmap(NULL, bytes, protection, MAP_SHARED, device->fd, (off_t)at);

	if (part == MAP_FAILED)
		return -errno;
	*ret_part = part;
	return 0;
}

static size_t requests_bytes(const struct dm_device *device)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	const size_t bytes = device->queue_depth * sizeof(struct shim_request);

	return (bytes + page - 1) / page * page;
}

static size_t data_bytes(const struct dm_device *device)
{
	return device->queue_depth * (size_t)device->max_io_bytes;
}

static int map(struct dm_device *device, struct problem *problem)
{
	void *requests = NULL, *data = NULL;
	int r = map_part(device, PROT_READ, SHIM_MAP_REQUESTS, requests_bytes(device), &requests);

	if (r == 0)
		r = map_part(device, PROT_READ | PROT_WRITE, SHIM_MAP_DATA, data_bytes(device),
			     &data);
	device->requests = requests;
	device->data = data;
	if (r == 0) {
		assert(device->queue_depth > 0);
		device->tags = calloc(device->queue_depth, sizeof(*device->tags));
		r = device->tags ? 0 : -ENOMEM;
	}
	if (r < 0)
		problem_set(problem, "device", device->name, "cannot be mapped: %s", strerror(-r));
	return r;
}

static int open_device(struct server *server, const struct dm_option *option,
		       struct dm_device *device, struct problem *problem)
{
	const int number = find_export(server, option->export);
	int r;

	device->name = option->name;
	if (number < 0) {
		problem_set(problem, "device", device->name, "there is no export \"%s\"",
			    option->export);
		return number;
	}
	device->export = (unsigned int)number;
	r = open_node(device, problem);
	if (r == 0)
		r = introduce(server, device, problem);
	return r < 0 ? r : map(device, problem);
}

/*
 * Memory may be short because pages wait to be written to our devices: we must not wait
 * for that in turn. Threads to come inherit it.
 */
static void declare_flusher(void)
{
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) < 0)
		log_line(LOG_LEVEL_WARNING,
			 "cannot tell the kernel that block devices depend on this daemon: %s; "
			 "when memory is short it may wait for itself",
			 strerror(errno));
}

int dm_open_all(struct server *server, struct problem *problem)
{
	const struct options *options = server->options;

	if (options->nr_dms == 0)
		return 0;
	server->dms = calloc(options->nr_dms, sizeof(*server->dms));
	if (!server->dms) {
		problem_set(problem, "device", options->dms[0].name, "no memory");
		return -ENOMEM;
	}
	declare_flusher();
	for (unsigned int i = 0; i < options->nr_dms; i++) {
		int r;

		server->dms[i].fd = -1;
		r = open_device(server, &options->dms[i], &server->dms[i], problem);
		server->nr_dms++;
		if (r < 0)
			return r;
	}
	return 0;
}

void dm_close_all(struct server *server)
{
	for (unsigned int i = 0; i < server->nr_dms; i++) {
		if (server->dms[i].fd >= 0)
			close(server->dms[i].fd);
		server->dms[i].fd = -1;
	}
}

void dm_free_all(struct server *server)
{
	for (unsigned int i = 0; i < server->nr_dms; i++) {
		struct dm_device *device = &server->dms[i];

		if (device->requests)
			munmap((void *)(uintptr_t)device->requests, requests_bytes(device));
		if (device->data)
			munmap(device->data, data_bytes(device));
		free(device->tags);
	}
	free(server->dms);
	server->dms = NULL;
	server->nr_dms = 0;
}
