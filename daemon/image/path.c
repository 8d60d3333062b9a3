/* SPDX-License-Identifier: MIT */
/* Paths of files beside other files: see path.h. */
#include "image/path.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

_Static_assert(PATH_BYTES_MAX == PATH_MAX, "realpath() fills up to PATH_MAX bytes");

int path_join(const char *folder, size_t folder_bytes, const char *rest,
	      char ret_path[PATH_BYTES_MAX])
{
	char path[PATH_BYTES_MAX];
	int bytes = snprintf(path, sizeof(path), "%.*s/%s", (int)folder_bytes, folder, rest);

	if (bytes < 0 || bytes >= PATH_BYTES_MAX)
		return -ENAMETOOLONG;
	memcpy(ret_path, path, (size_t)bytes + 1);
	return 0;
}

int path_folder(const char *path, char ret_folder[PATH_BYTES_MAX])
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_BYTES_MAX] = ".";
	int r;

	if (slash) {
		r = path_join(path, (size_t)(slash - path), "", folder);
		if (r < 0)
			return r;
	}
	return realpath(folder, ret_folder) ? 0 : -errno;
}

int path_beside(const char *path, const char *relative, char ret_path[PATH_BYTES_MAX])
{
	char resolved[PATH_BYTES_MAX];
	const char *slash;

	if (realpath(path, resolved))
		path = resolved;
	slash = strrchr(path, '/');
	if (!slash)
		return path_join(".", 1, relative, ret_path);
	return path_join(path, (size_t)(slash - path), relative, ret_path);
}

bool path_ends_in(const char *path, const char *suffix)
{
	const size_t length = strlen(path), end = strlen(suffix);

	return length > end && strcasecmp(path + length - end, suffix) == 0;
}

int path_sync_folder(const char *path)
{
	char copy[PATH_BYTES_MAX];
	int fd, r;

	snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return r;
}
