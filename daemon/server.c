/* SPDX-License-Identifier: MIT */
/*
 * Start and stop: policy -> keys -> images -> sockets -> workers, and back. See server.h.
 */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "keys/key_mem.h"
#include "revoke.h"
#include "rewrite.h"
#include "switch.h"
#include "worker.h"

static enum exit_code exit_code_of(int error)
{
	if (error == -EUCLEAN)
		return EXIT_REFUSED;
	return error == -EKEYREJECTED ? EXIT_KEY : EXIT_FAILED;
}

static int tell(int error, const struct problem *problem)
{
	log_line(LOG_LEVEL_ERROR, "%s", problem->text);
	return (int)exit_code_of(error);
}

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
	struct stat new, loaded;

	for (unsigned int i = 0; i < server->nr_exports; i++)
		if (fstat(fd, &new) == 0 && fstat(server->images[i]->store.fd, &loaded) == 0 &&
		    new.st_ino == loaded.st_ino &&new.st_dev == loaded.st_dev)
			return true;
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
	const char *description = image->path;
	unsigned int changing = NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES |
				NBD_FLAG_SEND_FAST_ZERO;

	if (strlen(description) > EXPORT_DESCRIPTION_BYTES_MAX)
		description = NULL;
	server->exports[number] = (struct nbds_export){
		.name = server->account->exports[number].name,
		.description = description,
		.bytes = sectors_to_bytes(image->disk.nr_sectors),
		.minimum_bytes = SECTOR_BYTES,
		.preferred_bytes = 4096,
		.maximum_bytes = REQ_BYTES_MAX,
		.transmission_flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA |
				      NBD_FLAG_SEND_DF | NBD_FLAG_CAN_MULTI_CONN |
				      NBD_FLAG_SEND_CACHE |
				      (server->options->read_only ? NBD_FLAG_READ_ONLY : changing),
	};
}

static int open_images(struct server *server)
{
	struct secrets secrets = { .nr = 0 };
	struct problem problem;
	int r = read_secrets(server, NULL, &secrets, &problem);
	const unsigned int nr_of_all = secrets.nr;

	for (unsigned int i = 0; i < server->account->nr_exports && r == 0; i++) {
		r = open_image(server, i, &secrets, &problem);
		wipe_secrets(&secrets, nr_of_all);
		if (r == 0) {
			describe_export(server, i);
			server->nr_exports++;
		}
	}
	wipe_secrets(&secrets, 0);
	return r < 0 ? tell(r, &problem) : EXIT_OK;
}

/* ---- sockets and workers ---- */

static int listen_all(struct server *server)
{
	const struct options *options = server->options;
	struct problem problem;
	int inherited_r =
		listen_inherited(server->listeners, LISTENERS_MAX, &server->nr_listeners, &problem);

	if (inherited_r < 0)
		return tell(inherited_r, &problem);
	for (unsigned int i = 0; i < options->nr_sockets + options->nr_listen; i++) {
		struct listener *listener = &server->listeners[server->nr_listeners];
		int r = i < options->nr_sockets
				? listen_unix(listener, options->sockets[i], &problem)
				: listen_tcp(listener, options->listen[i - options->nr_sockets],
					     &problem);

		if (r < 0)
			return tell(r, &problem);
		server->nr_listeners++;
	}
	return EXIT_OK;
}

static int share_images(struct server *server)
{
	for (unsigned int i = 0; i < server->nr_exports; i++) {
		struct lane **lanes = calloc(server->nr_threads, sizeof(struct lane *));

		if (!lanes)
			return -ENOMEM;
		for (unsigned int w = 0; w < server->nr_threads; w++)
			lanes[w] = server->workers[w].lane_of[i];
		server->lanes[i] = lanes;
		map_set_lanes(&server->images[i]->disk.map, lanes, server->nr_threads);
	}
	return 0;
}

