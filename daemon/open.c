/* SPDX-License-Identifier: MIT */
/* Opening what is to be served: keys, images, bases. See open.h. */
#include "open.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "keys/key_mem.h"

/* ---- keys ---- */

struct secrets {
	struct key_secret *secrets[KEY_SOURCES_MAX];
	unsigned int nr;
};

/* All but the first @nr_kept. */
static void wipe_secrets(struct secrets *secrets, unsigned int nr_kept)
{
	while (secrets->nr > nr_kept)
		key_mem_free(secrets->secrets[--secrets->nr]);
}

/* @image: add what the sources say that answer for it alone. NULL: what the others say. */
static int read_secrets(struct server *server, const struct image *image, struct secrets *secrets,
			struct problem *problem)
{
	const struct options *options = server->options;
	struct key_wanted wanted = { 0 };
	char why[KEY_WHY_BYTES];

	if (image)
		wanted = key_wanted_of(image->super.uuid, &image->keyring);
	for (unsigned int i = 0; i < options->nr_keys; i++) {
		const struct key_source *source = &options->keys[i];
		int r;

		if (key_source_is_per_image(source->kind) != (image != NULL))
			continue;
		r = helper_read_key(&server->helper, source, &wanted,
				    &secrets->secrets[secrets->nr], why);
		if (r < 0) {
			problem_set(problem, key_source_kind_name(source->kind), source->name, "%s",
				    why);
			return r;
		}
		secrets->nr++;
	}
	return 0;
}

/* ---- images ---- */

/* Waiting for its lock would be waiting for ourselves. */
static bool is_loaded(const struct server *server, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return false;
	for (unsigned int i = 0; i < server->nr_exports; i++) {
		const struct store *store = &server->images[i]->store;

		if (store->inode == st.st_ino && store->device == st.st_dev)
			return true;
	}
	return false;
}

static int load_image(struct server *server, const char *path, struct image **ret_image,
		      struct problem *problem)
{
	bool read_only = server->options->read_only;
	struct store store;
	int fd = -1;
	int r = helper_open(&server->helper, path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC,
			    &fd);

	if (r == 0 && is_loaded(server, fd)) {
		close(fd);
		problem_set(problem, "image", path, "given twice: it is an export already");
		return -EEXIST;
	}
	if (r == 0)
		r = store_file_init(&store, fd,
				    read_only ? STORE_LOCK_SHARED : STORE_LOCK_EXCLUSIVE,
				    LOCK_WAIT_MS);
	if (r == -EBUSY)
		problem_set(problem, "image", path, "in use: another daemon or tool has it open");
	else if (r < 0)
		problem_set(problem, "image", path, "cannot be opened: %s", strerror(-r));
	if (r < 0)
		return r;
	return image_load(&store, path, server->ring, !read_only, ret_image, problem);
}

/* In memory there is no cache to go past. */
static int bypass_cache(struct server *server, struct image *image, struct problem *problem)
{
	const int flags = server->options->read_only ? O_RDONLY : O_RDWR;
	int fd = -1;
	int r;

	if (!server->options->cache_none || image->store.in_memory)
		return 0;
	r = helper_open(&server->helper, image->path, flags | O_CLOEXEC | O_DIRECT, &fd);
	if (r == 0)
		return image_use_direct(image, fd, problem);
	problem_set(problem, "image", image->path, "cannot be opened past the page cache: %s",
		    r == -EINVAL ? "its file system has no O_DIRECT; leave out --cache none"
				 : strerror(-r));
	return r;
}

static int open_for_base(void *helper, const char *path, int *ret_fd)
{
	return helper_open(helper, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, ret_fd);
}

