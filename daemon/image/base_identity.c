/* SPDX-License-Identifier: MIT */
/* What an image records about its base, and the check: see base_identity.h. */
#include "image/base_identity.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sealblk/units.h"

_Static_assert(PATH_BYTES_MAX == PATH_MAX, "realpath() fills up to PATH_MAX bytes");

/* ---- paths ---- */

/* Joins with a slash. @folder: its first @folder_bytes. Returns 0 or -ENAMETOOLONG. */
static int join(const char *folder, size_t folder_bytes, const char *rest,
		char ret_path[PATH_BYTES_MAX])
{
	int bytes = snprintf(ret_path, PATH_BYTES_MAX, "%.*s/%s", (int)folder_bytes, folder, rest);

	return bytes < 0 || bytes >= PATH_BYTES_MAX ? -ENAMETOOLONG : 0;
}

/* The folder that holds @path, which need not exist itself; resolved. */
static int folder_of(const char *path, char ret_folder[PATH_BYTES_MAX])
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_BYTES_MAX] = ".";
	int rc;

	if (slash) {
		rc = join(path, (size_t)(slash - path), "", folder);
		if (rc < 0)
			return rc;
	}
	return realpath(folder, ret_folder) ? 0 : -errno;
}

/* How many bytes of two resolved absolute paths name the same folder, without its last slash. */
static size_t common_folder(const char *folder, const char *file)
{
	size_t common = 0;
	size_t i = 0;

	while (folder[i] && folder[i] == file[i]) {
		if (folder[i] == '/')
			common = i;
		i++;
	}
	return !folder[i] && file[i] == '/' ? i : common;
}

/* Both resolved and absolute; @folder is not "/" with more than one byte. */
static int relative_path(const char *folder, const char *file, char ret_path[PATH_BYTES_MAX])
{
	size_t common = common_folder(folder, file);
	const char *up = folder + common;
	char path[PATH_BYTES_MAX] = "";
	size_t bytes = 0;

	for (; *up; up++) {
		if (*up != '/' || !up[1])
			continue;
		if (bytes + 3 >= sizeof(path))
			return -ENAMETOOLONG;
		memcpy(path + bytes, "../", 3);
		bytes += 3;
	}
	if (bytes + strlen(file + common + 1) >= sizeof(path))
		return -ENAMETOOLONG;
	memcpy(path + bytes, file + common + 1, strlen(file + common + 1) + 1);
	memcpy(ret_path, path, sizeof(path));
	return 0;
}

