/* SPDX-License-Identifier: MIT */
/* What an image records about its base, and the check: see base_identity.h. */
#include "image/base_identity.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/base_own.h"
#include "image/path.h"
#include "sealblk/units.h"
#include "vhd/vhdx_guid.h"

/* ---- paths ---- */

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
	rc = path_folder(image_path, folder);
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
	char path[PATH_BYTES_MAX];

	if (exists(identity->path_absolute)) {
		memcpy(ret_path, identity->path_absolute, sizeof(identity->path_absolute));
		return 0;
	}
	if (path_beside(image_path, identity->path_relative, path) < 0 || !exists(path))
		return -ENOENT;
	memcpy(ret_path, path, sizeof(path));
	return 0;
}

/* ---- what the file is ---- */

static int take_hints(const struct base *base, int64_t *ret_mtime_ns, uint64_t *ret_inode)
{
	struct stat st;

	if (fstat(base_store(base)->fd, &st) < 0)
		return -errno;
	*ret_mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	*ret_inode = st.st_ino;
	return 0;
}

static void take_vhdx_ids(const struct layer *layer, uint8_t ret_disk_id[VHDX_GUID_BYTES],
			  uint8_t ret_data_write_id[VHDX_GUID_BYTES])
{
	if (layer->format != BASE_VHDX)
		return;
	memcpy(ret_disk_id, layer->vhdx->metadata.disk_id, VHDX_GUID_BYTES);
	memcpy(ret_data_write_id, layer->vhdx->info.data_write_id, VHDX_GUID_BYTES);
}

static int take_digest(const struct store *store, bool full, enum base_digest_kind *ret_kind,
		       uint8_t ret_digest[BASE_DIGEST_BYTES])
{
	*ret_kind = full || store->bytes <= BASE_SAMPLED_ABOVE_BYTES ? BASE_DIGEST_FULL
								     : BASE_DIGEST_SAMPLED;
	return base_digest_compute(store, *ret_kind, ret_digest);
}

static int take_parent(const struct layer *layer, bool full,
		       struct base_parent_identity *ret_parent)
{
	if (layer->format == BASE_VHD) {
		memcpy(ret_parent->vhd_uuid, layer->vhd.uuid, sizeof(ret_parent->vhd_uuid));
		ret_parent->vhd_timestamp_s = layer->vhd.created_s;
	}
	take_vhdx_ids(layer, ret_parent->vhdx_disk_id, ret_parent->vhdx_data_write_id);
	ret_parent->file_bytes = layer->store.bytes;
	return take_digest(&layer->store, full, &ret_parent->digest_kind, ret_parent->digest);
}

/* All but the paths. */
static int take_content(struct base_identity *identity, const struct base *base, bool full)
{
	const struct layer *top = base->layers[0];
	int rc;

	identity->format = base->format;
	identity->file_bytes = top->store.bytes;
	identity->disk_bytes = base->disk_bytes;
	if (base->format == BASE_VHD) {
		memcpy(identity->vhd_uuid, top->vhd.uuid, sizeof(identity->vhd_uuid));
		memcpy(identity->footer, top->footer, sizeof(identity->footer));
		identity->vhd_timestamp_s = top->vhd.created_s;
	}
	take_vhdx_ids(top, identity->vhdx_disk_id, identity->vhdx_data_write_id);
	rc = take_hints(base, &identity->mtime_ns, &identity->inode);
	if (rc == 0)
		rc = take_digest(&top->store, full, &identity->digest_kind, identity->digest);
	for (unsigned int i = 1; i < base->nr_layers && rc == 0; i++)
		rc = take_parent(base->layers[i], full, &identity->parents[identity->nr_parents++]);
	return rc;
}

/* Its sectors go as that image is written. */
static int refuse_owned(const struct base *base, struct problem *ret_problem)
{
	for (unsigned int i = 0; i < base->nr_layers; i++) {
		if (!base->layers[i]->is_owned)
			continue;
		problem_set(ret_problem, "base", base->layers[i]->path,
			    "belongs to an image already, made with --own-base");
		return -EINVAL;
	}
	return 0;
}

int base_identity_take(const struct base *base, const char *path, const char *image_path, bool full,
		       struct base_identity *ret_identity, struct problem *ret_problem)
{
	struct base_identity identity = { 0 };
	int rc = refuse_owned(base, ret_problem);

	if (rc < 0)
		return rc;
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
	uint64_t file_bytes = base_store(base)->bytes;

	if (base->format != was->format)
		problem_set(ret_problem, "base", path, "has changed: format is %s, was %s",
			    base_format_name(base->format), base_format_name(was->format));
	else if (file_bytes != was->file_bytes)
		problem_set(ret_problem, "base", path,
			    "has changed: size is %" PRIu64 ", was %" PRIu64 " bytes", file_bytes,
			    was->file_bytes);
	else if (base->disk_bytes != was->disk_bytes)
		problem_set(ret_problem, "base", path,
			    "has changed: disk size is %" PRIu64 ", was %" PRIu64 " bytes",
			    base->disk_bytes, was->disk_bytes);
	else
		return 0;
	return -ESTALE;
}

