/* SPDX-License-Identifier: MIT */
/* Events and those who follow them. Images are told apart by their address only. */
#include "control/events.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

static struct image one, other;

/* By value: a handle. */
struct hub {
	struct control_events *events;
};

static struct hub hub_new(void)
{
	struct image *const images[] = { &one, &other };
	struct hub hub = { calloc(1, sizeof(*hub.events)) };

	cr_assert_not_null(hub.events);
	cr_assert_eq(control_events_init(hub.events, images, 2), 0);
	return hub;
}

static void hub_free(struct hub hub)
{
	control_events_done(hub.events);
	free(hub.events);
}

static void publish(struct hub hub, const struct image *image, int number)
{
	control_publish(hub.events, image, json_pack("{s:s, s:i}", "event", "n", "n", number));
}

static bool is_awake(const struct control_follower *follower)
{
	struct pollfd fd = { .fd = follower->wake_fd, .events = POLLIN };

	return poll(&fd, 1, 0) == 1;
}

/* The number of the next event, or -1: there is none. */
static int hear(struct hub hub, struct control_follower *follower, uint64_t *ret_nr_lost)
{
	char line[CONTROL_EVENT_BYTES_MAX];
	size_t nr = control_next_event(hub.events, follower, line, ret_nr_lost);
	json_t *event;
	int number;

	if (nr == 0)
		return -1;
	cr_assert_eq(line[nr - 1], '\n');
	event = json_loadb(line, nr, 0, NULL);
	cr_assert_not_null(event, "%.*s", (int)nr, line);
	cr_expect_eq(strlen(json_string_value(json_object_get(event, "time"))), 20);
	number = (int)json_integer_value(json_object_get(event, "n"));
	json_decref(event);
	return number;
}

Test(control_events, a_follower_hears_of_its_image_from_then_on_and_of_no_other)
{
	struct control_follower follower;
	struct hub hub = hub_new();
	uint64_t nr_lost;

	publish(hub, &one, 1);
	cr_assert_eq(control_follow(hub.events, &one, &follower), 0);
	publish(hub, &other, 2);
	cr_expect(!is_awake(&follower));
	publish(hub, &one, 3);
	publish(hub, &one, 4);
	cr_expect(is_awake(&follower));
	cr_expect_eq(hear(hub, &follower, &nr_lost), 3);
	cr_expect_eq(nr_lost, 0);
	cr_expect_eq(hear(hub, &follower, &nr_lost), 4);
	cr_expect_eq(hear(hub, &follower, &nr_lost), -1);
	cr_expect_eq(nr_lost, 0);
	cr_expect(!is_awake(&follower));
	control_unfollow(hub.events, &follower);
	publish(hub, &one, 5);
	hub_free(hub);
}

Test(control_events, who_falls_behind_loses_the_oldest_and_is_told_how_many)
{
	struct control_follower slow, quick;
	struct hub hub = hub_new();
	uint64_t nr_lost;

	cr_assert_eq(control_follow(hub.events, &one, &slow), 0);
	cr_assert_eq(control_follow(hub.events, &one, &quick), 0);
	for (int i = 0; i < CONTROL_EVENTS_MAX + 10; i++) {
		publish(hub, &one, i);
		cr_expect_eq(hear(hub, &quick, &nr_lost), i);
		cr_expect_eq(nr_lost, 0);
	}
	cr_expect_eq(hear(hub, &slow, &nr_lost), 10);
	cr_expect_eq(nr_lost, 10);
	for (int i = 11; i < CONTROL_EVENTS_MAX + 10; i++) {
		cr_expect_eq(hear(hub, &slow, &nr_lost), i);
		cr_expect_eq(nr_lost, 0);
	}
	cr_expect_eq(hear(hub, &slow, &nr_lost), -1);
	control_unfollow(hub.events, &slow);
	control_unfollow(hub.events, &quick);
	hub_free(hub);
}

