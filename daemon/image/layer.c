/* SPDX-License-Identifier: MIT */
/* Opening a layer: which format, and does the file keep to it? See layer.h. */
#include "image/layer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/parent.h"
#include "image/vhd_problem.h"
#include "sealblk/units.h"

int layer_read(const struct store *store, uint64_t offset_bytes, void *ret_bytes, size_t nr_bytes)
{
	uint8_t *at = ret_bytes;
	ssize_t got;

	while (nr_bytes > 0) {
		got = pread(store->fd, at, nr_bytes, (off_t)offset_bytes);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			return -EIO;
		at += got;
		offset_bytes += (uint64_t)got;
		nr_bytes -= (size_t)got;
	}
	return 0;
}

static int cannot_read(const struct layer *layer, int error, struct problem *ret_problem)
{
	problem_set(ret_problem, "base", layer->path, "cannot be read: %s", strerror(-error));
	return error;
}

/* ---- what tells a format ---- */

/* The first and last sector of the file. Zeros when it is shorter. */
struct ends {
	uint8_t head[VHD_FOOTER_BYTES];
	uint8_t tail[VHD_FOOTER_BYTES];
};

static int read_ends(const struct store *store, struct ends *ret_ends)
{
	struct ends ends = { 0 };
	int r;

	if (store->bytes >= VHD_FOOTER_BYTES) {
		r = layer_read(store, 0, ends.head, sizeof(ends.head));
		if (r < 0)
			return r;
		r = layer_read(store, store->bytes - VHD_FOOTER_BYTES, ends.tail,
			       sizeof(ends.tail));
		if (r < 0)
			return r;
	}
	*ret_ends = ends;
	return 0;
}

static bool ends_in_footer(const struct ends *ends)
{
	return vhd_footer_has_cookie(ends->tail, VHD_FOOTER_BYTES);
}

static bool ends_in_old_footer(const struct ends *ends)
{
	return vhd_footer_has_cookie(ends->tail + 1, VHD_OLD_FOOTER_BYTES);
}

static bool begins_with_footer(const struct ends *ends)
{
	return vhd_footer_has_cookie(ends->head, VHD_FOOTER_BYTES);
}

static bool is_called(const char *path, const char *suffix)
{
	size_t length = strlen(path), suffix_length = strlen(suffix);

	return length > suffix_length && strcasecmp(path + length - suffix_length, suffix) == 0;
}

/*
 * The name comes first: a file so called whose footer is gone was cut, and must not
 * pass for a raw disk. The head of a fixed VHD and the tail of a VHDX are what a
 * guest wrote there: if the name says nothing and both look right, neither is
 * believed (BASE_AUTO).
 */
static enum base_format guess_format(const struct ends *ends, const char *path)
{
	const bool is_vhd = ends_in_footer(ends) || ends_in_old_footer(ends) ||
			    begins_with_footer(ends);
	const bool is_vhdx = vhdx_has_signature(ends->head, sizeof(ends->head));

	if (is_called(path, ".vhd"))
		return BASE_VHD;
	if (is_called(path, ".vhdx"))
		return BASE_VHDX;
	if (is_vhd && is_vhdx)
		return BASE_AUTO;
	return is_vhd ? BASE_VHD : is_vhdx ? BASE_VHDX : BASE_RAW;
}

static int refuse_unclear(const struct layer *layer, struct problem *ret_problem)
{
	problem_set(ret_problem, "base", layer->path,
		    "looks like a VHDX at its head and a VHD at its tail: say which, with :vhdx "
		    "or :vhd behind its name");
	return -EINVAL;
}

/* ---- VHD ---- */

static int tell(const struct layer *layer, const struct vhd_problem *vhd,
		struct problem *ret_problem)
{
	char text[VHD_PROBLEM_TEXT_BYTES];

	vhd_problem_text(vhd, text);
	problem_set(ret_problem, "base", layer->path, "%s", text);
	return -EINVAL;
}

/*
 * The footer that counts: the last sector, or when that is damaged or lost, the
 * copy at the head, which only dynamic and differencing VHDs have.
 */