static int attach_base(struct server *server, struct image *image, struct problem *problem)
{
	const struct base_opener opener = { open_for_base, &server->helper };
	const bool owned = image->base_identity.owned && image->writable;
	char path[PATH_BYTES_MAX];
	int fd = -1;
	int r;

	if (!image->super.has_base)
		return 0;
	r = base_identity_find(&image->base_identity, image->path, path);
	if (r < 0) {
		problem_set(problem, "image", image->path, "its base %s is not there",
			    image->base_identity.path_absolute);
		return r;
	}
	/* A writable descriptor makes it locked exclusively. */
	r = helper_open(&server->helper, path, (owned ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK,
			&fd);
	if (r < 0) {
		problem_set(problem, "base", path, "cannot be opened: %s", strerror(-r));
		return r;
	}
	r = image_attach_base(image, fd, path, &opener, problem);
	if (r == 0 && image->base_touched)
		log_line(
			LOG_LEVEL_WARNING,
			"base %s: modified since image %s was made; the sampled contents are the same",
			path, image->path);
	return r;
}

static int check_policy(const struct server *server, const struct image *image,
			struct problem *problem)
{
	if (!server->options->require_encryption || image->super.encryption_enabled)
		return 0;
	problem_set(problem, "image", image->path,
		    "its encryption is off, and --require-encryption asks for it");
	return -EUCLEAN;
}

static void report_recovery(const struct image *image, bool was_unclean)
{
	if (image->nr_bad_copies > 0)
		log_line(LOG_LEVEL_WARNING,
			 "image %s: %u damaged metadata copies; their good twins are used",
			 image->path, image->nr_bad_copies);
	if (was_unclean)
		log_line(LOG_LEVEL_INFO, "image %s: was not closed; recovered, %llu records merged",
			 image->path, (unsigned long long)image->nr_recovered_records);
	if (image->nr_damaged_blocks > 0)
		log_line(LOG_LEVEL_WARNING,
			 "image %s: %llu map blocks are damaged; their sectors answer EIO",
			 image->path, (unsigned long long)image->nr_damaged_blocks);
}

/* @secrets: more are added for this image, and stay. */
static int unlock_image(struct server *server, struct image *image, struct secrets *secrets,
			struct problem *problem)
{
	int r = read_secrets(server, image, secrets, problem);

	if (r == 0)
		r = image_unlock(image, (const struct key_secret *const *)secrets->secrets,
				 secrets->nr, problem);
	return r;
}

static int open_image(struct server *server, unsigned int number, struct secrets *secrets,
		      struct problem *problem)
{
	const struct export_option *option = &server->account->exports[number];
	struct image_session session = {
		.dirty_store = &server->runtime.store,
		.accept_loss = server->options->accept_loss,
		.xts = server->xts,
	};
	struct image *image;
	bool was_unclean;
	int r = load_image(server, option->image, &server->images[number], problem);

	if (r < 0)
		return r;
	image = server->images[number];
	if (server->trace)
		trace_name_file(server->trace, image->store.fd, image->super.uuid, image->path);
	was_unclean = image->super.open_state == SEAL_UNCLEAN;
	memcpy(session.boot_id, server->boot_id, sizeof(session.boot_id));
	r = unlock_image(server, image, secrets, problem);
	if (r == 0)
		r = check_policy(server, image, problem);
	if (r == 0)
		r = bypass_cache(server, image, problem);
	if (r == 0)
		r = attach_base(server, image, problem);
	if (r < 0)
		return r;
	r = runtime_lock(&server->runtime, image->super.uuid, &server->uuid_locks[number]);
	if (r < 0) {
		problem_set(problem, "image", image->path, "%s",
			    r == -EBUSY ? "an image with the same UUID is being served"
					: "cannot lock its UUID in the runtime directory");
		return r;
	}
	r = image_start(image, &session, problem);
	if (r == 0)
		report_recovery(image, was_unclean);
	return r;
}

static void describe_export(struct server *server, unsigned int number)
{
	const struct image *image = server->images[number];
	unsigned int changing = NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES |
				NBD_FLAG_SEND_FAST_ZERO;

	server->exports[number] = (struct nbds_export){
		.name = server->account->exports[number].name,
		.bytes = sectors_to_bytes(image->disk.nr_sectors),
		.minimum_bytes = SECTOR_BYTES,
		.preferred_bytes = 4096,
		.maximum_bytes = REQ_BYTES_MAX,
		.transmission_flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA |
				      NBD_FLAG_SEND_DF | NBD_FLAG_CAN_MULTI_CONN |
				      NBD_FLAG_SEND_CACHE | NBD_FLAG_BLOCK_STATUS_PAYLOAD |
				      (server->options->read_only ? NBD_FLAG_READ_ONLY : changing),
	};
}

int server_open_images(struct server *server, struct problem *problem)
{
	struct secrets secrets = { .nr = 0 };
	int r = read_secrets(server, NULL, &secrets, problem);
	const unsigned int nr_of_all = secrets.nr;

	for (unsigned int i = 0; i < server->account->nr_exports && r == 0; i++) {
		r = open_image(server, i, &secrets, problem);
		wipe_secrets(&secrets, nr_of_all);
		if (r == 0) {
			describe_export(server, i);
			server->nr_exports++;
		}
	}
	wipe_secrets(&secrets, 0);
	return r;
}
