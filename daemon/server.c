/* SPDX-License-Identifier: MIT */
/*
 * Start and stop: policy -> keys -> images -> sockets -> rings -> sandbox -> workers, and
 * back. See server.h.
 */
#include "server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actions.h"
#include "base/log.h"
#include "describe.h"
#include "dm/device.h"
#include "net/tls.h"
#include "open.h"
#include "resources.h"
#include "sandbox/sandbox.h"
#include "server_tls.h"
#include "sockets.h"
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

/* ---- sockets and workers ---- */

static int prepare_tls(struct server *server)
{
	struct problem problem;
	int r = server_tls_start(server, &problem);

	return r < 0 ? tell(r, &problem) : EXIT_OK;
}

/* Whoever is on the way could read what is not encrypted there, and write. */
static int refuse_plain_tcp(const struct server *server)
{
	if (server->tls || server->options->insecure_tcp)
		return EXIT_OK;
	for (unsigned int i = 0; i < server->nr_listeners; i++) {
		if (!server->listeners[i].is_tcp || server->listeners[i].is_loopback)
			continue;
		log_line(LOG_LEVEL_ERROR,
			 "a TCP socket that other hosts can reach wants --tls-certificate or "
			 "--tls-psk; --insecure-tcp does without");
		return EXIT_USAGE;
	}
	return EXIT_OK;
}

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
	return refuse_plain_tcp(server);
}

static int share_images(struct server *server)
{
	for (unsigned int i = 0; i < server->nr_exports; i++) {
		struct lane **lanes = calloc(server->nr_threads, sizeof(struct lane *));

		if (!lanes)
			return -ENOMEM;
		for (unsigned int w = 0; w < server->nr_threads; w++)
			lanes[w] = &server->workers[w].lanes[i];
		server->lanes[i] = lanes;
		map_set_lanes(&server->images[i]->disk.map, lanes, server->nr_threads);
	}
	return 0;
}

static unsigned int count_workers(const struct options *options)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);

	if (options->nr_workers)
		return options->nr_workers;
	return online < 1 ? 1 : (unsigned int)min_u64((uint64_t)online, WORKERS_MAX);
}

/* All that they need; they begin with run_workers(). */
static int make_workers(struct server *server)
{
	const unsigned int nr = count_workers(server->options);
	int r = 0;

	server->workers = calloc(nr + 1, sizeof(*server->workers));
	if (!server->workers)
		return -ENOMEM;
	server->nr_workers = nr;
	server->nr_threads = nr + 1;
	for (unsigned int i = 0; i < server->nr_threads && r == 0; i++)
		r = worker_init(&server->workers[i], server, i);
	if (r == 0)
		r = background_new(server, &server->workers[nr], &server->workers[nr].background);
	return r < 0 ? r : share_images(server);
}