Test(control_events, what_is_too_long_or_found_no_memory_counts_as_lost)
{
	char long_text[CONTROL_EVENT_BYTES_MAX + 1];
	struct control_follower follower;
	struct hub hub = hub_new();
	uint64_t nr_lost;

	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	cr_assert_eq(control_follow(hub.events, &one, &follower), 0);
	control_publish(hub.events, &one, json_pack("{s:s}", "event", long_text));
	control_publish(hub.events, &one, NULL);
	cr_expect_eq(hear(hub, &follower, &nr_lost), -1);
	cr_expect_eq(nr_lost, 2);
	control_publish(hub.events, &one, NULL);
	publish(hub, &one, 7);
	cr_expect_eq(hear(hub, &follower, &nr_lost), 7);
	cr_expect_eq(nr_lost, 1);
	control_unfollow(hub.events, &follower);
	hub_free(hub);
}

Test(control_events, a_line_that_just_fits_arrives_whole)
{
	static const char frame[] = "{\"event\":\"\",\"time\":\"2026-01-01T00:00:00Z\"}\n";
	char name[CONTROL_EVENT_BYTES_MAX], line[CONTROL_EVENT_BYTES_MAX];
	const size_t nr = CONTROL_EVENT_BYTES_MAX - (sizeof(frame) - 1);
	struct control_follower follower;
	struct hub hub = hub_new();
	uint64_t nr_lost;

	memset(name, 'x', nr);
	name[nr] = '\0';
	cr_assert_eq(control_follow(hub.events, &one, &follower), 0);
	control_publish(hub.events, &one, json_pack("{s:s}", "event", name));
	cr_expect_eq(control_next_event(hub.events, &follower, line, &nr_lost), sizeof(line));
	cr_expect_eq(line[sizeof(line) - 1], '\n');
	control_unfollow(hub.events, &follower);
	hub_free(hub);
}

Test(control_events, there_are_only_so_many_followers)
{
	struct control_follower followers[CONTROL_FOLLOWERS_MAX + 1];
	struct hub hub = hub_new();
	struct image unknown;

	for (unsigned int i = 0; i < CONTROL_FOLLOWERS_MAX; i++)
		cr_assert_eq(control_follow(hub.events, i % 2 ? &one : &other, &followers[i]), 0);
	cr_expect_eq(control_follow(hub.events, &one, &followers[CONTROL_FOLLOWERS_MAX]), -EUSERS);
	control_unfollow(hub.events, &followers[3]);
	cr_expect_eq(control_follow(hub.events, &unknown, &followers[3]), -ENOENT);
	cr_expect_eq(control_follow(hub.events, &one, &followers[3]), 0);
	for (unsigned int i = 0; i < CONTROL_FOLLOWERS_MAX; i++)
		control_unfollow(hub.events, &followers[i]);
	cr_expect_eq(hub.events->nr_followers, 0);
	cr_expect_null(hub.events->followers);
	hub_free(hub);
}

struct publisher {
	pthread_t thread;
	struct hub hub;
};

enum { NR_PUBLISHED = 20000 };

static void *keep_publishing(void *arg)
{
	struct publisher *publisher = arg;

	for (int i = 0; i < NR_PUBLISHED; i++)
		publish(publisher->hub, &one, i);
	return NULL;
}

Test(control_events, under_load_events_come_in_order_and_the_lost_ones_add_up)
{
	struct publisher publisher = { .hub = hub_new() };
	struct control_follower follower;
	struct pollfd fd = { .events = POLLIN };
	uint64_t nr_lost, nr = 0;
	int number;

	cr_assert_eq(control_follow(publisher.hub.events, &one, &follower), 0);
	fd.fd = follower.wake_fd;
	cr_assert_eq(pthread_create(&publisher.thread, NULL, keep_publishing, &publisher), 0);
	while (nr < NR_PUBLISHED) {
		cr_assert_eq(poll(&fd, 1, 10000), 1, "nobody woke the follower");
		while ((number = hear(publisher.hub, &follower, &nr_lost)) >= 0) {
			nr += nr_lost;
			cr_assert_eq((uint64_t)number, nr, "event %d after %lu", number, nr);
			nr++;
		}
	}
	pthread_join(publisher.thread, NULL);
	control_unfollow(publisher.hub.events, &follower);
	free(publisher.hub.events);
}
