/* SPDX-License-Identifier: MIT */
/* The file, or the daemon that serves it: see reach.h. */
#include "reach.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "image/runtime.h"
#include "image/superblock.h"

enum {
	TRIES = 20,
	TRY_MS = 50,
	ANSWER_S = 120, /* counting the sectors of a large disk takes its time */
};

static void closep(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* Returns the descriptor, or a negative errno with *problem. */
static int open_path(const char *path, const char *what, struct problem *problem)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int r = -errno;

	if (fd >= 0)
		return fd;
	problem_set(problem, what, path, "cannot be opened: %s", strerror(-r));
	return r;
}

/* ---- the file ---- */

/* Only its sizes are held against the record: reading all of it is for whoever serves it. */
static int open_base(struct image *image, struct problem *problem)
{
	const struct base_identity *identity = &image->base_identity;
	char path[PATH_BYTES_MAX];
	int fd, r;

	if (base_identity_find(identity, image->path, path) < 0) {
		problem_set(problem, "base", identity->path_absolute, "is missing");
		return -ENOENT;
	}
	fd = open_path(path, "base", problem);
	if (fd < 0)
		return fd;
	r = base_open(&image->base, fd, path, identity->format, &base_opener_direct, problem);
	if (r < 0)
		return r;
	if (base_store(&image->base)->bytes != identity->file_bytes ||
	    image->base.disk_bytes != identity->disk_bytes) {
		base_close(&image->base);
		problem_set(problem, "base", path, "has changed: its size is another");
		return -ESTALE;
	}
	return 0;
}

static int load(struct reach *reach, struct store *store, struct problem *problem)
{
	struct image *image;
	int r = ring_sync_new(&reach->report.ring);

	if (r < 0) {
		problem_set(problem, "image", reach->path, "no memory");
		store_close(store);
		return r;
	}
	r = image_load(store, reach->path, reach->report.ring, false, &image, problem);
	if (r < 0)
		return r;
	reach->report.image = image;
	reach->disk_bytes = le64_get(image->super.disk_bytes);
	reach->base_found = !image->super.has_base || open_base(image, &reach->base_problem) == 0;
	return 0;
}

/* ---- the daemon ---- */

int reach_read_super(const char *path, struct seal_superblock *ret_super, struct problem *problem)
{
	static const off_t places[2] = { SEAL_SUPERBLOCK_A, SEAL_SUPERBLOCK_B };
	enum superblock_verdict verdict = SUPERBLOCK_NO_MAGIC;
	CLEANUP(closep) int fd = open_path(path, "image", problem);

	if (fd < 0)
		return fd;
	for (int i = 0; i < 2; i++) {
		struct seal_superblock super;

		if (pread(fd, &super, sizeof(super), places[i]) != (ssize_t)sizeof(super))
			continue;
		verdict = superblock_check(&super);
		if (verdict == SUPERBLOCK_GOOD) {
			*ret_super = super;
			return 0;
		}
	}
	problem_set(problem, "image", path, "%s", superblock_verdict_text(verdict));
	return -EUCLEAN;
}

static int connect_to(const struct sockaddr_un *address, FILE **ret_stream)
{
	const struct timeval patience = { .tv_sec = ANSWER_S };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	FILE *stream = NULL;
	int r = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
	    !(stream = fdopen(fd, "r"))) {
		r = -errno;
		close(fd);
		return r;
	}
	*ret_stream = stream;
	return 0;
}

static int call_daemon(struct reach *reach, struct problem *problem)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct seal_superblock super;
	struct runtime runtime;
	int r = reach_read_super(reach->path, &super, problem);

	if (r == 0)
		r = runtime_init(&runtime, false, problem);
	if (r < 0)
		return r;
	r = runtime_socket_path(&runtime, super.uuid, address.sun_path, sizeof(address.sun_path));
	if (r == 0)
		r = connect_to(&address, &reach->daemon);
	if (r == 0) {
		reach->disk_bytes = le64_get(super.disk_bytes);
		return 0;
	}
	problem_set(problem, "image", reach->path,
		    "is in use, but no daemon answers in %s (is it another user's?): %s",
		    runtime.directory, strerror(-r));
	return r == -ENOENT || r == -ECONNREFUSED ? -EBUSY : r;
}

/* ---- either ---- */

