/* SPDX-License-Identifier: MIT */
/* sealblk map --svg: the picture of picture.h, put whole into the place of its file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "map.h"
#include "picture.h"
#include "sealblk/units.h"

struct drawing {
	const struct tool_options *options;
	char target[PATH_BYTES_MAX]; /* symbolic links resolved */
	struct picture picture;
	json_t *info;
};

static void drawing_done(struct drawing *drawing)
{
	picture_done(&drawing->picture);
	json_decref(drawing->info);
}

static int refuse(struct problem *problem, const char *path, const char *text, int error)
{
	problem_set(problem, "picture", path, "%s", text);
	return error;
}

static bool is_same_file(const char *path, const struct stat *other)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_dev == other->st_dev && st.st_ino == other->st_ino;
}

/* What is there is replaced, but not an image, its base, or anything that is no plain file. */
static int settle_target(struct drawing *drawing, struct problem *problem)
{
	const char *path = drawing->options->svg;
	const json_t *base = json_object_get(drawing->info, "base");
	const char *base_path = json_string_value(json_object_get(base, "path_absolute"));
	struct stat st;

	if (strlen(path) >= sizeof(drawing->target))
		return refuse(problem, path, "the path is too long", -ENAMETOOLONG);
	if (stat(path, &st) < 0) {
		memcpy(drawing->target, path, strlen(path) + 1);
		return 0;
	}
	if (!S_ISREG(st.st_mode))
		return refuse(problem, path, "is there, and is not a file", -EEXIST);
	if (is_same_file(drawing->options->image, &st))
		return refuse(problem, path, "is the image itself", -EEXIST);
	if (base_path && is_same_file(base_path, &st))
		return refuse(problem, path, "is the base of the image", -EEXIST);
	return realpath(path, drawing->target) ? 0 : refuse(problem, path, strerror(errno), -EIO);
}

/* mkstemp() makes files that only their owner may read; this one is as any other. */
static void open_up(int fd)
{
	mode_t mask = umask(0);

	umask(mask);
	(void)fchmod(fd, 0666 & ~mask);
}

static int write_file(const struct drawing *drawing, int fd, const char *temporary)
{
	FILE *to = fdopen(fd, "w");
	int r = 0;

	if (!to) {
		r = -errno;
		close(fd);
		return r;
	}
	open_up(fd);
	errno = 0;
	picture_print(&drawing->picture, drawing->options->image, drawing->info, to);
	if (fflush(to) != 0 || ferror(to))
		r = errno ? -errno : -EIO;
	if (fclose(to) != 0 && r == 0)
		r = -errno;
	if (r == 0 && rename(temporary, drawing->target) < 0)
		r = -errno;
	return r;
}

static int write_picture(const struct drawing *drawing, struct problem *problem)
{
	char temporary[PATH_BYTES_MAX];
	int r = snprintf(temporary, sizeof(temporary), "%s.new-XXXXXX", drawing->target);
	int fd;

	if (r < 0 || (size_t)r >= sizeof(temporary))
		return refuse(problem, drawing->target, "the path is too long", -ENAMETOOLONG);
	fd = mkstemp(temporary);
	r = fd < 0 ? -errno : 0;
	if (r == 0) {
		r = write_file(drawing, fd, temporary);
		if (r < 0)
			unlink(temporary);
	}
	if (r < 0)
		problem_set(problem, "picture", drawing->options->svg, "cannot be written: %s",
			    strerror(-r));
	return r;
}

/* A daemon answers one question in a conversation. */
static int learn(struct drawing *drawing, struct problem *problem)
{
	CLEANUP(reach_done) struct reach reach = { 0 };
	const char *image = drawing->options->image;
	int r = reach_open(&reach, image, problem);

	if (r == 0)
		r = reach_info(&reach, &drawing->info, problem);
	if (r == 0)
		r = settle_target(drawing, problem);
	if (r == 0 && reach.daemon) {
		reach_done(&reach);
		r = reach_open(&reach, image, problem);
	}
	if (r < 0)
		return r;
	map_warn(&reach);
	r = picture_init(&drawing->picture, reach.disk_bytes / SECTOR_BYTES);
	if (r < 0)
		return refuse(problem, drawing->options->svg, "no memory to draw it", r);
	return map_walk(&reach, picture_add, &drawing->picture, problem);
}

int map_draw(const struct tool_options *options, struct problem *problem)
{
	CLEANUP(drawing_done) struct drawing drawing = { .options = options };
	int r = learn(&drawing, problem);

	return r == 0 ? write_picture(&drawing, problem) : r;
}
