/* SPDX-License-Identifier: MIT */
/*
 * One conversation over the control socket:
 *
 * is_allowed -> receive_request -> answer_VERB (-> receive_secret) -> flush
 *
 * Every wait is a poll() that control_stop() can end.
 */
#include "control/client.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "control/report.h"
#include "control/server.h"

enum { OUT_LINE_BYTES = 256 }; /* the longest line of a map */

void control_client_lock(const struct control_client *client)
{
	if (client->actions->changes)
		pthread_mutex_lock(client->actions->changes);
}

void control_client_unlock(const struct control_client *client)
{
	if (client->actions->changes)
		pthread_mutex_unlock(client->actions->changes);
}

/* ---- talking to the client ---- */

int control_client_wait(struct control_client *client, short events)
{
	struct pollfd fds[2] = {
		{ .fd = client->fd, .events = events },
		{ .fd = client->stop_fd, .events = POLLIN },
	};
	int r;

	do
		r = poll(fds, 2, CONTROL_WAIT_MS);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	if (fds[1].revents)
		return -ECANCELED;
	return r == 0 ? -ETIMEDOUT : 0;
}

int control_client_send(struct control_client *client, const void *bytes, size_t nr_bytes)
{
	const char *at = bytes;

	while (nr_bytes > 0) {
		ssize_t n = send(client->fd, at, nr_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
		int r = 0;

		if (n >= 0) {
			at += n;
			nr_bytes -= (size_t)n;
		} else if (errno == EAGAIN) {
			r = control_client_wait(client, POLLOUT);
		} else if (errno != EINTR) {
			r = -errno;
		}
		if (r < 0)
			return r;
	}
	return 0;
}

int control_client_flush(struct control_client *client)
{
	const size_t nr_bytes = client->nr_out;

	client->nr_out = 0;
	return control_client_send(client, client->out, nr_bytes);
}

int control_client_put_bytes(struct control_client *client, const char *bytes, size_t nr_bytes)
{
	while (nr_bytes > 0) {
		size_t room = sizeof(client->out) - client->nr_out;
		size_t part = nr_bytes < room ? nr_bytes : room;
		int r = 0;

		memcpy(client->out + client->nr_out, bytes, part);
		client->nr_out += part;
		bytes += part;
		nr_bytes -= part;
		if (client->nr_out == sizeof(client->out))
			r = control_client_flush(client);
		if (r < 0)
			return r;
	}
	return 0;
}

PRINTF_LIKE(2, 3) static int out_line(struct control_client *client, const char *fmt, ...)
{
	char line[OUT_LINE_BYTES];
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	return n < 0 || (size_t)n >= sizeof(line)
		       ? -EINVAL
		       : control_client_put_bytes(client, line, (size_t)n);
}

/* ---- answers ---- */

static int write_json(const char *bytes, size_t nr_bytes, void *client)
{
	return control_client_put_bytes(client, bytes, nr_bytes);
}

int control_client_put(struct control_client *client, const json_t *object)
{
	if (json_dump_callback(object, write_json, client, JSON_COMPACT) < 0)
		return -EIO;
	return out_line(client, "\n");
}

static int answer_info(struct control_client *client, const struct report *report)
{
	json_t *info;
	int r = report_info_json(report, NULL, &info);

	if (r < 0)
		return r;
	r = control_client_put(client, info);
	json_decref(info);
	return r;
}

static int answer_extent(void *arg, uint64_t first_sector, uint64_t nr_sectors,
			 enum report_state state)
{
	return out_line(arg,
			"{\"offset_bytes\":%" PRIu64 ",\"length_bytes\":%" PRIu64
			",\"state\":\"%s\"}\n",
			sectors_to_bytes(first_sector), sectors_to_bytes(nr_sectors),
			report_state_name(state));
}

static int answer_map(struct control_client *client, const struct report *report)
{
	int r = report_walk(report, answer_extent, client);

	return r == 0 ? out_line(client, "{\"end\":true}\n") : r;
}

static int answer_encryption(struct control_client *client, const struct report *report)
{
	const json_t *enabled = json_object_get(client->request, "enabled");
	json_t *encryption;
	int r = 0;

	if (enabled && !json_is_boolean(enabled))
		return -EBADRQC;
	if (enabled && !client->actions->switch_plane)
		return -EOPNOTSUPP;
	control_client_lock(client);
	if (enabled)
		r = client->actions->switch_plane(client->actions->arg, report->image,
						  json_is_true(enabled) ? IMAGE_TARGET_SEALED
									: IMAGE_TARGET_PLAIN,
						  &client->problem);
	/* Still under the lock: what this client asked for, not what the next one did. */
	encryption = r == 0 ? report_encryption_json(report) : NULL;
	control_client_unlock(client);
	if (r < 0)
		return r;
	r = encryption ? control_client_put(client, encryption) : -ENOMEM;
	json_decref(encryption);
	return r;
}

static int answer_policy(struct control_client *client, const struct report *report)
{
	json_t *policy;
	int r;

	(void)report; /* of all images */
	if (!client->actions->tell_policy)
		return -EOPNOTSUPP;
	control_client_lock(client);
	policy = client->actions->tell_policy(client->actions->arg);
	control_client_unlock(client);
	r = policy ? control_client_put(client, policy) : -ENOMEM;
	json_decref(policy);
	return r;
}

static int answer_sockets(struct control_client *client, const struct report *report)
{
	json_t *sockets;
	int r;

	if (!client->actions->tell_sockets)
		return -EOPNOTSUPP;
	control_client_lock(client);
	sockets = client->actions->tell_sockets(client->actions->arg, report->image);
	control_client_unlock(client);
	r = sockets ? control_client_put(client, sockets) : -ENOMEM;
	json_decref(sockets);
	return r;
}

static const struct {
	const char *verb;
	int (*answer)(struct control_client *client, const struct report *report);
} verbs[] = {
	{ "info", answer_info },
	{ "map", answer_map },
	{ "encryption", answer_encryption },
	{ "keys", control_answer_keys },
	{ "key-add", control_answer_key_add },
	{ "key-remove", control_answer_key_remove },
	{ "key-rotate", control_answer_key_rotate },
	{ "key-revoke", control_answer_key_revoke },
	{ "key-restore", control_answer_key_restore },
	{ "events", control_answer_events },
	{ "export", control_answer_export },
	{ "rewrite", control_answer_rewrite },
	{ "policy", answer_policy },
	{ "sockets", answer_sockets },
};

static int answer(struct control_client *client, struct image *image)
{
	const char *verb = json_string_value(json_object_get(client->request, "verb"));
	struct report report = {
		.image = image,
		.ring = client->ring,
		.live = true,
		.stop = client->stop,
		.changes = client->actions->changes,
	};

	for (size_t i = 0; verb && i < ARRAY_LEN(verbs); i++)
		if (strcmp(verb, verbs[i].verb) == 0)
			return verbs[i].answer(client, &report);
	return -EBADRQC;
}

/* ---- one client ---- */

static bool is_allowed(int fd)
{
	struct ucred peer;
	socklen_t bytes = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) < 0)
		return false;
	return peer.uid == 0 || peer.uid == geteuid();
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/*
 * Reads up to the newline. Returns the bytes before it; -EMSGSIZE: too many;
 * -EPIPE: none came; -ETIMEDOUT: too slowly, be it byte by byte.
 */
