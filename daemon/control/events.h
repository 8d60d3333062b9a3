/* SPDX-License-Identifier: MIT */
/*
 * What happens to images, for those who follow it: {"verb":"events"} on the
 * control socket, `sealblk events`.
 *
 * Each image keeps its last CONTROL_EVENTS_MAX events, as lines. Followers read
 * them at their own pace, and one that falls further behind loses the oldest and
 * is told how many: nobody who publishes ever waits for a follower.
 */
#ifndef CONTROL_EVENTS_H
#define CONTROL_EVENTS_H

#include <jansson.h>
#include <pthread.h>
#include <stdint.h>

#include "base/compiler.h"
#include "image/image.h"
#include "sealblk/limits.h"

struct control_event {
	uint16_t nr_bytes; /* 0: it was too long, or there was no memory: lost */
	char line[CONTROL_EVENT_BYTES_MAX];
};

struct control_channel {
	const struct image *image;
	uint64_t nr_events; /* ever published; event n is at n % CONTROL_EVENTS_MAX */
	struct control_event events[CONTROL_EVENTS_MAX];
};

struct control_events {
	unsigned int nr_channels;	  /* frozen */
	pthread_mutex_t lock;		  /* for what is below; held for a moment only */
	struct control_channel *channels; /* by image; memory is touched as events come */
	struct control_follower *followers;
	unsigned int nr_followers;
};

/* One who follows an image; its owner's, on one thread, but for the links. */
struct control_follower {
	struct control_channel *channel;
	uint64_t next_event;
	int wake_fd; /* an eventfd, readable when something may be there */
	struct control_follower *next;
};

/*
 * Before any thread publishes. @images are borrowed. @events: zeroed.
 * Returns 0 (control_events_done() it) or -ENOMEM.
 */
int MUST_CHECK control_events_init(struct control_events *events, struct image *const *images,
				   unsigned int nr_images);

/* When nobody publishes or follows any more. Accepts a zeroed struct. */
void control_events_done(struct control_events *events);

/*
 * Tell those who follow @image. @event: an object with at least "event", its
 * name; the reference is taken over. "time" is added. NULL, for lack of memory,
 * counts as an event that was lost, and so does one longer than
 * CONTROL_EVENT_BYTES_MAX. Any thread; never waits for a follower. Allocates.
 */
void control_publish(struct control_events *events, const struct image *image, json_t *event);

/* {"event":@name,"time":...}, for what a follower alone is told; NULL: no memory. */
json_t *control_event_new(const char *name);

/*
 * Follow @image from here on. Returns 0 (control_unfollow() is due), -EUSERS:
 * CONTROL_FOLLOWERS_MAX do so already; -ENOENT: no such image; or what eventfd() said.
 */
int MUST_CHECK control_follow(struct control_events *events, const struct image *image,
			      struct control_follower *ret_follower);

void control_unfollow(struct control_events *events, struct control_follower *follower);

/*
 * The next event, a line with its newline. *ret_nr_lost: how many were lost
 * before it. Returns its bytes, or 0: there is none; @follower->wake_fd will tell.
 */
size_t control_next_event(struct control_events *events, struct control_follower *follower,
			  char ret_line[CONTROL_EVENT_BYTES_MAX], uint64_t *ret_nr_lost);

#endif