static int start_workers(struct server *server)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned int nr = server->options->nr_workers;
	int r = 0;

	if (nr == 0)
		nr = online < 1 ? 1 : (unsigned int)min_u64((uint64_t)online, WORKERS_MAX);
	server->workers = calloc(nr + 1, sizeof(*server->workers));
	if (!server->workers)
		return -ENOMEM;
	server->nr_workers = nr;
	server->nr_threads = nr + 1;
	for (unsigned int i = 0; i < server->nr_threads && r == 0; i++)
		r = worker_init(&server->workers[i], server, i);
	if (r == 0)
		r = background_new(server, &server->workers[nr], &server->workers[nr].background);
	if (r == 0)
		r = share_images(server);
	for (unsigned int i = 0; i < server->nr_threads && r == 0; i++)
		r = worker_run(&server->workers[i]);
	return r;
}

static int start_trace(struct server *server)
{
	const char *path = server->options->trace;
	int r = trace_new(path, &server->trace);

	if (r == 0)
		r = ring_trace_new(server->trace, 0, server->ring, &server->ring);
	if (r < 0) {
		log_line(LOG_LEVEL_ERROR, "--trace %s: cannot be made: %s", path, strerror(-r));
		return EXIT_FAILED;
	}
	log_line(LOG_LEVEL_WARNING, "every write is recorded in %s: this is for diagnosis", path);
	return EXIT_OK;
}

static int prepare(struct server *server)
{
	struct problem problem;
	bool fell_back = false;
	int r = xts_select(server->options->xts, &server->xts, &fell_back);

	if (r < 0) {
		log_line(LOG_LEVEL_ERROR, "--xts %s: %s",
			 server->options->xts ? server->options->xts : "auto",
			 r == -ENOENT ? "not built in, or not on this processor"
				      : "the self-test failed");
		return r == -ENOENT ? EXIT_USAGE : EXIT_FAILED;
	}
	if (fell_back)
		log_line(LOG_LEVEL_WARNING,
			 "the preferred XTS failed its self-test; OpenSSL's is used");
	r = runtime_init(&server->runtime, true, &problem);
	if (r < 0)
		return tell(r, &problem);
	r = runtime_boot_id(server->boot_id);
	if (r == 0)
		r = ring_sync_new(&server->ring);
	if (r < 0) {
		log_line(LOG_LEVEL_ERROR, "cannot start: %s", strerror(-r));
		return EXIT_FAILED;
	}
	return server->options->trace ? start_trace(server) : EXIT_OK;
}

static int read_account(struct server *server)
{
	struct problem problem;
	int r = account_read(server->options, &server->helper, &server->account, &problem);

	return r < 0 ? tell(r, &problem) : EXIT_OK;
}

static int apply_account(struct server *server)
{
	struct problem problem;
	int r = account_apply_first(server, &problem);

	return r < 0 ? tell(r, &problem) : EXIT_OK;
}

static int switch_plane(void *server, struct image *image, enum image_target target,
			struct problem *problem)
{
	return server_switch(server, image, target, problem);
}

static void publish_slot(struct server *server, const struct image *image, const char *event,
			 unsigned int slot)
{
	control_publish(&server->events, image,
			json_pack("{s:s, s:i}", "event", event, "slot", (int)slot));
}

/* With server->changes held. */
static int change_keys(void *arg, struct image *image, const struct key_change *change,
		       struct key_change_result *ret_result, struct problem *problem)
{
	int r = image->super.revoked ? server_refuse_revoked(image, problem)
				     : image_change_keys(image, change, ret_result, problem);
	struct server *server = arg;

	if (r == -EIO)
		log_line(LOG_LEVEL_ERROR, "%s", problem->text);
	if (r == 0 && ret_result->added) {
		log_line(LOG_LEVEL_INFO, "image %s: a key was added in slot %u", image->path,
			 ret_result->new_slot);
		publish_slot(server, image, "key-added", ret_result->new_slot);
	}
	if (r == 0 && ret_result->removed) {
		log_line(LOG_LEVEL_INFO, "image %s: the key in slot %u was removed", image->path,
			 ret_result->old_slot);
		publish_slot(server, image, "key-removed", ret_result->old_slot);
	}
	return r;
}

static int revoke_keys(void *server, struct image *image, bool *ret_changed,
		       struct problem *problem)
{
	return server_revoke(server, image, ret_changed, problem);
}

