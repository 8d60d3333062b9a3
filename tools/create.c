/* SPDX-License-Identifier: MIT */
/* sealblk create: see `sealblk create --help`. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "control/size_text.h"
#include "image/base_own.h"
#include "image/create.h"
#include "image/uuid.h"
#include "keys.h"
#include "keys/key_mem.h"
#include "print.h"
#include "verbs.h"

struct creation {
	const struct tool_options *options;
	struct ring *ring;
	struct key_secret *secret;
	struct base base;
	struct base_identity base_identity;
	uint64_t disk_bytes;
	uint8_t uuid[SEAL_UUID_BYTES];
};

static void creation_done(struct creation *creation)
{
	base_close(&creation->base);
	creation->secret = key_mem_free(creation->secret);
	ring_free(creation->ring);
}

int verb_create_check(const struct tool_options *options, struct problem *problem)
{
	if (!options->has_base && options->size_bytes == 0) {
		tool_usage_problem(problem, options->verb,
				   "how large is the disk? give --size, --base or both");
		return -EINVAL;
	}
	if (options->base_sha256 && !options->has_base) {
		tool_usage_problem(problem, options->verb, "--base-sha256 wants --base");
		return -EINVAL;
	}
	if (options->own_base && !options->has_base) {
		tool_usage_problem(problem, options->verb, "--own-base wants --base");
		return -EINVAL;
	}
	return tool_check_key(options, problem);
}

/* Before the base is read at length; image_create() makes sure. */
static int refuse_existing(const struct tool_options *options, struct problem *problem)
{
	struct stat image, base;

	if (lstat(options->image, &image) < 0)
		return 0;
	if (options->has_base && stat(options->image, &image) == 0 &&
	    stat(options->base_path, &base) == 0 && base.st_dev == image.st_dev &&
	    base.st_ino == image.st_ino) {
		problem_set(problem, "image", options->image, "is the base itself");
		return -EINVAL;
	}
	problem_set(problem, "image", options->image, "exists already; it was left as it is");
	return -EEXIST;
}

static int open_base(struct creation *creation, struct problem *problem)
{
	const char *path = creation->options->base_path;
	const bool own = creation->options->own_base;
	int fd = open(path, (own ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int r;

	if (fd < 0) {
		r = -errno;
		problem_set(problem, "base", path, "cannot be opened%s: %s",
			    own ? " for writing" : "", strerror(-r));
		return r;
	}
	r = base_open(&creation->base, fd, path, creation->options->base_format,
		      &base_opener_direct, problem);
	return base_is_refused(r) ? -EUCLEAN : r;
}

static int settle_size(struct creation *creation, struct problem *problem)
{
	uint64_t base_bytes = creation->base.disk_bytes;

	creation->disk_bytes = creation->options->size_bytes;
	if (creation->disk_bytes == 0)
		creation->disk_bytes = base_bytes;
	if (creation->disk_bytes >= base_bytes)
		return 0;
	problem_set(problem, "base", creation->options->base_path,
		    "has a disk of %" PRIu64 " bytes: --size cannot make it smaller", base_bytes);
	return -EINVAL;
}

static int read_key(struct creation *creation, struct problem *problem)
{
	int r = uuid_make(creation->uuid);

	if (r < 0) {
		problem_set(problem, "image", creation->options->image, "no random numbers: %s",
			    strerror(-r));
		return r;
	}
	return tool_read_first_key(&creation->options->key_source, creation->uuid,
				   &creation->secret, problem);
}

static int prepare(struct creation *creation, struct problem *problem)
{
	const struct tool_options *options = creation->options;
	int r = refuse_existing(options, problem);

	if (r == 0 && options->has_base)
		r = open_base(creation, problem);
	if (r == 0)
		r = settle_size(creation, problem);
	if (r == 0)
		r = read_key(creation, problem);
	if (r == 0 && options->has_base)
		r = base_identity_take(&creation->base, options->base_path, options->image,
				       options->base_sha256, &creation->base_identity, problem);
	if (r == 0 && options->own_base)
		r = base_own_prepare(&creation->base_identity, &creation->base, creation->uuid,
				     problem);
	return r;
}

/* What fails here the first open does; the image that needs it is there. */
static int adopt_base(const struct creation *creation, struct problem *problem)
{
	struct problem why;
	int r = base_adopt(&creation->base_identity, &creation->base, &why);

	if (r < 0)
		problem_set(problem, "image", creation->options->image,
			    "was made, and adopts its base when it is first served: %s", why.text);
	return r;
}

/*
 * Signals wait until the image stands there whole, so that they cannot leave
 * half of one behind; it takes a second at most.
 */
static int make_image(const struct creation *creation, struct problem *problem)
{
	const struct image_recipe recipe = {
		.disk_bytes = creation->disk_bytes,
		.encryption = creation->options->encryption,
		.now_s = (uint64_t)time(NULL),
		.uuid = creation->uuid,
		.secret = creation->secret,
		.base = creation->options->has_base ? &creation->base_identity : NULL,
	};
	sigset_t all, before;
	int r;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	r = image_create(creation->ring, creation->options->image, &recipe, problem);
	if (r == 0 && creation->options->own_base)
		r = adopt_base(creation, problem);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return r;
}

static void print_creation(const struct creation *creation)
{
	char size[SIZE_TEXT_BYTES];

	printf("created ");
	print_text(stdout, creation->options->image);
	printf(": disk of %s (%" PRIu64 " bytes), ", size_text(creation->disk_bytes, size),
	       creation->disk_bytes);
	if (creation->options->has_base) {
		printf("base ");
		print_text(stdout, creation->options->base_path);
		printf(" (%s, %s%s), ", base_format_name(creation->base.format),
		       size_text(creation->base.disk_bytes, size),
		       creation->options->own_base ? ", owned" : "");
	} else {
		printf("no base, ");
	}
	printf("encryption %s\n", creation->options->encryption ? "on" : "off");
}

int verb_create(const struct tool_options *options, struct problem *problem)
{
	CLEANUP(creation_done) struct creation creation = { .options = options };
	int r = ring_sync_new(&creation.ring);

	if (r < 0) {
		problem_set(problem, "image", options->image, "no memory");
		return r;
	}
	r = prepare(&creation, problem);
	if (r == 0)
		r = make_image(&creation, problem);
	if (r == 0)
		print_creation(&creation);
	return r;
}
