/* SPDX-License-Identifier: MIT */
/* sealblk vhd info: see `sealblk vhd info --help`. Here: reading and judging. */
#include "vhd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "image/vhd_problem.h"
#include "sealblk/units.h"
#include "verbs.h"
#include "vhdx.h"

static void closep(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static int fail(struct problem *problem, const char *path, int error)
{
	problem_set(problem, "file", path, "cannot be read: %s", strerror(-error));
	return error;
}

int vhd_read_at(int fd, uint64_t offset_bytes, void *ret_bytes, size_t nr_bytes)
{
	uint8_t *to = ret_bytes;

	while (nr_bytes > 0) {
		ssize_t got = pread(fd, to, nr_bytes, (off_t)offset_bytes);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EIO;
		to += got;
		offset_bytes += (uint64_t)got;
		nr_bytes -= (size_t)got;
	}
	return 0;
}

/* Is the copy needed, is it there, and which of the two is to be shown? */
static void judge_copy(struct vhd_findings *found, const struct vhd_footer *copy)
{
	bool wanted = found->readable && found->info.disk_type != VHD_FIXED;
	struct vhd_problem why;
	struct vhd_info info;

	found->copy = VHD_COPY_NONE;
	if (wanted && memcmp(copy, &found->footer, sizeof(*copy)) == 0)
		found->copy = VHD_COPY_SAME;
	else if (wanted)
		found->copy = vhd_footer_has_cookie(copy, sizeof(*copy)) ? VHD_COPY_DIFFERS
									 : VHD_COPY_MISSING;
	if (found->readable || vhd_footer_parse((const uint8_t *)copy, &info, &why) < 0 ||
	    info.disk_type == VHD_FIXED)
		return;
	/* The specification: without a good footer the copy counts. */
	found->copy = VHD_COPY_ALONE;
	found->footer = *copy;
	found->info = info;
	found->readable = true;
}

static void judge(struct vhd_findings *found, const struct vhd_footer *copy)
{
	const uint8_t *bytes = (const uint8_t *)&found->footer;

	found->data_end_bytes = found->file_bytes;
	if (vhd_footer_has_cookie(bytes, VHD_FOOTER_BYTES))
		found->data_end_bytes -= VHD_FOOTER_BYTES;
	vhd_azure_judge(&found->footer, found->file_bytes, found->azure);
	found->readable = vhd_footer_parse(bytes, &found->info, &found->why) == 0;
	/* Sound in itself; does its disk lie in the file? */
	if (found->readable && found->info.disk_type == VHD_FIXED &&
	    vhd_footer_check_fixed(&found->info, found->file_bytes, &found->why) == 0)
		found->why.reason = VHD_FINE;
	judge_copy(found, copy);
}

bool vhd_is_sound(const struct vhd_findings *found)
{
	return found->why.reason == VHD_FINE &&
	       (found->copy == VHD_COPY_NONE || found->copy == VHD_COPY_SAME);
}

/* The last bytes of the file, as far as they are a footer at all. */
static int read_footer(int fd, struct vhd_findings *found, struct problem *problem)
{
	char text[VHD_PROBLEM_TEXT_BYTES];
	struct vhd_problem none = { 0 };
	uint8_t old[VHD_OLD_FOOTER_BYTES];
	struct vhd_footer copy;
	int r = 0;

	if (found->file_bytes < VHD_FOOTER_BYTES) {
		problem_set(problem, "file", found->path, "is too short for a VHD");
		return -EUCLEAN;
	}
	r = vhd_read_at(fd, found->file_bytes - VHD_FOOTER_BYTES, &found->footer, VHD_FOOTER_BYTES);
	if (r == 0)
		r = vhd_read_at(fd, 0, &copy, sizeof(copy));
	if (r < 0)
		return fail(problem, found->path, r);
	judge(found, &copy);
	if (found->readable || vhd_footer_has_cookie(&found->footer, sizeof(found->footer)))
		return 0;
	memcpy(old, (const uint8_t *)&found->footer + 1, sizeof(old));
	none.reason = vhd_footer_has_cookie(old, sizeof(old)) ? VHD_OLD_FOOTER : VHD_NO_COOKIE;
	vhd_problem_text(&none, text);
	problem_set(problem, "file", found->path, "%s", text);
	return -EUCLEAN;
}

/* Returns the descriptor, or a negative errno with *problem. */
static int open_file(const char *path, struct problem *problem)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int r = -errno;

	if (fd >= 0)
		return fd;
	problem_set(problem, "file", path, "cannot be opened: %s", strerror(-r));
	return r;
}

static int examine(int fd, struct vhd_findings *found, struct problem *problem)
{
	off_t end;
	int r;

	/* Of a block device too. */
	end = lseek(fd, 0, SEEK_END);
	if (end < 0)
		return fail(problem, found->path, -errno);
	found->file_bytes = (uint64_t)end;
	r = read_footer(fd, found, problem);
	if (r < 0)
		return r;
	r = vhd_examine_dynamic(fd, found);
	return r < 0 ? fail(problem, found->path, r) : 0;
}

int verb_vhd_info(const struct tool_options *options, struct problem *problem)
{
	/* Too large for the stack. */
	static struct vhd_findings found;
	CLEANUP(closep) int fd = open_file(options->image, problem);
	int r;

	if (fd < 0)
		return fd;
	if (vhdx_is_meant(fd, options->image))
		return vhdx_info_of(fd, options->image, options->json, problem);
	found.path = options->image;
	r = examine(fd, &found, problem);

	if (r == 0 && options->json) {
		r = vhd_print_json(&found);
		if (r < 0)
			problem_set(problem, "file", found.path, "no memory to report on it");
	} else if (r == 0) {
		vhd_print_text(&found);
	}
	if (r < 0 || vhd_is_sound(&found))
		return r;
	/* All has been said. */
	problem->text[0] = '\0';
	return -EUCLEAN;
}
