/* SPDX-License-Identifier: MIT */
/* The folder of an attached image: see attach_place.h. */
#include "attach_place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/runtime.h"

static int make_folder(const char *path)
{
	return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

/* Returns -ESTALE when the folder was removed before it could be locked. */
static int lock_folder(const char *path, int *ret_fd)
{
	struct stat st;
	int r = make_folder(path);
	int fd = r == 0 ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) : -1;

	if (fd < 0)
		return r < 0 ? r : errno == ENOENT ? -ESTALE : -errno;
	if (flock(fd, LOCK_EX) < 0 || fstat(fd, &st) < 0)
		r = -errno;
	else if (st.st_nlink == 0)
		r = -ESTALE;
	if (r < 0)
		close(fd);
	else
		*ret_fd = fd;
	return r;
}

static void fill_paths(struct attach_place *place, const char *directory, const char *uuid)
{
	snprintf(place->folder, sizeof(place->folder), "%s/attach/%s", directory, uuid);
	snprintf(place->socket, sizeof(place->socket), "%s/attach/%s/nbd", directory, uuid);
	snprintf(place->log, sizeof(place->log), "%s/attach/%s/log", directory, uuid);
}

int attach_place_open(struct attach_place *place, const char *uuid, struct problem *problem)
{
	char parent[PATH_BYTES_MAX];
	struct runtime runtime;
	int r = runtime_init(&runtime, true, problem);

	*place = (struct attach_place){ .fd = -1 };
	if (r < 0)
		return r;
	snprintf(parent, sizeof(parent), "%s/attach", runtime.directory);
	fill_paths(place, runtime.directory, uuid);
	r = make_folder(parent);
	if (r == 0) {
		do {
			r = lock_folder(place->folder, &place->fd);
		} while (r == -ESTALE);
	}
	if (r < 0)
		problem_set(problem, "folder", place->folder, "cannot be made and locked: %s",
			    strerror(-r));
	return r;
}

void attach_place_clear(const struct attach_place *place)
{
	unlink(place->socket);
	unlink(place->log);
}

void attach_place_close(struct attach_place *place)
{
	if (place->fd < 0)
		return;
	rmdir(place->folder);
	close(place->fd);
	place->fd = -1;
}
