/* SPDX-License-Identifier: MIT */
/* A destination that is not complete: see part.h. */
#include "part.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "image/path.h"

enum { STATE_BYTES_MAX = 64 << 10 }; /* of a file that we have written: far more than it needs */

static int fail(const struct part *part, const char *path, const char *what, int error,
		struct problem *problem)
{
	problem_set(problem, part->role, path, "cannot be %s: %s", what, strerror(-error));
	return error;
}

/* ---- the state file ---- */

/* NULL: there is none, or it was cut short. *ret_exists: which? */
static json_t *read_state(const struct part *part, bool *ret_exists)
{
	int fd = open(part->state, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	char *text = malloc(STATE_BYTES_MAX);
	ssize_t nr_bytes = fd >= 0 && text ? read(fd, text, STATE_BYTES_MAX) : -1;
	json_t *state = nr_bytes > 0 ? json_loadb(text, (size_t)nr_bytes, 0, NULL) : NULL;

	*ret_exists = fd >= 0;
	if (fd >= 0)
		close(fd);
	free(text);
	return state;
}

static int write_all(int fd, const char *text, size_t nr_bytes)
{
	ssize_t put = write(fd, text, nr_bytes);

	if (put < 0 || (size_t)put != nr_bytes)
		return put < 0 ? -errno : -EIO;
	return fsync(fd) < 0 ? -errno : 0;
}

int part_note(const struct part *part, uint64_t kept_sectors, struct problem *problem)
{
	json_t *state = json_pack("{s:O, s:I}", "copy", part->identity, "kept_sectors",
				  (json_int_t)kept_sectors);
	char *text = state ? json_dumps(state, JSON_COMPACT) : NULL;
	int fd = open(part->state, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r = fd < 0 ? -errno : !text ? -ENOMEM : write_all(fd, text, strlen(text));

	if (fd >= 0)
		close(fd);
	free(text);
	json_decref(state);
	return r < 0 ? fail(part, part->state, "written", r, problem) : 0;
}

/* ---- what is there ---- */

static int look_at_destination(const struct part *part, struct problem *problem)
{
	struct stat st;

	if (lstat(part->path, &st) < 0)
		return errno == ENOENT ? 0 : fail(part, part->path, "made", -errno, problem);
	if (!part->replaces) {
		problem_set(problem, part->role, part->path,
			    "exists already; it was left as it is");
		return -EEXIST;
	}
	if (S_ISREG(st.st_mode))
		return 0;
	problem_set(problem, part->role, part->path, "is not a file: it is not replaced");
	return -EEXIST;
}

static int lock(struct part *part, int fd, struct problem *problem)
{
	int r = store_file_init(&part->store, fd, STORE_LOCK_EXCLUSIVE, 0);

	if (r < 0)
		problem_set(problem, part->role, part->temporary, "%s",
			    r == -EBUSY ? "is being written by another program" : strerror(-r));
	return r;
}

/* Is it a part of what is to be copied now? */
static bool is_ours(struct part *part, const json_t *state)
{
	const json_t *copy = json_object_get(state, "copy");
	const json_int_t kept = json_integer_value(json_object_get(state, "kept_sectors"));

	part->kept_sectors = kept > 0 ? (uint64_t)kept : 0;
	return copy && json_equal(copy, part->identity) && part->kept_sectors > 0;
}

/* It belongs to a state file; nobody else has it open. */
static int judge_part(struct part *part, const json_t *state)
{
	part->found = is_ours(part, state);
	if (part->found)
		return 0;
	part->found_other = json_integer_value(json_object_get(state, "kept_sectors")) > 0;
	part->kept_sectors = 0;
	part_release(part);
	return unlink(part->temporary) < 0 ? -errno : 0;
}

static int look_at_part(struct part *part, struct problem *problem)
{
	bool has_state;
	json_t *state = read_state(part, &has_state);
	int fd = open(part->temporary, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	int r = fd < 0 ? -errno : 0;

	if (r == -ENOENT) {
		r = 0;
	} else if (r < 0) {
		(void)fail(part, part->temporary, "opened", r, problem);
	} else if (!has_state) {
		close(fd);
		problem_set(problem, part->role, part->temporary,
			    "is in the way, and no copy of ours that was interrupted: remove it");
		r = -EEXIST;
	} else {
		r = lock(part, fd, problem);
		if (r == 0) {
			r = judge_part(part, state);
			if (r < 0)
				(void)fail(part, part->temporary, "removed", r, problem);
		}
	}
	json_decref(state);
	return r;
}

int part_init(struct part *part, struct problem *problem)
{
	int r = look_at_destination(part, problem);
	int bytes;

	if (r < 0)
		return r;
	bytes = snprintf(part->state, sizeof(part->state), "%s.part.json", part->path);
	if (bytes < 0 || (size_t)bytes >= sizeof(part->state))
		return fail(part, part->path, "made", -ENAMETOOLONG, problem);
	snprintf(part->temporary, sizeof(part->temporary), "%.*s", bytes - 5, part->state);
	return look_at_part(part, problem);
}

int part_open(struct part *part, struct problem *problem)
{
	int fd;

	if (part->found)
		return 0;
	fd = open(part->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, part->mode);
	return fd < 0 ? fail(part, part->path, "made", -errno, problem) : lock(part, fd, problem);
}

void part_release(struct part *part)
{
	store_close(&part->store);
}

/* ---- the end ---- */

int part_commit(struct part *part, struct problem *problem)
{
	int r = syscall(SYS_renameat2, AT_FDCWD, part->temporary, AT_FDCWD, part->path,
			part->replaces ? 0 : RENAME_NOREPLACE) < 0
			? -errno
			: 0;

	if (r == 0)
		r = path_sync_folder(part->path);
	if (r < 0)
		return fail(part, part->path, "given its name", r, problem);
	/* What is left of it names a file that is gone: the next run makes nothing of that. */
	(void)unlink(part->state);
	return 0;
}

void part_discard(struct part *part)
{
	(void)unlink(part->temporary);
	(void)unlink(part->state);
}

void part_done(struct part *part)
{
	part_release(part);
}
