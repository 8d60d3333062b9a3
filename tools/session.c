/* SPDX-License-Identifier: MIT */
/* An image opened by a tool to change it: see session.h. */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "keys.h"
#include "keys/key_mem.h"

static int load_as(struct session *session, const char *path, bool writable,
		   struct problem *problem)
{
	const int fd =
		open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct store store;
	int r = fd < 0 ? -errno : ring_sync_new(&session->ring);

	if (r < 0 && fd >= 0)
		close(fd);
	if (r == 0)
		r = store_file_init(&store, fd, writable ? STORE_LOCK_EXCLUSIVE : STORE_LOCK_SHARED,
				    LOCK_WAIT_MS);
	if (r == 0)
		return image_load(&store, path, session->ring, writable, &session->image, problem);
	if (r == -EBUSY)
		problem_set(problem, "image", path, "is in use");
	else
		problem_set(problem, "image", path, "cannot be opened: %s", strerror(-r));
	return r;
}

static int load(struct session *session, const char *path, struct problem *problem)
{
	return load_as(session, path, true, problem);
}

static int unlock(struct session *session, const struct tool_options *options,
		  struct problem *problem)
{
	int r = tool_read_key(&options->key_source, options->image, &session->secret, problem);
	const struct key_secret *secret = session->secret;

	return r == 0 ? image_unlock(session->image, &secret, 1, problem) : r;
}

static int start(struct session *session, struct problem *problem)
{
	struct image_session how = { .dirty_store = &session->runtime.store,
				     .xts = &xts_openssl_ops };
	const struct image *image = session->image;
	int r = runtime_init(&session->runtime, true, problem);

	if (r < 0)
		return r;
	r = runtime_boot_id(how.boot_id);
	if (r == 0)
		r = runtime_lock(&session->runtime, image->super.uuid, &session->uuid_lock);
	if (r < 0) {
		problem_set(problem, "image", image->path, "%s: %s",
			    "cannot lock its UUID in the runtime directory",
			    r == -EBUSY ? "an image with the same UUID is being served"
					: strerror(-r));
		return r;
	}
	return image_start(session->image, &how, problem);
}

/* A shared base is only read. An owned one may have places that a crash left to be punched. */
static int attach_base(struct image *image, struct problem *problem)
{
	const bool owned = image->base_identity.owned && image->writable;
	char path[PATH_BYTES_MAX];
	int fd, r;

	if (!image->super.has_base)
		return 0;
	r = base_identity_find(&image->base_identity, image->path, path);
	if (r < 0) {
		problem_set(problem, "image", image->path, "its base %s is not there",
			    image->base_identity.path_absolute);
		return r;
	}
	fd = open(path, (owned ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0) {
		r = -errno;
		problem_set(problem, "base", path, "cannot be opened%s: %s",
			    owned ? " for writing" : "", strerror(-r));
		return r;
	}
	return image_attach_base(image, fd, path, &base_opener_direct, problem);
}

static int open_session(struct session *session, const struct tool_options *options, bool with_base,
			struct problem *problem)
{
	int r;

	*session = (struct session){ .uuid_lock = -1 };
	r = load(session, options->image, problem);
	if (r == 0)
		r = unlock(session, options, problem);
	if (r == 0 && (with_base || session->image->base_identity.owned))
		r = attach_base(session->image, problem);
	return r == 0 ? start(session, problem) : r;
}

int session_open(struct session *session, const struct tool_options *options,
		 struct problem *problem)
{
	return open_session(session, options, false, problem);
}

int session_open_with_base(struct session *session, const struct tool_options *options,
			   struct problem *problem)
{
	return open_session(session, options, true, problem);
}

static int open_read_only(struct session *session, const struct tool_options *options,
			  struct problem *problem)
{
	const struct image_session how = { .xts = &xts_openssl_ops };
	int r;

	*session = (struct session){ .uuid_lock = -1 };
	r = load_as(session, options->image, false, problem);
	if (r == 0 && session->image->super.open_state != SEAL_CLEAN)
		return -EUCLEAN;
	if (r == 0)
		r = unlock(session, options, problem);
	if (r == 0)
		r = attach_base(session->image, problem);
	if (r == 0)
		r = image_start(session->image, &how, problem);
	if (r == 0)
		image_count_if_needed(session->image);
	return r;
}

int session_open_to_read(struct session *session, const struct tool_options *options,
			 struct problem *problem)
{
	int r = open_read_only(session, options, problem);

	if (r != -EUCLEAN || !session->image || session->image->super.open_state == SEAL_CLEAN)
		return r;
	session_done(session);
	r = session_open_with_base(session, options, problem);
	if (r == 0)
		r = session_close(session, problem);
	if (r < 0)
		return r;
	session_done(session);
	return open_read_only(session, options, problem);
}

int session_open_new(struct session *session, const char *path, struct key_secret *secret,
		     struct problem *problem)
{
	const struct key_secret *secrets = secret;
	int r;

	*session = (struct session){ .uuid_lock = -1, .secret = secret };
	r = load(session, path, problem);
	if (r == 0)
		r = image_unlock(session->image, &secrets, 1, problem);
	return r == 0 ? start(session, problem) : r;
}

int session_open_keyring(struct session *session, const char *path, const struct key_secret *secret,
			 struct problem *problem)
{
	int r;

	*session = (struct session){ .uuid_lock = -1 };
	r = load(session, path, problem);
	return r == 0 ? image_unlock(session->image, &secret, 1, problem) : r;
}

int session_open_revoked(struct session *session, const char *path, const struct key_secret *secret,
			 struct problem *problem)
{
	int r;

	*session = (struct session){ .uuid_lock = -1 };
	r = runtime_init(&session->runtime, false, problem);
	if (r == 0)
		r = load(session, path, problem);
	return r == 0 ? image_unlock_revoked(session->image, &secret, 1, problem) : r;
}

int session_close(struct session *session, struct problem *problem)
{
	return image_stop(session->image, problem);
}

void session_forget(struct session *session)
{
	const struct image *image = session->image;

	if (image && image->dirty_store)
		image->dirty_store->ops->keep_only(image->dirty_store, image->super.uuid,
						   image->store.inode, NULL);
}

void session_done(struct session *session)
{
	if (session->image)
		runtime_unlock(&session->runtime, session->image->super.uuid, session->uuid_lock);
	session->image = image_free(session->image);
	session->secret = key_mem_free(session->secret);
	ring_free(session->ring);
	session->ring = NULL;
}