static int receive_line(struct control_client *client, char line[CONTROL_REQUEST_BYTES_MAX])
{
	const int64_t start_ms = now_ms();
	size_t nr = 0;

	while (nr < CONTROL_REQUEST_BYTES_MAX) {
		int r = control_client_wait(client, POLLIN);
		const char *newline;
		ssize_t n;

		if (r == 0 && now_ms() > start_ms + CONTROL_WAIT_MS)
			r = -ETIMEDOUT;
		if (r < 0)
			return r;
		n = recv(client->fd, line + nr, CONTROL_REQUEST_BYTES_MAX - nr, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EPIPE;
		newline = memchr(line + nr, '\n', (size_t)n);
		if (newline)
			return (int)(newline - line);
		nr += (size_t)n;
	}
	return -EMSGSIZE;
}

int control_client_receive(struct control_client *client, json_t **ret_object)
{
	char line[CONTROL_REQUEST_BYTES_MAX];
	int nr = receive_line(client, line);
	json_t *request;

	if (nr < 0)
		return nr;
	request = json_loadb(line, (size_t)nr, JSON_REJECT_DUPLICATES, NULL);
	if (!request)
		return -EBADMSG;
	*ret_object = request;
	return 0;
}

static const char *error_text(int error)
{
	switch (error) {
	case -EBADRQC:
		return "this daemon does not know the request";
	case -EBADMSG:
		return "the request is not JSON";
	case -EMSGSIZE:
		return "the request is too long";
	case -EUSERS:
		return "as many clients follow events as it lets do so: try again";
	case -EPERM:
		return "only the daemon's user and root may ask";
	default:
		return strerror(-error);
	}
}

/* A line for the user. It holds a path, and so perhaps what JSON cannot hold. */
static int out_error(struct control_client *client, const struct image *image, int error)
{
	json_t *object;
	int r;

	if (!client->problem.text[0])
		problem_set(&client->problem, "image", image->path, "its daemon: %s",
			    error_text(error));
	object = json_pack("{s:s}", "error", client->problem.text);
	if (object && error == -EKEYREJECTED &&
	    json_object_set_new(object, "key_rejected", json_true()) < 0) {
		json_decref(object);
		object = NULL;
	}
	if (!object)
		return out_line(client, "{\"error\":\"%s\"}\n", error_text(error));
	r = control_client_put(client, object);
	json_decref(object);
	return r;
}

void control_client_serve(struct control_client *client, struct image *image)
{
	int r = is_allowed(client->fd) ? 0 : -EPERM;

	client->nr_out = 0;
	client->ring = NULL;
	client->request = NULL;
	client->problem.text[0] = 0;
	if (r == 0)
		r = control_client_receive(client, &client->request);
	if (r == 0)
		r = ring_sync_new(&client->ring);
	if (r == 0)
		r = answer(client, image);
	ring_free(client->ring);
	json_decref(client->request);
	/* To a client that is gone or slow there is nothing to say. */
	if (r < 0 && r != -ECANCELED && r != -ETIMEDOUT && r != -EPIPE && r != -ECONNRESET)
		r = out_error(client, image, r);
	if (r == 0)
		r = control_client_flush(client);
	if (r < 0)
		log_line(LOG_LEVEL_DEBUG, "control: image %s: client cut off: %s", image->path,
			 strerror(-r));
}