/* Returns -EBUSY when neither the file nor a daemon is to be had right now. */
static int try_once(struct reach *reach, struct problem *problem)
{
	struct store store;
	int fd = open_path(reach->path, "image", problem);
	int r;

	if (fd < 0)
		return fd;
	r = store_file_init(&store, fd, STORE_LOCK_SHARED, 0);
	if (r == 0)
		return load(reach, &store, problem);
	if (r == -EBUSY)
		return call_daemon(reach, problem);
	problem_set(problem, "image", reach->path, "cannot be read: %s",
		    r == -EINVAL ? "neither a file nor a disk" : strerror(-r));
	return r;
}

int reach_open(struct reach *reach, const char *path, struct problem *problem)
{
	const struct timespec pause = { .tv_nsec = TRY_MS * 1000000 };
	int r = -EBUSY;

	*reach = (struct reach){ .path = path };
	for (int i = 0; i < TRIES && r == -EBUSY; i++) {
		if (i > 0)
			nanosleep(&pause, NULL);
		r = try_once(reach, problem);
	}
	if (r < 0)
		reach_done(reach);
	return r;
}

void reach_done(struct reach *reach)
{
	reach->report.image = image_free(reach->report.image);
	ring_free(reach->report.ring);
	reach->report.ring = NULL;
	if (reach->daemon)
		fclose(reach->daemon);
	reach->daemon = NULL;
}

int reach_ask(struct reach *reach, const char *verb, struct problem *problem)
{
	char line[64];

	snprintf(line, sizeof(line), "{\"verb\":\"%s\"}\n", verb);
	return reach_request(reach, line, problem);
}

static int send_whole(struct reach *reach, const void *bytes, size_t nr_bytes,
		      struct problem *problem)
{
	if (send(fileno(reach->daemon), bytes, nr_bytes, MSG_NOSIGNAL) == (ssize_t)nr_bytes)
		return 0;
	/* A daemon that does not listen to us has said why: the answer is there to be read. */
	if (errno == EPIPE)
		return 0;
	problem_set(problem, "image", reach->path, "its daemon cannot be asked: %s",
		    strerror(errno));
	return -EIO;
}

int reach_request(struct reach *reach, const char *line, struct problem *problem)
{
	return send_whole(reach, line, strlen(line), problem);
}

int reach_send_secret(struct reach *reach, const struct key_secret *secret, struct problem *problem)
{
	return send_whole(reach, secret, sizeof(*secret), problem);
}

static int bad_answer(const struct reach *reach, const char *why, struct problem *problem)
{
	problem_set(problem, "image", reach->path, "its daemon has not answered: %s", why);
	return -EIO;
}

int reach_answer(struct reach *reach, json_t **ret_object, struct problem *problem)
{
	char *line = NULL;
	size_t room = 0;
	int r;

	errno = 0;
	if (getline(&line, &room, reach->daemon) < 0)
		r = reach_lost(reach, errno, problem);
	else
		r = reach_take_answer(reach, line, ret_object, problem);
	free(line);
	return r;
}

int reach_lost(const struct reach *reach, int error, struct problem *problem)
{
	(void)bad_answer(reach, error ? strerror(error) : "it closed the connection", problem);
	/* Reset: it died before it had read all of the question. */
	return error == 0 || error == ECONNRESET ? -EPIPE : -EIO;
}

int reach_take_answer(const struct reach *reach, const char *line, json_t **ret_object,
		      struct problem *problem)
{
	json_t *object = json_loads(line, 0, NULL);
	const char *error;
	int r = 0;

	error = json_string_value(json_object_get(object, "error"));
	if (!json_is_object(object))
		r = bad_answer(reach, "what it says is not JSON", problem);
	else if (error) {
		snprintf(problem->text, sizeof(problem->text), "%s", error);
		r = json_is_true(json_object_get(object, "key_rejected")) ? -EKEYREJECTED : -EIO;
	}
	if (r < 0) {
		json_decref(object);
		return r;
	}
	*ret_object = object;
	return 0;
}

int reach_info(struct reach *reach, json_t **ret_info, struct problem *problem)
{
	int r;

	if (reach->daemon) {
		r = reach_ask(reach, "info", problem);
		return r == 0 ? reach_answer(reach, ret_info, problem) : r;
	}
	r = report_info_json(&reach->report, reach->base_found ? NULL : reach->base_problem.text,
			     ret_info);
	if (r < 0)
		problem_set(problem, "image", reach->path, "cannot be reported on: %s",
			    strerror(-r));
	return r;
}
