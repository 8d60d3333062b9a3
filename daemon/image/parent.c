/* SPDX-License-Identifier: MIT */
/* From a differencing VHD or VHDX to its parent: see parent.h. */
#include "image/parent.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "image/path.h"
#include "vhd/locator.h"
#include "vhd/vhdx_guid.h"

/* ---- the check ---- */

/* In a VHD's seconds; before their beginning: 0. */
static int modified_s(const struct layer *layer, uint32_t *ret_s)
{
	struct stat st;

	if (fstat(layer->store.fd, &st) < 0)
		return -errno;
	*ret_s = st.st_mtim.tv_sec > VHD_EPOCH_S ? (uint32_t)(st.st_mtim.tv_sec - VHD_EPOCH_S) : 0;
	return 0;
}

static int check_timestamp(const struct layer *parent, const struct layer *child,
			   struct problem *ret_problem)
{
	uint32_t was_s = child->dynamic.parent_modified_s;
	uint32_t file_s = 0;
	int r;

	if (parent->vhd.created_s == was_s)
		return 0;
	r = modified_s(parent, &file_s);
	if (r < 0) {
		problem_set(ret_problem, "base", parent->path, "cannot be read: %s", strerror(-r));
		return r;
	}
	if (file_s == was_s)
		return 0;
	problem_set(ret_problem, "base", parent->path,
		    "has changed since %s was made from it: timestamp is %" PRIu32
		    " (of the file: %" PRIu32 "), was %" PRIu32,
		    child->path, parent->vhd.created_s, file_s, was_s);
	return -ESTALE;
}

int parent_check(const struct layer *parent, const struct layer *child, struct problem *ret_problem)
{
	uint64_t parent_bytes = parent->vhd.current_bytes;
	uint64_t child_bytes = child->vhd.current_bytes;

	if (memcmp(parent->vhd.uuid, child->dynamic.parent_uuid, VHD_UUID_BYTES) != 0) {
		problem_set(ret_problem, "base", parent->path,
			    "is not the parent of %s: its unique id is another", child->path);
		return -ESTALE;
	}
	if (parent_bytes != child_bytes) {
		problem_set(ret_problem, "base", parent->path,
			    "is %s than its child %s: %" PRIu64 " bytes of disk, not %" PRIu64,
			    parent_bytes < child_bytes ? "smaller" : "larger", child->path,
			    parent_bytes, child_bytes);
		return -EINVAL;
	}
	return check_timestamp(parent, child, ret_problem);
}

int parent_check_vhdx(const struct layer *parent, const struct layer *child,
		      struct problem *ret_problem)
{
	const struct vhdx_parent *wanted = &child->vhdx->parent;
	const uint8_t *id = parent->vhdx->info.data_write_id;
	const uint32_t parent_bytes = parent->vhdx->metadata.logical_bytes;
	const uint32_t child_bytes = child->vhdx->metadata.logical_bytes;

	if (!vhdx_guid_is(id, wanted->linkage) &&
	    !(wanted->has_linkage2 && vhdx_guid_is(id, wanted->linkage2))) {
		problem_set(ret_problem, "base", parent->path,
			    "is not the parent of %s, or has changed since: its data write id is "
			    "another",
			    child->path);
		return -ESTALE;
	}
	if (parent_bytes == child_bytes)
		return 0;
	problem_set(ret_problem, "base", parent->path,
		    "has logical sectors of %" PRIu32 " bytes, its child %s of %" PRIu32,
		    parent_bytes, child->path, child_bytes);
	return -EINVAL;
}

/* ---- the way to it ---- */

static int open_directly(void *arg, const char *path, int *ret_fd)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	(void)arg;
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

const struct base_opener base_opener_direct = { .open_file = open_directly };