/* What every VHD of a chain has. @path: for messages. */
static int check_vhd(const struct layer *layer, const uint8_t was_uuid[VHD_UUID_BYTES],
		     uint32_t was_s, const char *path, struct problem *ret_problem)
{
	if (memcmp(layer->vhd.uuid, was_uuid, VHD_UUID_BYTES) != 0 && layer->is_owned)
		problem_set(ret_problem, "base", path,
			    "has changed: it belongs to another image now, VHD unique id differs");
	else if (memcmp(layer->vhd.uuid, was_uuid, VHD_UUID_BYTES) != 0)
		problem_set(ret_problem, "base", path, "has changed: VHD unique id differs");
	else if (layer->vhd.created_s != was_s)
		problem_set(ret_problem, "base", path,
			    "has changed: VHD timestamp is %" PRIu32 ", was %" PRIu32,
			    layer->vhd.created_s, was_s);
	else
		return 0;
	return -ESTALE;
}

static int check_top_vhd(const struct base_identity *was, const struct base *base, const char *path,
			 struct problem *ret_problem)
{
	const struct layer *top = base->layers[0];
	int rc = check_vhd(top, was->vhd_uuid, was->vhd_timestamp_s, path, ret_problem);

	if (rc < 0 || memcmp(top->footer, was->footer, sizeof(was->footer)) == 0)
		return rc;
	problem_set(ret_problem, "base", path, "has changed: VHD footer differs");
	return -ESTALE;
}

/* What every VHDX of a chain has. @path: for messages. */
static int check_vhdx(const struct layer *layer, const uint8_t was_disk_id[VHDX_GUID_BYTES],
		      const uint8_t was_data_write_id[VHDX_GUID_BYTES], const char *path,
		      struct problem *ret_problem)
{
	if (!vhdx_guid_is(layer->vhdx->metadata.disk_id, was_disk_id))
		problem_set(ret_problem, "base", path, "has changed: VHDX disk id differs");
	else if (!vhdx_guid_is(layer->vhdx->info.data_write_id, was_data_write_id))
		problem_set(ret_problem, "base", path,
			    "has changed: VHDX data write id differs: the disk was written to");
	else
		return 0;
	return -ESTALE;
}

static int check_digest(const struct store *store, enum base_digest_kind kind,
			const uint8_t was[BASE_DIGEST_BYTES], const char *path,
			struct problem *ret_problem)
{
	uint8_t digest[BASE_DIGEST_BYTES];
	int rc;

	rc = base_digest_compute(store, kind, digest);
	if (rc < 0) {
		problem_set(ret_problem, "base", path, "cannot be read: %s", strerror(-rc));
		return rc;
	}
	if (memcmp(digest, was, sizeof(digest)) == 0)
		return 0;
	problem_set(ret_problem, "base", path, "has changed: content differs: digest of %s",
		    kind == BASE_DIGEST_SAMPLED ? "sampled sectors" : "the whole file");
	return -ESTALE;
}

static int check_parent(const struct base_parent_identity *was, const struct layer *layer,
			struct problem *ret_problem)
{
	int rc = layer->vhdx ? check_vhdx(layer, was->vhdx_disk_id, was->vhdx_data_write_id,
					  layer->path, ret_problem)
			     : check_vhd(layer, was->vhd_uuid, was->vhd_timestamp_s, layer->path,
					 ret_problem);

	if (rc < 0)
		return rc;
	if (layer->store.bytes != was->file_bytes) {
		problem_set(ret_problem, "base", layer->path,
			    "has changed: size is %" PRIu64 ", was %" PRIu64 " bytes",
			    layer->store.bytes, was->file_bytes);
		return -ESTALE;
	}
	return check_digest(&layer->store, was->digest_kind, was->digest, layer->path, ret_problem);
}

static int check_parents(const struct base_identity *was, const struct base *base, const char *path,
			 struct problem *ret_problem)
{
	int rc = 0;

	if (base->nr_layers != was->nr_parents + 1) {
		problem_set(ret_problem, "base", path, "has changed: it has %u parents, had %u",
			    base->nr_layers - 1, was->nr_parents);
		return -ESTALE;
	}
	for (unsigned int i = 0; i < was->nr_parents && rc == 0; i++)
		rc = check_parent(&was->parents[i], base->layers[i + 1], ret_problem);
	return rc;
}

void base_identity_owner(const struct base_identity *identity, uint8_t ret_uuid[SEAL_UUID_BYTES])
{
	struct vhd_footer footer;

	memcpy(&footer, identity->owned_footer, sizeof(footer));
	memcpy(ret_uuid, footer.uuid, sizeof(footer.uuid));
}

int base_identity_check(const struct base_identity *identity, const struct base *base,
			const char *path, bool *ret_touched, struct problem *ret_problem)
{
	int64_t mtime_ns = 0;
	uint64_t inode = 0;
	int rc;

	*ret_touched = false;
	rc = check_sizes(identity, base, path, ret_problem);
	if (rc == 0 && identity->owned && base_is_adopted(identity, base))
		return 0;
	if (rc == 0 && base->format == BASE_VHD)
		rc = check_top_vhd(identity, base, path, ret_problem);
	if (rc == 0 && base->format == BASE_VHDX)
		rc = check_vhdx(base->layers[0], identity->vhdx_disk_id,
				identity->vhdx_data_write_id, path, ret_problem);
	if (rc == 0)
		rc = check_digest(base_store(base), identity->digest_kind, identity->digest, path,
				  ret_problem);
	if (rc == 0)
		rc = check_parents(identity, base, path, ret_problem);
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