static int run_workers(struct server *server)
{
	int r = 0;

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

/* A sysctl, a container's seccomp filter, a security module; a kernel without it, or before 5.10. */
static bool is_refusal(int error)
{
	return error == -EPERM || error == -EACCES || error == -ENOSYS || error == -EINVAL;
}

static int choose_engine(struct server *server)
{
	const enum engine wanted = server->options->engine;
	struct ring *ring;
	int r;

	/* Sockets take none of the system's few requests of Linux AIO. */
	server->new_ring = ring_aio_new;
	server->ring_entries = RING_ENTRIES;
	if (wanted == ENGINE_AIO)
		return EXIT_OK;
	r = ring_uring_new(1, &ring);
	if (r == 0) {
		server->new_ring = server->options->nr_dms > 0 ? ring_uring_new_commanding
							       : ring_uring_new;
		server->ring_entries = RING_ENTRIES + RING_SOCKET_ENTRIES +
				       server->options->nr_dms * SHIM_QUEUE_DEPTH_MAX;
		ring_free(ring);
		return EXIT_OK;
	}
	if (wanted == ENGINE_AUTO && server->options->nr_dms == 0 && is_refusal(r)) {
		log_line(LOG_LEVEL_WARNING, "this system refuses io_uring (%s): libaio is used",
			 strerror(-r));
		return EXIT_OK;
	}
	log_line(LOG_LEVEL_ERROR, "cannot use io_uring: %s%s", strerror(-r),
		 !is_refusal(r)		       ? ""
		 : server->options->nr_dms > 0 ? "; --dm needs it"
					       : "; --io-engine libaio does without");
	return EXIT_FAILED;
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
	r = choose_engine(server);
	return r == EXIT_OK && server->options->trace ? start_trace(server) : r;
}

static int open_images(struct server *server)
{
	struct problem problem;
	int r;

	resources_reserve(server->account->nr_exports, count_workers(server->options),
			  server->options->cache_none);
	r = server_open_images(server, &problem);
	return r < 0 ? tell(r, &problem) : EXIT_OK;
}

/* Behind the images: a device's requests may begin with what the last daemon left. */
static int open_dms(struct server *server)
{
	struct problem problem;
	int r = dm_open_all(server, &problem);

	return r < 0 ? tell(r, &problem) : EXIT_OK;
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

static int open_control(struct server *server)
{
	struct problem problem;
	int r;

	server->actions = server_actions(server);
	/* Of hash tables; read from /dev/urandom, and in the sandbox a guess would do. */
	json_object_seed(0);
	r = server_find_sockets(server);
	if (r < 0) {
		log_line(LOG_LEVEL_ERROR, "cannot start: %s", strerror(-r));
		return EXIT_FAILED;
	}
	r = control_new(server->images, server->nr_exports, &server->runtime, &server->actions,
			&server->control, &problem);
	return r < 0 ? tell(r, &problem) : EXIT_OK;
}

static int failed_workers(const struct server *server, int error)
{
	log_line(LOG_LEVEL_ERROR, "cannot start the workers: %s%s", strerror(-error),
		 error == -EAGAIN && server->new_ring == ring_aio_new
			 ? " (is fs.aio-max-nr used up?)"
			 : "");
	return EXIT_FAILED;
}

/* All that still needs the world outside: files, keys, sockets, rings. */
static int set_up(struct server *server)
{
	int code = prepare(server);
	int r;

	if (code == EXIT_OK)
		code = prepare_tls(server);
	if (code == EXIT_OK)
		code = read_account(server);
	if (code == EXIT_OK)
		code = open_images(server);
	if (code == EXIT_OK)
		code = open_dms(server);
	if (code == EXIT_OK)
		code = listen_all(server);
	if (code == EXIT_OK)
		code = apply_account(server);
	if (code != EXIT_OK)
		return code;
	for (unsigned int i = 0; i < server->nr_exports; i++)
		server_describe(server, i);
	r = control_events_init(&server->events, server->images, server->nr_exports);
	if (r == 0)
		r = make_workers(server);
	return r < 0 ? failed_workers(server, r) : open_control(server);
}

static void tell_of_sandbox(const struct sandbox_state *state)
{
	if (state->left_out)
		log_line(LOG_LEVEL_WARNING, "this build has no sandbox");
	else if (state->landlock_version == 0)
		log_line(LOG_LEVEL_WARNING, "this kernel has no Landlock: the sandbox does not "
					    "restrict which files can be opened");
	else
		log_line(LOG_LEVEL_DEBUG, "sandbox: %u system calls, Landlock version %d",
			 state->nr_calls, state->landlock_version);
}

/* What is read again at SIGHUP is left to it. */
static int lock_helper(struct server *server)
{
	const char *policy = server->options->policy;
	int r = policy ? helper_keep_readable(&server->helper, policy) : 0;

	if (r == 0)
		r = server_tls_keep_files(server);
	if (r == 0)
		r = helper_lock(&server->helper);
	if (r < 0)
		log_line(LOG_LEVEL_ERROR,
			 "sandbox of the helper: cannot be entered: %s; "
			 "--no-sandbox does without",
			 strerror(-r));
	return r;
}

/* Before there are threads and clients. See sandbox/sandbox.h. */
static int enter_sandbox(struct server *server)
{
	const struct options *options = server->options;
	int listeners[LISTENERS_MAX];
	const struct sandbox_plan plan = {
		.folder = server->runtime.directory,
		.sockets = options->sockets,
		.nr_sockets = options->nr_sockets,
		.listeners = listeners,
		.nr_listeners = server->nr_listeners,
	};
	struct sandbox_state state;
	struct problem problem;
	int r;

	if (options->no_sandbox) {
		log_line(LOG_LEVEL_WARNING, "--no-sandbox: whoever takes over this process can do "
					    "what its user can: this is for diagnosis");
		return EXIT_OK;
	}
	for (unsigned int i = 0; i < server->nr_listeners; i++)
		listeners[i] = server->listeners[i].fd;
	if (lock_helper(server) < 0)
		return EXIT_FAILED;
	r = sandbox_enter(&plan, &state, &problem);
	if (r < 0)
		return tell(r, &problem);
	tell_of_sandbox(&state);
	return EXIT_OK;
}

static int run(struct server *server)
{
	struct problem problem;
	int r = run_workers(server);

	if (r < 0)
		return failed_workers(server, r);
	r = control_run(server->control);
	if (r == 0)
		return EXIT_OK;
	problem_set(&problem, "control sockets in", server->runtime.directory,
		    "cannot be served: %s", strerror(-r));
	return tell(r, &problem);
}

int server_start(struct server *server, const struct options *options)
{
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
	code = set_up(server);
	if (code == EXIT_OK)
		code = enter_sandbox(server);
	return code == EXIT_OK ? run(server) : code;
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
	dm_close_all(server);
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
	control_events_done(&server->events);
	dm_free_all(server);
	free(server->workers);
	server->tls = tls_context_put(server->tls);
	json_decref(server->unix_sockets);
	ring_free(server->ring);
	server->trace = trace_free(server->trace);
	server->account = account_free(server->account);
	helper_stop(&server->helper);
	return code;
}
