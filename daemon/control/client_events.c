/* SPDX-License-Identifier: MIT */
/*
 * The verb "events": the state, then each event as it comes, until the client
 * leaves or the daemon stops.
 *
 * follow -> put_state -> (wait -> put_events)... -> put_end -> unfollow
 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "control/client.h"
#include "control/events.h"
#include "control/report.h"
#include "control/server.h"

/* The reference is taken over. NULL: no memory. */
static int put(struct control_client *client, json_t *object)
{
	int r = object ? control_client_put(client, object) : -ENOMEM;

	json_decref(object);
	return r;
}

static json_t *state_json(const struct report *report)
{
	const struct image *image = report->image;
	json_t *state = control_event_new("state");
	int bad;

	if (!state)
		return NULL;
	bad = json_object_update_new(state, report_encryption_json(report));
	bad |= json_object_set_new(state, "writes_failed",
				   json_boolean(atomic_load(&image->disk.map.failed)));
	if (bad) {
		json_decref(state);
		return NULL;
	}
	return state;
}

/* Followed already: what happens from here on comes as an event, too. */
static int put_state(struct control_client *client, const struct report *report)
{
	json_t *state;

	control_client_lock(client);
	state = state_json(report);
	control_client_unlock(client);
	return put(client, state);
}

static int put_lost(struct control_client *client, uint64_t nr_lost)
{
	json_t *event = control_event_new("lost");

	if (event && json_object_set_new(event, "events", json_integer((json_int_t)nr_lost)) < 0) {
		json_decref(event);
		event = NULL;
	}
	return put(client, event);
}

/*
 * Until the client can take something (@events: POLLOUT), or something wakes the
 * follower (0). Without a time limit: a follower may be as slow as it likes.
 */
static int wait_for(const struct control_client *client, const struct control_follower *follower,
		    short events)
{
	struct pollfd fds[3] = {
		/* A client that only closes its writing half wants to hear all the same. */
		{ .fd = client->fd, .events = events },
		{ .fd = client->stop_fd, .events = POLLIN },
		{ .fd = events ? -1 : follower->wake_fd, .events = POLLIN },
	};

	if (poll(fds, 3, -1) < 0)
		return errno == EINTR ? 0 : -errno;
	if (fds[1].revents)
		return -ECANCELED;
	return fds[0].revents & (POLLHUP | POLLERR) ? -EPIPE : 0;
}

/* control_client_flush(), which would lose patience. */
static int flush(struct control_client *client, const struct control_follower *follower)
{
	size_t sent = 0;

	while (sent < client->nr_out) {
		ssize_t n = send(client->fd, client->out + sent, client->nr_out - sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);
		int r = 0;

		if (n >= 0)
			sent += (size_t)n;
		else if (errno == EAGAIN)
			r = wait_for(client, follower, POLLOUT);
		else if (errno != EINTR)
			r = -errno;
		if (r < 0)
			return r;
	}
	client->nr_out = 0;
	return 0;
}

/* All that are there, sent one by one, so that what cannot be sent yet stays where it may be lost. */
static int put_events(struct control_client *client, struct control_follower *follower)
{
	struct control_events *events = client->actions->events;
	uint64_t nr_lost;
	size_t nr_bytes;
	int r;

	do {
		char line[CONTROL_EVENT_BYTES_MAX];

		nr_bytes = control_next_event(events, follower, line, &nr_lost);
		r = nr_lost > 0 ? put_lost(client, nr_lost) : 0;
		if (r == 0)
			r = control_client_put_bytes(client, line, nr_bytes);
		if (r == 0)
			r = flush(client, follower);
	} while (r == 0 && nr_bytes > 0);
	return r;
}

/* Tells "the daemon stops" from "it died". To a client that takes it now, or to none. */
static void put_end(struct control_client *client)
{
	/* Half a line may be there: nothing can follow it. */
	if (client->nr_out == 0 && put(client, control_event_new("end")) == 0)
		(void)send(client->fd, client->out, client->nr_out, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int follow(struct control_client *client, const struct report *report,
		  struct control_follower *follower)
{
	int r = put_state(client, report);

	if (r == 0)
		r = flush(client, follower);
	while (r == 0) {
		r = wait_for(client, follower, 0);
		if (r == 0)
			r = put_events(client, follower);
	}
	if (r == -ECANCELED)
		put_end(client);
	client->nr_out = 0;
	return r;
}

int control_answer_events(struct control_client *client, const struct report *report)
{
	struct control_follower follower;
	int r;

	if (!client->actions->events)
		return -EOPNOTSUPP;
	r = control_follow(client->actions->events, report->image, &follower);
	if (r < 0)
		return r;
	r = follow(client, report, &follower);
	control_unfollow(client->actions->events, &follower);
	return r;
}
