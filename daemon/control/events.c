/* SPDX-License-Identifier: MIT */
/* Events of images and those who follow them: see events.h. */
#include "control/events.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "control/report.h"

int control_events_init(struct control_events *events, struct image *const *images,
			unsigned int nr_images)
{
	struct control_channel *channels = calloc(nr_images, sizeof(*channels));

	if (!channels)
		return -ENOMEM;
	pthread_mutex_init(&events->lock, NULL);
	events->channels = channels;
	events->nr_channels = nr_images;
	for (unsigned int i = 0; i < nr_images; i++)
		channels[i].image = images[i];
	return 0;
}

void control_events_done(struct control_events *events)
{
	if (!events->channels)
		return;
	pthread_mutex_destroy(&events->lock);
	free(events->channels);
	*events = (struct control_events){ 0 };
}

static struct control_channel *find_channel(struct control_events *events,
					    const struct image *image)
{
	for (unsigned int i = 0; i < events->nr_channels; i++)
		if (events->channels[i].image == image)
			return &events->channels[i];
	return NULL;
}

/* ---- publishing ---- */

/* Returns 0 or -1. */
static int set_time(json_t *event)
{
	return json_object_set_new(event, "time", report_time_json((uint64_t)time(NULL)));
}

json_t *control_event_new(const char *name)
{
	json_t *event = json_pack("{s:s}", "event", name);

	if (event && set_time(event) < 0) {
		json_decref(event);
		return NULL;
	}
	return event;
}

/* Returns the bytes, 0 when the line does not fit. */
static size_t write_line(char line[CONTROL_EVENT_BYTES_MAX], json_t *event)
{
	size_t nr;

	if (!event || set_time(event) < 0)
		return 0;
	nr = json_dumpb(event, line, CONTROL_EVENT_BYTES_MAX - 1, JSON_COMPACT);
	if (nr == 0 || nr >= CONTROL_EVENT_BYTES_MAX)
		return 0;
	line[nr] = '\n';
	return nr + 1;
}

void control_publish(struct control_events *events, const struct image *image, json_t *event)
{
	struct control_channel *channel = find_channel(events, image);
	char line[CONTROL_EVENT_BYTES_MAX];
	const size_t nr_bytes = write_line(line, event);
	struct control_event *place;

	json_decref(event);
	if (!channel)
		return;
	pthread_mutex_lock(&events->lock);
	place = &channel->events[channel->nr_events++ % CONTROL_EVENTS_MAX];
	place->nr_bytes = (uint16_t)nr_bytes;
	memcpy(place->line, line, nr_bytes);
	for (struct control_follower *at = events->followers; at; at = at->next)
		if (at->channel == channel)
			/* Cannot block: who follows reads it, and the counter is far from full. */
			(void)eventfd_write(at->wake_fd, 1);
	pthread_mutex_unlock(&events->lock);
}

/* ---- following ---- */

int control_follow(struct control_events *events, const struct image *image,
		   struct control_follower *ret_follower)
{
	struct control_channel *channel = find_channel(events, image);
	int fd, r = 0;

	if (!channel)
		return -ENOENT;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	pthread_mutex_lock(&events->lock);
	if (events->nr_followers == CONTROL_FOLLOWERS_MAX) {
		r = -EUSERS;
	} else {
		*ret_follower = (struct control_follower){
			.channel = channel,
			.next_event = channel->nr_events,
			.wake_fd = fd,
			.next = events->followers,
		};
		events->followers = ret_follower;
		events->nr_followers++;
	}
	pthread_mutex_unlock(&events->lock);
	if (r < 0)
		close(fd);
	return r;
}

void control_unfollow(struct control_events *events, struct control_follower *follower)
{
	struct control_follower **link = &events->followers;

	pthread_mutex_lock(&events->lock);
	while (*link != follower)
		link = &(*link)->next;
	*link = follower->next;
	events->nr_followers--;
	pthread_mutex_unlock(&events->lock);
	close(follower->wake_fd);
}

static void skip_lost(struct control_follower *follower, uint64_t *ret_nr_lost)
{
	const struct control_channel *channel = follower->channel;
	const uint64_t behind = channel->nr_events - follower->next_event;

	*ret_nr_lost = behind > CONTROL_EVENTS_MAX ? behind - CONTROL_EVENTS_MAX : 0;
	follower->next_event += *ret_nr_lost;
	while (follower->next_event < channel->nr_events &&
	       channel->events[follower->next_event % CONTROL_EVENTS_MAX].nr_bytes == 0) {
		follower->next_event++;
		++*ret_nr_lost;
	}
}

size_t control_next_event(struct control_events *events, struct control_follower *follower,
			  char ret_line[CONTROL_EVENT_BYTES_MAX], uint64_t *ret_nr_lost)
{
	const struct control_channel *channel = follower->channel;
	size_t nr_bytes = 0;
	eventfd_t counted;

	/* Before looking: what comes afterwards wakes again. */
	(void)eventfd_read(follower->wake_fd, &counted);
	pthread_mutex_lock(&events->lock);
	skip_lost(follower, ret_nr_lost);
	if (follower->next_event < channel->nr_events) {
		const struct control_event *event =
			&channel->events[follower->next_event++ % CONTROL_EVENTS_MAX];

		nr_bytes = event->nr_bytes;
		memcpy(ret_line, event->line, nr_bytes);
	}
	pthread_mutex_unlock(&events->lock);
	return nr_bytes;
}
