/* SPDX-License-Identifier: MIT */
/* Several clients of the control socket at once, and those that stay. */
#include "control/client.h"

#include "served.h"

#include "control/events.h"

Test(control_clients, neither_a_silent_client_nor_one_that_does_not_read_holds_others_up)
{
	static const char request[] = "{\"verb\":\"map\"}\n";
	struct served served;
	int silent, deaf;
	double start_s;

	set_up(&served);
	make_map_long(&served);
	silent = call(&served);
	deaf = call(&served);
	cr_assert_eq(send(deaf, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
	start_s = now_s();
	cr_expect_not_null(strstr(ask(&served, "{\"verb\":\"info\"}\n"), "in use"));
	cr_expect_lt(now_s() - start_s, 2);
	close(silent);
	close(deaf);
	done(&served);
}

Test(control_clients, a_silent_client_is_cut_off)
{
	struct served served;
	double start_s;
	int fd;

	set_up(&served);
	fd = call(&served);
	start_s = now_s();
	cr_expect_str_eq(hear(fd), "");
	cr_expect_geq(now_s() - start_s, CONTROL_WAIT_MS / 1000.0 - 0.5);
	cr_expect_lt(now_s() - start_s, 2 * CONTROL_WAIT_MS / 1000.0);
	done(&served);
}

Test(control_clients, one_client_too_many_is_told_so_and_served_when_another_has_left)
{
	static const char request[] = "{\"verb\":\"map\"}\n";
	const struct timespec pause = { .tv_nsec = 10000000 };
	int clients[CONTROL_CLIENTS_MAX];
	struct served served;
	int fd, tries = 0;

	set_up(&served);
	for (unsigned int i = 0; i < CONTROL_CLIENTS_MAX; i++)
		clients[i] = call(&served);
	cr_expect_str_eq(hear(call(&served)),
			 "{\"error\":\"the daemon has as many control clients as it takes: try "
			 "again\",\"busy\":true}\n");
	close(clients[7]);
	do {
		cr_assert_lt(tries++, 300);
		nanosleep(&pause, NULL);
		fd = call(&served);
		(void)send(fd, request, strlen(request), MSG_NOSIGNAL);
	} while (strstr(hear_any(fd), "busy"));
	cr_expect_not_null(strstr(answer, "end"));
	for (unsigned int i = 0; i < CONTROL_CLIENTS_MAX; i++)
		if (i != 7)
			close(clients[i]);
	done(&served);
}

/* ---- changes ---- */

struct switches {
	_Atomic int nr_at_once;
	_Atomic int nr;
	_Atomic bool crossed;
};

static int note_switch(void *arg, struct image *image, enum image_target target,
		       struct problem *problem)
{
	const struct timespec pause = { .tv_nsec = 2000000 };
	struct switches *switches = arg;

	(void)problem;
	if (atomic_fetch_add(&switches->nr_at_once, 1) > 0)
		atomic_store(&switches->crossed, true);
	image->super.encryption_enabled = target == IMAGE_TARGET_SEALED;
	nanosleep(&pause, NULL);
	atomic_fetch_add(&switches->nr, 1);
	atomic_fetch_sub(&switches->nr_at_once, 1);
	return 0;
}

struct switcher {
	pthread_t thread;
	const struct served *served;
	bool on;
	bool answers_are_right;
};

static void *keep_switching(void *arg)
{
	struct switcher *switcher = arg;
	const char *request = switcher->on ? "{\"verb\":\"encryption\",\"enabled\":true}\n"
					   : "{\"verb\":\"encryption\",\"enabled\":false}\n";
	const char *wanted = switcher->on ? "{\"enabled\":true" : "{\"enabled\":false";

	switcher->answers_are_right = true;
	for (int i = 0; i < 20; i++) {
		char line[512] = { 0 };
		int fd = call(switcher->served);

		(void)send(fd, request, strlen(request), MSG_NOSIGNAL);
		(void)recv(fd, line, sizeof(line) - 1, MSG_WAITALL);
		close(fd);
		switcher->answers_are_right &= strncmp(line, wanted, strlen(wanted)) == 0;
	}
	return NULL;
}

Test(control_clients, changes_come_one_after_another_and_each_client_hears_of_its_own)
{
	pthread_mutex_t changes = PTHREAD_MUTEX_INITIALIZER;
	struct switches switches = { 0 };
	const struct control_actions actions = {
		.changes = &changes,
		.switch_plane = note_switch,
		.arg = &switches,
	};
	struct switcher switchers[4];
	struct served served;

	set_up_with(&served, &actions);
	for (unsigned int i = 0; i < ARRAY_LEN(switchers); i++) {
		switchers[i] = (struct switcher){ .served = &served, .on = i % 2 };
		cr_assert_eq(pthread_create(&switchers[i].thread, NULL, keep_switching,
					    &switchers[i]),
			     0);
	}
	for (unsigned int i = 0; i < ARRAY_LEN(switchers); i++) {
		pthread_join(switchers[i].thread, NULL);
		cr_expect(switchers[i].answers_are_right, "client %u", i);
	}
	cr_expect(!switches.crossed);
	cr_expect_eq(switches.nr, 80);
	done(&served);
}

/* ---- events and policy ---- */

Test(control_clients, follows_no_events_and_has_no_policy_where_there_are_none)
{
	struct served served;

	set_up(&served);
	cr_expect_not_null(strstr(ask(&served, "{\"verb\":\"events\"}\n"), "not supported"));
	cr_expect_not_null(strstr(ask(&served, "{\"verb\":\"policy\"}\n"), "not supported"));
	done(&served);
}

static bool begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

Test(control_clients, events_begin_with_the_state_and_end_when_the_daemon_stops)
{
	static const char request[] = "{\"verb\":\"events\"}\n";
	struct control_events *events = calloc(1, sizeof(*events));
	const struct control_actions actions = { .events = events };
	char line[512] = { 0 };
	struct served served;
	int fd;

	cr_assert_not_null(events);
	set_up_with(&served, &actions);
	cr_assert_eq(control_events_init(events, &served.fixture.image, 1), 0);
	fd = call(&served);
	cr_assert_eq(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
	cr_assert_gt(recv(fd, line, sizeof(line) - 1, 0), 0);
	cr_expect(begins(line, "{\"event\":\"state\",\"time\":\""), "%s", line);
	control_publish(events, served.fixture.image, json_pack("{s:s}", "event", "moved"));
	memset(line, 0, sizeof(line));
	cr_assert_gt(recv(fd, line, sizeof(line) - 1, 0), 0);
	cr_expect(begins(line, "{\"event\":\"moved\",\"time\":\""), "%s", line);
	cr_expect_null(control_stop(served.control));
	cr_expect(begins(hear(fd), "{\"event\":\"end\",\"time\":\""), "%s", answer);
	cr_expect_eq(events->nr_followers, 0);
	fixture_done(&served.fixture);
	control_events_done(events);
	free(events);
}
