/* SPDX-License-Identifier: MIT */
/* sealblk key export: see `sealblk key export --help`. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "crypt/xts.h"
#include "keys.h"
#include "keys/key_mem.h"
#include "keys/keyring.h"
#include "print.h"
#include "reach.h"
#include "verbs.h"

enum { HEX_BYTES = 2 * XTS_KEY_BYTES + 1 }; /* and a newline */

/* Lies in key memory. */
struct exported_key {
	struct xts_key key;
	char hex[HEX_BYTES];
};

struct export
{
	const struct tool_options *options;
	struct reach reach;
	struct key_secret *secret;
	unsigned int plane; /* its map value */
	struct exported_key *exported;
};

static void export_done(struct export *export)
{
	export->exported = key_mem_free(export->exported);
	export->secret = key_mem_free(export->secret);
	reach_done(&export->reach);
}

/* The lock that comes with the file is kept: nobody starts to change the keyring meanwhile. */
static int open_image(struct export *export, struct problem *problem)
{
	const char *path = export->options->image;
	int r = reach_open(&export->reach, path, problem);

	if (r == 0 && export->reach.daemon) {
		problem_set(problem, "image", path,
			    "is being served, and a daemon gives no keys away: stop it first");
		r = -EBUSY;
	}
	if (r == 0)
		r = tool_read_key(&export->options->key_source, path, &export->secret, problem);
	if (r == 0) {
		const struct key_secret *secret = export->secret;

		r = image_unlock(export->reach.report.image, &secret, 1, problem);
	}
	return r;
}

/* Returns NULL with *problem. The key is the image's. */
static const struct xts_key *find_plane_key(const struct export *export, struct problem *problem)
{
	const struct image *image = export->reach.report.image;
	const struct seal_plane *plane =
		&image->super.planes[export->plane - SEAL_ENTRY_PLANE_FIRST];
	const struct xts_key *key = NULL;

	if (plane->kind == SEAL_PLANE_NONE)
		problem_set(problem, "image", image->path, "has no plane %u", export->plane);
	else if (plane->kind != SEAL_PLANE_SEALED)
		problem_set(problem, "image", image->path, "plane %u is plain: it has no key",
			    export->plane);
	else if (export->options->tib >= image->disk.nr_tib)
		problem_set(problem, "image", image->path, "the disk ends in its TiB %" PRIu32,
			    image->disk.nr_tib - 1);
	else
		key = keyring_find_plane_key(image->keys, le64_get(plane->key_id));
	if (!key && plane->kind == SEAL_PLANE_SEALED && export->options->tib < image->disk.nr_tib)
		problem_set(problem, "image", image->path, "the key of plane %u is missing",
			    export->plane);
	return key;
}

static int derive(struct export *export, struct problem *problem)
{
	static const char digits[] = "0123456789abcdef";
	const struct image *image = export->reach.report.image;
	struct exported_key *exported = key_mem_new(sizeof(*exported));
	const struct xts_key *plane_key;
	int r;

	export->exported = exported;
	export->plane = export->options->plane ? export->options->plane
					       : image->super.current_plane;
	plane_key = find_plane_key(export, problem);
	if (!plane_key)
		return -ENOKEY;
	r = exported ? xts_key_of_tib(plane_key, export->options->tib, &exported->key) : -ENOMEM;
	if (r < 0) {
		problem_set(problem, "image", image->path, "its key cannot be derived: %s",
			    strerror(-r));
		return r;
	}
	for (size_t i = 0; i < XTS_KEY_BYTES; i++) {
		exported->hex[2 * i] = digits[exported->key.bytes[i] >> 4];
		exported->hex[2 * i + 1] = digits[exported->key.bytes[i] & 15];
	}
	exported->hex[HEX_BYTES - 1] = '\n';
	return 0;
}

/* Not through stdio, whose buffers are not key memory. */
static int write_all(int fd, const void *bytes, size_t nr_bytes)
{
	const char *at = bytes;

	while (nr_bytes > 0) {
		ssize_t put = write(fd, at, nr_bytes);

		if (put < 0 && errno != EINTR)
			return -errno;
		if (put > 0) {
			at += put;
			nr_bytes -= (size_t)put;
		}
	}
	return 0;
}

static int write_file(const char *path, const struct xts_key *key, struct problem *problem)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : write_all(fd, key->bytes, sizeof(key->bytes));

	if (fd >= 0 && close(fd) < 0 && r == 0)
		r = -errno;
	if (fd >= 0 && r < 0)
		unlink(path);
	if (r < 0)
		problem_set(problem, "key file", path, "cannot be written: %s", strerror(-r));
	return r;
}

static int write_stdout(const struct exported_key *exported, struct problem *problem)
{
	int r = write_all(STDOUT_FILENO, exported->hex, sizeof(exported->hex));

	if (r < 0)
		problem_set(problem, "standard", "output", "cannot be written: %s", strerror(-r));
	return r;
}

static void warn(const struct export *export)
{
	fprintf(stderr, "sealblk: this key opens TiB %" PRIu64 " of plane %u of ",
		export->options->tib, export->plane);
	print_text(stderr, export->options->image);
	fputs(" until all of it is rewritten under another key, whatever becomes of yours\n",
	      stderr);
}

int verb_key_export(const struct tool_options *options, struct problem *problem)
{
	CLEANUP(export_done) struct export export = { .options = options };
	int r = open_image(&export, problem);

	if (r == 0)
		r = derive(&export, problem);
	if (r == 0)
		r = options->output ? write_file(options->output, &export.exported->key, problem)
				    : write_stdout(export.exported, problem);
	if (r == 0)
		warn(&export);
	return r;
}