static int restore_keys(void *server, struct image *image, const struct key_secret *secret,
			bool *ret_changed, struct problem *problem)
{
	return server_restore(server, image, secret, ret_changed, problem);
}

static int rewrite(void *server, struct image *image, const struct rewrite_order *order,
		   struct problem *problem)
{
	return server_rewrite(server, image, order, problem);
}

static json_t *tell_policy(void *server)
{
	return account_json(server);
}

int server_start(struct server *server, const struct options *options)
{
	struct problem problem;
	int code, r;

	server->options = options;
	pthread_mutex_init(&server->changes, NULL);
	for (unsigned int i = 0; i < EXPORTS_MAX; i++)
		server->uuid_locks[i] = -1;
	r = helper_start(&server->helper);
	if (r < 0) {
		log_line(LOG_LEVEL_ERROR, "cannot start the helper: %s", strerror(-r));
		return EXIT_FAILED;
	}
	code = prepare(server);
	if (code == EXIT_OK)
		code = read_account(server);
	if (code == EXIT_OK)
		code = open_images(server);
	if (code == EXIT_OK)
		code = listen_all(server);
	if (code == EXIT_OK)
		code = apply_account(server);
	if (code != EXIT_OK)
		return code;
	control_events_init(&server->events, server->images, server->nr_exports);
	r = start_workers(server);
	if (r < 0) {
		log_line(LOG_LEVEL_ERROR, "cannot start the workers: %s%s", strerror(-r),
			 r == -ENOSYS || r == -EPERM ? " (is io_uring switched off here?)" : "");
		return EXIT_FAILED;
	}
	server->actions = (struct control_actions){
		.changes = &server->changes,
		.events = &server->events,
		.switch_plane = switch_plane,
		.change_keys = change_keys,
		.revoke = revoke_keys,
		.rewrite = rewrite,
		.restore = restore_keys,
		.tell_policy = tell_policy,
		.arg = server,
	};
	r = control_start(server->images, server->nr_exports, &server->runtime, &server->actions,
			  &server->control, &problem);
	return r < 0 ? tell(r, &problem) : EXIT_OK;
}

bool server_is_quiet(const struct server *server)
{
	for (unsigned int i = 0; i < server->nr_exports; i++)
		if (map_is_busy(&server->images[i]->disk.map))
			return false;
	return true;
}

static void stop_workers(struct server *server)
{
	unsigned int nr_running = 0;

	for (unsigned int i = 0; i < server->nr_workers; i++)
		nr_running += server->workers[i].running;
	/* Those that were never started have nothing to drain. */
	atomic_fetch_add(&server->nr_drained, server->nr_workers - nr_running);
	for (unsigned int i = 0; i < server->nr_threads; i++)
		if (server->workers[i].running)
			worker_wake(&server->workers[i]);
	for (unsigned int i = 0; i < server->nr_threads; i++)
		if (server->workers[i].running)
			pthread_join(server->workers[i].thread, NULL);
}

int server_stop(struct server *server)
{
	struct problem problem;
	int code = EXIT_OK;

	atomic_store(&server->stopping, true);
	server->control = control_stop(server->control);
	stop_workers(server);
	/* Only now: a worker accepts from them until it ends. */
	for (unsigned int i = 0; i < server->nr_listeners; i++)
		listen_close(&server->listeners[i]);
	for (unsigned int i = 0; i < EXPORTS_MAX; i++) {
		if (server->images[i] && image_stop(server->images[i], &problem) < 0)
			code = tell(-EIO, &problem);
	}
	for (unsigned int i = 0; i < server->nr_threads; i++)
		worker_done(&server->workers[i]);
	for (unsigned int i = 0; i < EXPORTS_MAX; i++) {
		if (server->images[i])
			runtime_unlock(&server->runtime, server->images[i]->super.uuid,
				       server->uuid_locks[i]);
		image_free(server->images[i]);
		free(server->lanes[i]);
	}
	free(server->workers);
	ring_free(server->ring);
	server->trace = trace_free(server->trace);
	server->account = account_free(server->account);
	helper_stop(&server->helper);
	return code;
}