static int find_footer(const struct ends *ends, const uint8_t **ret_footer,
		       struct vhd_info *ret_info, struct vhd_problem *ret_problem)
{
	struct vhd_problem copy_problem;
	int r;

	*ret_footer = ends->tail;
	r = vhd_footer_parse(ends->tail, ret_info, ret_problem);
	if (r == 0)
		return 0;
	if (!ends_in_footer(ends) && ends_in_old_footer(ends))
		return vhd_refuse(ret_problem, VHD_OLD_FOOTER, 0, 0);

	*ret_footer = ends->head;
	if (vhd_footer_parse(ends->head, ret_info, &copy_problem) == 0)
		return ret_info->disk_type == VHD_FIXED ? r : 0;
	if (!ends_in_footer(ends))
		*ret_problem = copy_problem;
	return r;
}

static int read_bat(struct layer *layer, const struct vhd_extent *extent,
		    struct problem *ret_problem)
{
	size_t nr = layer->dynamic.nr_blocks;
	struct vhd_problem problem;
	uint64_t *scratch;
	int r;

	layer->bat = calloc(nr, sizeof(*layer->bat));
	if (!layer->bat)
		return cannot_read(layer, -ENOMEM, ret_problem);
	r = layer_read(&layer->store, layer->dynamic.bat_offset_bytes, layer->bat,
		       nr * sizeof(*layer->bat));
	if (r < 0)
		return cannot_read(layer, r, ret_problem);
	scratch = calloc(nr, sizeof(*scratch));
	if (!scratch)
		return cannot_read(layer, -ENOMEM, ret_problem);
	r = vhd_bat_check(layer->bat, &layer->dynamic, extent, scratch, &problem);
	free(scratch);
	return r < 0 ? tell(layer, &problem, ret_problem) : 0;
}

static int settle_dynamic(struct layer *layer, bool footer_at_end, struct problem *ret_problem)
{
	const struct vhd_extent extent = {
		.file_bytes = layer->store.bytes,
		.data_end_bytes = layer->store.bytes - (footer_at_end ? VHD_FOOTER_BYTES : 0),
	};
	uint8_t header[VHD_DYNAMIC_HEADER_BYTES];
	struct vhd_problem problem;
	uint64_t offset;
	int r;

	if (vhd_dynamic_offset(&layer->vhd, &extent, &offset, &problem) < 0)
		return tell(layer, &problem, ret_problem);
	r = layer_read(&layer->store, offset, header, sizeof(header));
	if (r < 0)
		return cannot_read(layer, r, ret_problem);
	if (vhd_dynamic_decode(header, &layer->vhd, layer->disk_bytes, &extent, &layer->dynamic,
			       &problem) < 0)
		return tell(layer, &problem, ret_problem);
	layer->nr_blocks = layer->dynamic.nr_blocks;
	layer->block_sectors = layer->dynamic.block_sectors;
	r = read_bat(layer, &extent, ret_problem);
	if (r == 0 && layer_has_parent(layer) && layer_init_bitmaps(layer) < 0)
		r = cannot_read(layer, -ENOMEM, ret_problem);
	return r;
}

static int settle_vhd(struct layer *layer, const struct ends *ends, const struct layer *child,
		      struct problem *ret_problem)
{
	struct vhd_problem problem;
	const uint8_t *footer;
	int r;

	layer->format = BASE_VHD;
	if (find_footer(ends, &footer, &layer->vhd, &problem) < 0)
		return tell(layer, &problem, ret_problem);
	memcpy(layer->footer, footer, sizeof(layer->footer));
	if (child) {
		r = parent_check(layer, child, ret_problem);
		if (r < 0)
			return r;
		/* Two writers may size one disk by different rules: the child's word is the last. */
		layer->vhd.disk_bytes = child->disk_bytes;
	}
	layer->disk_bytes = layer->vhd.disk_bytes;
	layer->data_bytes = layer->disk_bytes;
	if (layer->vhd.disk_type != VHD_FIXED)
		return settle_dynamic(layer, ends_in_footer(ends), ret_problem);
	if (vhd_footer_check_fixed(&layer->vhd, layer->store.bytes, &problem) < 0)
		return tell(layer, &problem, ret_problem);
	return 0;
}

