/* SPDX-License-Identifier: MIT */
/* The base: see base.h. */
#include "image/base.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "sealblk/units.h"

static const char *const format_names[BASE_FORMATS] = {
	[BASE_AUTO] = "auto",
	[BASE_RAW] = "raw",
	[BASE_VHD] = "vhd",
};

const char *base_format_name(enum base_format format)
{
	assert((unsigned int)format < BASE_FORMATS);
	return format_names[format];
}

int base_format_of(const char *name, enum base_format *ret_format)
{
	for (unsigned int i = 0; i < BASE_FORMATS; i++) {
		if (strcmp(name, format_names[i]) == 0) {
			*ret_format = (enum base_format)i;
			return 0;
		}
	}
	return -EINVAL;
}

int base_read(const struct base *base, uint64_t offset_bytes, void *ret_bytes, size_t nr_bytes)
{
	uint8_t *at = ret_bytes;
	ssize_t got;

	while (nr_bytes > 0) {
		got = pread(base->store.fd, at, nr_bytes, (off_t)offset_bytes);
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

/* The first and last sector of the file: what tells a format. Zeros when it is shorter. */
struct ends {
	uint8_t head[VHD_FOOTER_BYTES];
	uint8_t tail[VHD_FOOTER_BYTES];
};

static int read_ends(const struct base *base, struct ends *ret_ends)
{
	struct ends ends = { 0 };
	int rc;

	if (base->store.bytes >= VHD_FOOTER_BYTES) {
		rc = base_read(base, 0, ends.head, sizeof(ends.head));
		if (rc < 0)
			return rc;
		rc = base_read(base, base->store.bytes - VHD_FOOTER_BYTES, ends.tail,
			       sizeof(ends.tail));
		if (rc < 0)
			return rc;
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

/* A file so called whose footer is gone was cut; it must not pass for a raw disk. */
static bool is_called_vhd(const char *path)
{
	size_t length = strlen(path);

	return length > 4 && strcasecmp(path + length - 4, ".vhd") == 0;
}

static enum base_format guess_format(const struct ends *ends, const char *path)
{
	return is_called_vhd(path) || ends_in_footer(ends) || ends_in_old_footer(ends) || begins_with_footer(ends)
		       ? BASE_VHD
		       : BASE_RAW;
}

static int judge_vhd(const struct base *base, const struct ends *ends, struct vhd_info *ret_info,
		     struct vhd_problem *ret_problem)
{
	struct vhd_info head;
	int rc;

	if (ends_in_footer(ends))
		return vhd_footer_decode(ends->tail, base->store.bytes, ret_info, ret_problem);

	if (ends_in_old_footer(ends)) {
		*ret_problem = (struct vhd_problem){ .reason = VHD_OLD_FOOTER };
		return -EINVAL;
	}
	/* Without a footer at its end a file is at best a dynamic VHD that was cut. */
	rc = vhd_footer_decode(ends->head, base->store.bytes, &head, ret_problem);
	if (rc == 0) {
		*ret_problem = (struct vhd_problem){ .reason = VHD_NO_COOKIE };
		return -EINVAL;
	}
	return rc;
}

/* What the numbers of a struct vhd_problem are, for reasons that have any. */
static const struct {
	const char *stored;
	const char *computed;
	bool hex;
} vhd_numbers[VHD_REASONS] = {
	[VHD_BAD_CHECKSUM] = { "stored", "computed", true },
	[VHD_BAD_VERSION] = { "version", "known is", true },
	[VHD_BAD_TYPE] = { "type", NULL, false },
	[VHD_SIZE_NOT_SECTORS] = { "bytes:", NULL, false },
	[VHD_SIZE_TOO_LARGE] = { "bytes:", "at most", false },
	[VHD_SIZE_BEYOND_FILE] = { "disk bytes:", "before the footer:", false },
};

static void tell_vhd_problem(const struct vhd_problem *vhd, const char *path,
			     struct problem *ret_problem)
{
	const char *text = vhd_reason_text(vhd->reason);
	const char *stored = vhd_numbers[vhd->reason].stored;
	const char *computed = vhd_numbers[vhd->reason].computed;

	if (!stored)
		problem_set(ret_problem, "base", path, "%s", text);
	else if (!computed)
		problem_set(ret_problem, "base", path, "%s (%s %" PRIu64 ")", text, stored,
				 vhd->stored);
	else if (vhd_numbers[vhd->reason].hex)
		problem_set(ret_problem, "base", path, "%s (%s %08" PRIx64 ", %s %08" PRIx64 ")", text,
				 stored, vhd->stored, computed, vhd->computed);
	else
		problem_set(ret_problem, "base", path, "%s (%s %" PRIu64 ", %s %" PRIu64 ")", text,
				 stored, vhd->stored, computed, vhd->computed);
}

static int settle_vhd(struct base *base, const struct ends *ends, const char *path,
		      struct problem *ret_problem)
{
	struct vhd_problem problem;
	int rc;

	rc = judge_vhd(base, ends, &base->vhd, &problem);
	if (rc < 0) {
		tell_vhd_problem(&problem, path, ret_problem);
		return rc;
	}
	memcpy(base->footer, ends->tail, sizeof(base->footer));
	base->format = BASE_VHD;
	base->disk_bytes = base->vhd.disk_bytes;
	base->data_bytes = base->disk_bytes;
	return 0;
}

static int settle_raw(struct base *base, const char *path, struct problem *ret_problem)
{
	if (base->store.bytes == 0) {
		problem_set(ret_problem, "base", path, "the file is empty");
		return -EINVAL;
	}
	if (base->store.bytes > DISK_BYTES_MAX) {
		problem_set(ret_problem, "base", path, "size is %" PRIu64 " bytes, at most %" PRIu64,
				 base->store.bytes, (uint64_t)DISK_BYTES_MAX);
		return -EFBIG;
	}
	base->format = BASE_RAW;
	base->disk_bytes = round_up(base->store.bytes, SECTOR_BYTES);
	base->data_bytes = base->store.bytes;
	return 0;
}

static void base_closep(struct base *base)
{
	base_close(base);
}

int base_open(struct base *ret_base, int fd, const char *path, enum base_format wanted,
	      struct problem *ret_problem)
{
	CLEANUP(base_closep) struct base base = { 0 };
	struct ends ends;
	int rc;

	rc = store_file_init(&base.store, fd, STORE_LOCK_SHARED, LOCK_WAIT_MS);
	if (rc < 0) {
		problem_set(ret_problem, "base", path, "%s",
				 rc == -EBUSY ? "another program has it open for writing"
					      : strerror(-rc));
		return rc;
	}
	rc = read_ends(&base, &ends);
	if (rc < 0) {
		problem_set(ret_problem, "base", path, "cannot be read: %s", strerror(-rc));
		return rc;
	}
	if (wanted == BASE_AUTO)
		wanted = guess_format(&ends, path);
	rc = wanted == BASE_VHD ? settle_vhd(&base, &ends, path, ret_problem)
				: settle_raw(&base, path, ret_problem);
	if (rc < 0)
		return rc;

	*ret_base = base;
	base.store.ops = NULL; /* the caller's from here: the cleanup finds nothing */
	return 0;
}

void base_close(struct base *base)
{
	store_close(&base->store);
}

/* @hole_bytes from a sector's start: whole sectors of it. The end of the data rounds up. */
static uint64_t hole_sectors(uint64_t hole_bytes, bool reaches_end)
{
	return (reaches_end ? round_up(hole_bytes, SECTOR_BYTES) : hole_bytes) / SECTOR_BYTES;
}

int base_extent(const struct base *base, uint64_t first_sector, uint64_t limit_sectors,
		bool *ret_hole, uint64_t *ret_sectors)
{
	uint64_t limit_bytes;
	uint64_t bytes;
	uint64_t sectors;
	bool hole;
	int rc;

	assert(limit_sectors > 0);
	if (first_sector >= base->disk_bytes / SECTOR_BYTES) {
		*ret_hole = true;
		*ret_sectors = limit_sectors;
		return 0;
	}
	limit_bytes = base->data_bytes - sectors_to_bytes(first_sector);
	if (limit_sectors < limit_bytes / SECTOR_BYTES)
		limit_bytes = sectors_to_bytes(limit_sectors);
	rc = store_extent(&base->store, sectors_to_bytes(first_sector), limit_bytes, &hole, &bytes);
	if (rc < 0)
		return rc;

	sectors = hole ? hole_sectors(bytes, bytes == limit_bytes)
		       : round_up(bytes, SECTOR_BYTES) / SECTOR_BYTES;
	if (sectors == 0) { /* the hole ends inside this sector */
		hole = false;
		sectors = 1;
	}
	*ret_hole = hole;
	*ret_sectors = min_u64(sectors, limit_sectors);
	return 0;
}