static int take_paths(struct base_identity *identity, const char *path, const char *image_path)
{
	char folder[PATH_BYTES_MAX];
	int rc;

	if (strlen(path) >= sizeof(identity->path))
		return -ENAMETOOLONG;
	memcpy(identity->path, path, strlen(path) + 1);
	if (!realpath(path, identity->path_absolute))
		return -errno;
	rc = folder_of(image_path, folder);
	if (rc < 0)
		return rc;
	return relative_path(folder, identity->path_absolute, identity->path_relative);
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

int base_identity_find(const struct base_identity *identity, const char *image_path,
		       char ret_path[PATH_BYTES_MAX])
{
	char image[PATH_BYTES_MAX];
	char folder[PATH_BYTES_MAX];
	char path[PATH_BYTES_MAX];

	if (exists(identity->path_absolute)) {
		memcpy(ret_path, identity->path_absolute, sizeof(identity->path_absolute));
		return 0;
	}
	/* The folder that counts is the image's, not that of a link to it. */
	if (!realpath(image_path, image) || folder_of(image, folder) < 0)
		return -ENOENT;
	if (join(folder, strlen(folder), identity->path_relative, path) < 0 || !exists(path))
		return -ENOENT;
	memcpy(ret_path, path, sizeof(path));
	return 0;
}

/* ---- what the file is ---- */

static int take_hints(const struct base *base, int64_t *ret_mtime_ns, uint64_t *ret_inode)
{
	struct stat st;

	if (fstat(base->store.fd, &st) < 0)
		return -errno;
	*ret_mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	*ret_inode = st.st_ino;
	return 0;
}

/* All but the paths. */
static int take_content(struct base_identity *identity, const struct base *base, bool full)
{
	int rc;

	identity->format = base->format;
	identity->file_bytes = base->store.bytes;
	identity->disk_bytes = base->disk_bytes;
	if (base->format == BASE_VHD) {
		memcpy(identity->vhd_uuid, base->vhd.uuid, sizeof(identity->vhd_uuid));
		memcpy(identity->footer, base->footer, sizeof(identity->footer));
		identity->vhd_timestamp_s = base->vhd.created_s;
	}
	rc = take_hints(base, &identity->mtime_ns, &identity->inode);
	if (rc < 0)
		return rc;
	identity->digest_kind = full || base->store.bytes <= BASE_SAMPLED_ABOVE_BYTES
					? BASE_DIGEST_FULL
					: BASE_DIGEST_SAMPLED;
	return base_digest_compute(base, identity->digest_kind, identity->digest);
}

int base_identity_take(const struct base *base, const char *path, const char *image_path, bool full,
		       struct base_identity *ret_identity, struct problem *ret_problem)
{
	struct base_identity identity = { 0 };
	int rc;

	rc = take_paths(&identity, path, image_path);
	if (rc < 0) {
		problem_set(ret_problem, "base", path,
				 "its path or the image's cannot be recorded: %s", strerror(-rc));
		return rc;
	}
	rc = take_content(&identity, base, full);
	if (rc < 0) {
		problem_set(ret_problem, "base", path, "cannot be read: %s", strerror(-rc));
		return rc;
	}
	*ret_identity = identity;
	return 0;
}

/* ---- the check ---- */

static int check_sizes(const struct base_identity *was, const struct base *base, const char *path,
		       struct problem *ret_problem)
{
	if (base->format != was->format)
		problem_set(ret_problem, "base", path, "has changed: format is %s, was %s",
				 base_format_name(base->format), base_format_name(was->format));
	else if (base->store.bytes != was->file_bytes)
		problem_set(ret_problem, "base", path,
				 "has changed: size is %" PRIu64 ", was %" PRIu64 " bytes",
				 base->store.bytes, was->file_bytes);
	else if (base->disk_bytes != was->disk_bytes)
		problem_set(ret_problem, "base", path,
				 "has changed: disk size is %" PRIu64 ", was %" PRIu64 " bytes",
				 base->disk_bytes, was->disk_bytes);
	else
		return 0;
	return -ESTALE;
}

static int check_vhd(const struct base_identity *was, const struct base *base, const char *path,
		     struct problem *ret_problem)
{
	if (memcmp(base->vhd.uuid, was->vhd_uuid, sizeof(was->vhd_uuid)) != 0)
		problem_set(ret_problem, "base", path, "has changed: VHD unique id differs");
	else if (base->vhd.created_s != was->vhd_timestamp_s)
		problem_set(ret_problem, "base", path,
				 "has changed: VHD timestamp is %" PRIu32 ", was %" PRIu32,
				 base->vhd.created_s, was->vhd_timestamp_s);
	else if (memcmp(base->footer, was->footer, sizeof(was->footer)) != 0)
		problem_set(ret_problem, "base", path, "has changed: VHD footer differs");
	else
		return 0;
	return -ESTALE;
}

static int check_digest(const struct base_identity *was, const struct base *base, const char *path,
			struct problem *ret_problem)
{
	uint8_t digest[BASE_DIGEST_BYTES];
	int rc;

	rc = base_digest_compute(base, was->digest_kind, digest);
	if (rc < 0) {
		problem_set(ret_problem, "base", path, "cannot be read: %s", strerror(-rc));
		return rc;
	}
	if (memcmp(digest, was->digest, sizeof(digest)) == 0)
		return 0;
	problem_set(ret_problem, "base", path, "has changed: content differs: digest of %s",
			 was->digest_kind == BASE_DIGEST_SAMPLED ? "sampled sectors"
								 : "the whole file");
	return -ESTALE;
}

int base_identity_check(const struct base_identity *identity, const struct base *base,
			const char *path, bool *ret_touched, struct problem *ret_problem)
{
	int64_t mtime_ns = 0;
	uint64_t inode = 0;
	int rc;

	rc = check_sizes(identity, base, path, ret_problem);
	if (rc == 0 && base->format == BASE_VHD)
		rc = check_vhd(identity, base, path, ret_problem);
	if (rc == 0)
		rc = check_digest(identity, base, path, ret_problem);
	if (rc < 0)
		return rc;
	rc = take_hints(base, &mtime_ns, &inode);
	if (rc < 0) {
		problem_set(ret_problem, "base", path, "cannot be read: %s", strerror(-rc));
		return rc;
	}
	*ret_touched = inode == identity->inode && mtime_ns != identity->mtime_ns;
	return 0;
}