/* The path that @locator holds. Returns 0, or -EINVAL: none that can be followed here. */
static int read_locator(const struct layer *child, const struct vhd_locator *locator,
			char ret_path[PATH_BYTES_MAX])
{
	uint8_t bytes[VHD_LOCATOR_BYTES_MAX];
	char path[PATH_BYTES_MAX];
	uint32_t nr_bytes = be32_get(locator->data_bytes);
	uint64_t offset = be64_get(locator->data_offset);

	if (nr_bytes > sizeof(bytes) || offset > child->store.bytes ||
	    layer_read(&child->store, offset, bytes, nr_bytes) < 0 ||
	    vhd_locator_path(bytes, nr_bytes, path) < 0)
		return -EINVAL;
	if (be32_get(locator->platform) == VHD_PLATFORM_RELATIVE)
		return path_beside(child->path, path, ret_path) < 0 ? -EINVAL : 0;
	if (path[0] != '/') /* "C:/...": of another system */
		return -EINVAL;
	memcpy(ret_path, path, sizeof(path));
	return 0;
}

/* The search so far: the parent, or the problem to tell when there is none. */
struct search {
	const struct layer *child;
	const struct base_opener *opener;
	struct layer *parent;
	int result; /* -ENOENT: no file was there */
	struct problem *problem;
};

static int try_path(const struct search *search, const char *path, struct layer **ret_parent,
		    struct problem *problem)
{
	int fd = -1;
	int r = search->opener->open_file(search->opener->arg, path, &fd);

	if (r == 0)
		return layer_open(fd, path, search->child->format, search->child, ret_parent,
				  problem);
	if (r == -ENOENT || r == -ENOTDIR) {
		problem_set(problem, "base", search->child->path, "its parent %s is missing", path);
		return -ENOENT;
	}
	problem_set(problem, "base", path, "cannot be opened: %s", strerror(-r));
	return r;
}

/* A file that was there, and was not the parent, says more than one that is missing. */
static bool says_more(const struct search *search, int result)
{
	return search->result == -ENOENT && (result != -ENOENT || search->problem->text[0] == 0);
}

static void follow(struct search *search, const char *path)
{
	struct problem problem = { 0 };
	int r = try_path(search, path, &search->parent, &problem);

	if (r < 0 && !says_more(search, r))
		return;
	search->result = r;
	*search->problem = problem;
}

/* Follow the locators of @platform until the parent is found. */
static void try_locators(struct search *search, uint32_t platform)
{
	for (unsigned int i = 0; i < VHD_LOCATORS && search->result < 0; i++) {
		const struct vhd_locator *locator = &search->child->dynamic.locators[i];
		char path[PATH_BYTES_MAX];

		if (be32_get(locator->platform) == platform &&
		    read_locator(search->child, locator, path) == 0)
			follow(search, path);
	}
}

static void try_vhdx_paths(struct search *search)
{
	const struct vhdx_parent *parent = &search->child->vhdx->parent;
	char path[PATH_BYTES_MAX];

	if (parent->relative_path[0] &&
	    path_beside(search->child->path, parent->relative_path, path) == 0)
		follow(search, path);
	/* "//?/C:/..." and "//?/server/share/..." are of another system. */
	if (search->result < 0 && parent->absolute_path[0] == '/' &&
	    parent->absolute_path[1] != '/')
		follow(search, parent->absolute_path);
}

int parent_open(const struct layer *child, const struct base_opener *opener,
		struct layer **ret_parent, struct problem *ret_problem)
{
	struct search search = {
		.child = child,
		.opener = opener,
		.result = -ENOENT,
		.problem = ret_problem,
	};

	ret_problem->text[0] = 0;
	if (child->vhdx) {
		try_vhdx_paths(&search);
	} else {
		try_locators(&search, VHD_PLATFORM_RELATIVE);
		try_locators(&search, VHD_PLATFORM_ABSOLUTE);
	}
	if (search.result < 0) {
		if (ret_problem->text[0] == 0)
			problem_set(ret_problem, "base", child->path,
				    "no locator of its parent can be followed here");
		return search.result;
	}
	*ret_parent = search.parent;
	return 0;
}