/* ---- raw ---- */

static int settle_raw(struct layer *layer, struct problem *ret_problem)
{
	if (layer->store.bytes == 0) {
		problem_set(ret_problem, "base", layer->path, "the file is empty");
		return -EINVAL;
	}
	if (layer->store.bytes > DISK_BYTES_MAX) {
		problem_set(ret_problem, "base", layer->path,
			    "size is %" PRIu64 " bytes, at most %" PRIu64, layer->store.bytes,
			    (uint64_t)DISK_BYTES_MAX);
		return -EFBIG;
	}
	layer->format = BASE_RAW;
	layer->disk_bytes = round_up(layer->store.bytes, SECTOR_BYTES);
	layer->data_bytes = layer->store.bytes;
	return 0;
}

/* ---- opening ---- */

static int settle(struct layer *layer, enum base_format wanted, const struct layer *child,
		  struct problem *ret_problem)
{
	struct ends ends;
	struct stat st;
	int r = fstat(layer->store.fd, &st) < 0 ? -errno : read_ends(&layer->store, &ends);

	if (r < 0)
		return cannot_read(layer, r, ret_problem);
	layer->device = st.st_dev;
	layer->is_owned = vhd_footer_is_owned(ends.tail);
	if (wanted == BASE_AUTO)
		wanted = guess_format(&ends, layer->path);
	switch (wanted) {
	case BASE_VHD:
		return settle_vhd(layer, &ends, child, ret_problem);
	case BASE_VHDX:
		return layer_settle_vhdx(layer, child, ret_problem);
	case BASE_RAW:
		return settle_raw(layer, ret_problem);
	case BASE_AUTO:
	case BASE_FORMATS:
		break;
	}
	return refuse_unclear(layer, ret_problem);
}

static const char *why_no_store(int error)
{
	switch (error) {
	case -EBUSY:
		return "another program has it open for writing";
	case -EINVAL:
		return "neither a file nor a disk";
	default:
		return strerror(-error);
	}
}

static int open_store(struct layer *layer, int fd, const char *path, struct problem *ret_problem)
{
	const int flags = fcntl(fd, F_GETFL);
	const bool writable = flags >= 0 && (flags & O_ACCMODE) == O_RDWR;
	int r = store_file_init(&layer->store, fd,
				writable ? STORE_LOCK_EXCLUSIVE : STORE_LOCK_SHARED, LOCK_WAIT_MS);

	if (r == -EBUSY && writable)
		problem_set(ret_problem, "base", path,
			    "cannot be owned now: another program has it open");
	else if (r < 0)
		problem_set(ret_problem, "base", path, "%s", why_no_store(r));
	return r;
}

static void layer_closep(struct layer **layer)
{
	*layer = layer_close(*layer);
}

static struct layer *layer_new(const char *path)
{
	struct layer *layer = calloc(1, sizeof(*layer));

	if (!layer)
		return NULL;
	layer->path = strdup(path);
	if (!layer->path) {
		free(layer);
		return NULL;
	}
	return layer;
}

int layer_open(int fd, const char *path, enum base_format wanted, const struct layer *child,
	       struct layer **ret_layer, struct problem *ret_problem)
{
	CLEANUP(layer_closep) struct layer *layer = layer_new(path);
	int r;

	if (!layer) {
		close(fd);
		problem_set(ret_problem, "base", path, "no memory");
		return -ENOMEM;
	}
	r = open_store(layer, fd, path, ret_problem);
	if (r == 0)
		r = settle(layer, wanted, child, ret_problem);
	if (r < 0)
		return r;
	*ret_layer = layer;
	layer = NULL;
	return 0;
}

struct layer *layer_close(struct layer *layer)
{
	if (!layer)
		return NULL;
	layer_done_bitmaps(layer);
	store_close(&layer->store);
	free(layer->bat);
	vhdx_free(layer->vhdx);
	free(layer->path);
	free(layer);
	return NULL;
}
