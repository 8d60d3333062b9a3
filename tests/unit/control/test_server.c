/* SPDX-License-Identifier: MIT */
/* The control socket, asked by a client. */
#include "control/server.h"

#include "fixture.h"

#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

static const struct control_actions no_actions;

struct served {
	struct fixture fixture;
	struct runtime runtime;
	struct control *control;
	struct sockaddr_un address;
};

static void set_up_with(struct served *served, const struct control_actions *actions)
{
	struct problem problem;

	fixture_set_up(&served->fixture);
	served->runtime = (struct runtime){ 0 };
	strcpy(served->runtime.directory, served->fixture.folder);
	served->address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	cr_assert_eq(runtime_socket_path(&served->runtime, served->fixture.image->super.uuid,
					 served->address.sun_path,
					 sizeof(served->address.sun_path)),
		     0);
	cr_assert_eq(control_start(&served->fixture.image, 1, &served->runtime, actions,
				   &served->control, &problem),
		     0, "%s", problem.text);
}

static void set_up(struct served *served)
{
	set_up_with(served, &no_actions);
}

/* fixture_done() finds it when something is left behind. */
static void done(struct served *served)
{
	cr_expect_null(control_stop(served->control));
	fixture_done(&served->fixture);
}

static int call(const struct served *served)
{
	const struct timeval patience = { .tv_sec = 20 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_geq(fd, 0);
	cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	cr_assert_eq(
		connect(fd, (const struct sockaddr *)&served->address, sizeof(served->address)), 0);
	return fd;
}

static char answer[1 << 20];

/* Until the server closes the connection, or, to a client that is talking, resets it. */
static ssize_t hear_to(int fd)
{
	size_t nr = 0;
	ssize_t n;

	while ((n = recv(fd, answer + nr, sizeof(answer) - 1 - nr, 0)) > 0)
		nr += (size_t)n;
	answer[nr] = '\0';
	close(fd);
	return n;
}

static const char *hear(int fd)
{
	cr_assert_eq(hear_to(fd), 0, "%s", strerror(errno));
	return answer;
}

static const char *hear_any(int fd)
{
	(void)hear_to(fd);
	return answer;
}

static const char *ask(const struct served *served, const char *request)
{
	int fd = call(served);

	cr_assert_eq(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
	return hear(fd);
}

/* A disk of which every other sector is sealed: its map is longer than a socket holds. */
static void make_map_long(struct served *served)
{
	uint8_t body[SEAL_BLOCK_BODY_BYTES];

	memset(body, SEAL_ENTRY_ZERO << 4 | SEAL_ENTRY_PLANE_FIRST, sizeof(body));
	map_install(&served->fixture.image->disk.map, 0, body, 0);
}

Test(control_server, answers_info_with_the_object_and_the_state_in_use)
{
	struct served served;
	json_t *info;

	set_up(&served);
	info = json_loads(ask(&served, "{\"verb\":\"info\"}\n"), 0, NULL);
	cr_assert_not_null(info);
	cr_expect_str_eq(json_string_value(json_object_get(info, "state")), "in use");
	cr_expect_eq(json_integer_value(json_object_get(info, "disk_bytes")),
		     FIXTURE_SECTORS * SECTOR_BYTES);
	json_decref(info);
	done(&served);
}

Test(control_server, answers_map_with_a_line_per_extent_and_an_end)
{
	struct served served;

	set_up(&served);
	fixture_set_block(&served.fixture, 0, 0, 2, SEAL_ENTRY_PLANE_FIRST);
	cr_expect_str_eq(ask(&served, "{\"verb\":\"map\"}\n"),
			 "{\"offset_bytes\":0,\"length_bytes\":1024,\"state\":\"sealed\"}\n"
			 "{\"offset_bytes\":1024,\"length_bytes\":12700672,\"state\":\"zero\"}\n"
			 "{\"end\":true}\n");
	done(&served);
}

Test(control_server, a_map_of_many_extents_arrives_whole)
{
	struct served served;
	unsigned int nr_lines = 0;

	set_up(&served);
	make_map_long(&served);
	for (const char *at = ask(&served, "{\"verb\":\"map\"}\n"); *at; at++)
		nr_lines += *at == '\n';
	cr_expect_eq(nr_lines, SEAL_BLOCK_SECTORS + 1);
	done(&served);
}

Test(control_server, refuses_what_it_does_not_understand_and_goes_on)
{
	static char long_request[CONTROL_REQUEST_BYTES_MAX + 1];
	struct served served;

	set_up(&served);
	cr_expect_str_eq(
		ask(&served, "{\"verb\":\"frob\"}\n"),
		"{\"error\":\"image image: its daemon: this daemon does not know the request\"}\n");
	cr_expect_str_eq(
		ask(&served, "[1]\n"),
		"{\"error\":\"image image: its daemon: this daemon does not know the request\"}\n");
	cr_expect_str_eq(
		ask(&served, "{\"verb\":7}\n"),
		"{\"error\":\"image image: its daemon: this daemon does not know the request\"}\n");
	cr_expect_str_eq(ask(&served, "info\n"),
			 "{\"error\":\"image image: its daemon: the request is not JSON\"}\n");
	memset(long_request, ' ', CONTROL_REQUEST_BYTES_MAX);
	cr_expect_str_eq(ask(&served, long_request),
			 "{\"error\":\"image image: its daemon: the request is too long\"}\n");
	cr_expect_not_null(strstr(ask(&served, "{\"verb\":\"map\"}\n"), "end"));
	done(&served);
}

Test(control_server, a_request_may_come_in_pieces)
{
	static const char request[] = "{\"verb\":\"map\"}\n";
	const struct timespec pause = { .tv_nsec = 1000000 };
	struct served served;
	int fd;

	set_up(&served);
	fd = call(&served);
	for (const char *at = request; *at; at++) {
		cr_assert_eq(send(fd, at, 1, MSG_NOSIGNAL), 1);
		nanosleep(&pause, NULL);
	}
	cr_expect_not_null(strstr(hear(fd), "end"));
	done(&served);
}

Test(control_server, a_client_that_is_gone_disturbs_nobody)
{
	struct served served;
	int fd;

	set_up(&served);
	close(call(&served));
	fd = call(&served);
	cr_assert_eq(send(fd, "{\"verb\":\"info\"}\n", 16, MSG_NOSIGNAL), 16);
	close(fd);
	cr_expect_not_null(strstr(ask(&served, "{\"verb\":\"map\"}\n"), "end"));
	done(&served);
}

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

Test(control_server, stopping_does_not_wait_for_a_silent_client)
{
	struct served served;
	double start_s;
	int fd;

	set_up(&served);
	fd = call(&served);
	start_s = now_s();
	done(&served);
	cr_expect_lt(now_s() - start_s, 2);
	close(fd);
}

Test(control_server, neither_a_silent_client_nor_one_that_does_not_read_holds_others_up)
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

Test(control_server, a_silent_client_is_cut_off)
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

Test(control_server, one_client_too_many_is_told_so_and_served_when_another_has_left)
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

Test(control_server, changes_come_one_after_another_and_each_client_hears_of_its_own)
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

Test(control_server, the_socket_is_the_owners_alone)
{
	struct served served;
	struct stat st;

	set_up(&served);
	cr_assert_eq(stat(served.address.sun_path, &st), 0);
	cr_expect(S_ISSOCK(st.st_mode));
	cr_expect_eq(st.st_mode & 0777, 0600, "mode %o", st.st_mode);
	done(&served);
}

Test(control_server, replaces_what_a_dead_daemon_left)
{
	struct served served, again;
	struct problem problem;

	set_up(&served);
	again = served;
	/* The first one's socket is now stale, as far as paths go. */
	cr_assert_eq(control_start(&again.fixture.image, 1, &again.runtime, &no_actions,
				   &again.control, &problem),
		     0, "%s", problem.text);
	cr_expect_not_null(strstr(ask(&again, "{\"verb\":\"map\"}\n"), "end"));
	cr_expect_null(control_stop(again.control));
	done(&served);
}

Test(control_server, a_folder_too_deep_for_a_socket_is_a_clear_problem)
{
	struct control *control = NULL;
	struct fixture fixture;
	struct runtime runtime = { 0 };
	struct problem problem;

	fixture_set_up(&fixture);
	memset(runtime.directory, 'd', 90);
	cr_expect_eq(control_start(&fixture.image, 1, &runtime, &no_actions, &control, &problem),
		     -ENAMETOOLONG);
	cr_expect_not_null(strstr(problem.text, "too long for a unix socket"));
	cr_expect_null(control);
	fixture_done(&fixture);
}

/* ---- keys ---- */

/* What the action was asked for. */
struct asked {
	unsigned int nr;
	struct key_change change;
	struct key_secret *secret, *new_secret; /* copies */
	int result;
};

static int note_change(void *arg, struct image *image, const struct key_change *change,
		       struct key_change_result *ret_result, struct problem *problem)
{
	struct asked *asked = arg;

	asked->nr++;
	asked->change = *change;
	if (change->secret) {
		memcpy(asked->secret, change->secret, sizeof(*asked->secret));
		memcpy(asked->new_secret, change->new_secret, sizeof(*asked->new_secret));
	}
	if (asked->result < 0)
		problem_set(problem, "image", image->path, "no");
	*ret_result = (struct key_change_result){
		.added = true, .new_slot = 3, .old_slot = change->slot, .nr_slots_left = 2
	};
	return asked->result;
}

static struct key_secret *secret_of(enum key_source_kind kind, const char *text)
{
	struct key_secret *secret = key_mem_new(sizeof(*secret));

	cr_assert_not_null(secret);
	secret->kind = kind;
	secret->nr_bytes = (uint32_t)strlen(text);
	memcpy(secret->bytes, text, secret->nr_bytes);
	return secret;
}

struct keys_served {
	struct served served;
	struct asked asked;
	struct control_actions actions;
	struct key_secret *secret, *new_secret;
};

static void set_up_keys(struct keys_served *keys)
{
	keys->asked = (struct asked){ .secret = secret_of(KEY_SOURCE_FILE, ""),
				      .new_secret = secret_of(KEY_SOURCE_FILE, "") };
	keys->actions = (struct control_actions){ .change_keys = note_change, .arg = &keys->asked };
	keys->secret = secret_of(KEY_SOURCE_FILE, "a key of thirty-two bytes or more");
	keys->new_secret = secret_of(KEY_SOURCE_PASSPHRASE, "correct horse");
	set_up_with(&keys->served, &keys->actions);
}

static void keys_done(struct keys_served *keys)
{
	done(&keys->served);
	key_mem_free(keys->secret);
	key_mem_free(keys->new_secret);
	key_mem_free(keys->asked.secret);
	key_mem_free(keys->asked.new_secret);
}

/* The request, both secrets once they are wanted, and what is answered then. */
static const char *ask_with_secrets(const struct keys_served *keys, const char *request)
{
	static const char go_on[] = "{\"send\":2}\n";
	const ssize_t nr_bytes = sizeof(struct key_secret);
	char line[sizeof(go_on)] = { 0 };
	int fd = call(&keys->served);

	cr_assert_eq(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
	cr_assert_eq(recv(fd, line, sizeof(go_on) - 1, MSG_WAITALL), (ssize_t)sizeof(go_on) - 1);
	cr_expect_str_eq(line, go_on);
	cr_assert_eq(send(fd, keys->secret, (size_t)nr_bytes, MSG_NOSIGNAL), nr_bytes);
	cr_assert_eq(send(fd, keys->new_secret, (size_t)nr_bytes, MSG_NOSIGNAL), nr_bytes);
	return hear(fd);
}

Test(control_server, lists_the_key_slots)
{
	struct served served;

	set_up(&served);
	cr_expect_str_eq(ask(&served, "{\"verb\":\"keys\"}\n"),
			 "{\"key_slots\":[{\"slot\":0,\"key_id\":1,\"kind\":\"key-file\","
			 "\"created_time\":\"2023-11-14T22:13:20Z\"}],\"key_slots_max\":8,"
			 "\"revoked\":false}\n");
	done(&served);
}

Test(control_server, hands_on_two_secrets_and_answers_what_became_of_them)
{
	struct keys_served keys;

	set_up_keys(&keys);
	cr_expect_str_eq(ask_with_secrets(&keys, "{\"verb\":\"key-rotate\"}\n"),
			 "{\"added\":true,\"new_slot\":3,\"removed\":false,\"old_slot\":0,"
			 "\"nr_slots_left\":2}\n");
	cr_expect_eq(keys.asked.change.kind, KEY_CHANGE_ROTATE);
	cr_expect_arr_eq((const uint8_t *)keys.asked.secret, (const uint8_t *)keys.secret,
			 sizeof(struct key_secret));
	cr_expect_arr_eq((const uint8_t *)keys.asked.new_secret, (const uint8_t *)keys.new_secret,
			 sizeof(struct key_secret));
	ask_with_secrets(&keys, "{\"verb\":\"key-add\"}\n");
	cr_expect_eq(keys.asked.change.kind, KEY_CHANGE_ADD);
	cr_expect_eq(keys.asked.nr, 2);
	keys_done(&keys);
}

Test(control_server, says_that_it_was_the_key_that_was_wrong)
{
	struct keys_served keys;

	set_up_keys(&keys);
	keys.asked.result = -EKEYREJECTED;
	cr_expect_str_eq(ask_with_secrets(&keys, "{\"verb\":\"key-add\"}\n"),
			 "{\"error\":\"image image: no\",\"key_rejected\":true}\n");
	keys.asked.result = -EROFS;
	cr_expect_str_eq(ask_with_secrets(&keys, "{\"verb\":\"key-add\"}\n"),
			 "{\"error\":\"image image: no\"}\n");
	keys_done(&keys);
}

Test(control_server, hands_no_unsound_secret_on)
{
	struct keys_served keys;

	set_up_keys(&keys);
	keys.new_secret->nr_bytes = KEY_FILE_BYTES_MAX + 1;
	cr_expect_not_null(strstr(ask_with_secrets(&keys, "{\"verb\":\"key-add\"}\n"), "error"));
	keys.new_secret->nr_bytes = 5;
	keys.secret->kind = (enum key_source_kind)77;
	cr_expect_not_null(strstr(ask_with_secrets(&keys, "{\"verb\":\"key-add\"}\n"), "error"));
	cr_expect_eq(keys.asked.nr, 0);
	keys_done(&keys);
}

Test(control_server, removes_the_slot_that_is_named_and_no_other)
{
	static const char *const bad[] = {
		"{\"verb\":\"key-remove\"}\n",
		"{\"verb\":\"key-remove\",\"slot\":8}\n",
		"{\"verb\":\"key-remove\",\"slot\":-1}\n",
		"{\"verb\":\"key-remove\",\"slot\":4294967296}\n",
		"{\"verb\":\"key-remove\",\"slot\":\"1\"}\n",
		"{\"verb\":\"key-remove\",\"slot\":1,\"destroy_data\":1}\n",
	};
	struct keys_served keys;

	set_up_keys(&keys);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_expect_not_null(strstr(ask(&keys.served, bad[i]), "error"), "%s", bad[i]);
	cr_expect_eq(keys.asked.nr, 0);
	ask(&keys.served, "{\"verb\":\"key-remove\",\"slot\":5,\"destroy_data\":false}\n");
	cr_expect_eq(keys.asked.nr, 1);
	cr_expect_eq(keys.asked.change.slot, 5);
	cr_expect(!keys.asked.change.destroy_data);
	ask(&keys.served, "{\"verb\":\"key-remove\",\"slot\":7,\"destroy_data\":true}\n");
	cr_expect_eq(keys.asked.change.kind, KEY_CHANGE_REMOVE);
	cr_expect(keys.asked.change.destroy_data);
	keys_done(&keys);
}

Test(control_server, changes_no_keys_where_nobody_can)
{
	struct served served;

	set_up(&served);
	cr_expect_not_null(strstr(ask(&served, "{\"verb\":\"key-add\"}\n"), "error"));
	cr_expect_not_null(strstr(ask(&served, "{\"verb\":\"key-remove\",\"slot\":0}\n"), "error"));
	cr_expect_not_null(strstr(ask(&served, "{\"verb\":\"key-revoke\"}\n"), "error"));
	cr_expect_not_null(strstr(ask(&served, "{\"verb\":\"key-restore\"}\n"), "error"));
	done(&served);
}

/* ---- revoking them ---- */

static int note_revoke(void *arg, struct image *image, bool *ret_changed, struct problem *problem)
{
	struct asked *asked = arg;

	asked->nr++;
	if (asked->result < 0)
		problem_set(problem, "image", image->path, "no");
	*ret_changed = asked->nr == 1;
	return asked->result;
}

static int note_restore(void *arg, struct image *image, const struct key_secret *secret,
			bool *ret_changed, struct problem *problem)
{
	struct asked *asked = arg;

	memcpy(asked->secret, secret, sizeof(*asked->secret));
	return note_revoke(arg, image, ret_changed, problem);
}

/* The request, one secret once it is wanted, and what is answered then. */
static const char *ask_with_secret(const struct keys_served *keys, const char *request)
{
	static const char go_on[] = "{\"send\":1}\n";
	const ssize_t nr_bytes = sizeof(struct key_secret);
	char line[sizeof(go_on)] = { 0 };
	int fd = call(&keys->served);

	cr_assert_eq(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
	cr_assert_eq(recv(fd, line, sizeof(go_on) - 1, MSG_WAITALL), (ssize_t)sizeof(go_on) - 1);
	cr_expect_str_eq(line, go_on);
	cr_assert_eq(send(fd, keys->secret, (size_t)nr_bytes, MSG_NOSIGNAL), nr_bytes);
	return hear(fd);
}

Test(control_server, revokes_keys_and_says_whether_that_changed_anything)
{
	struct keys_served keys;

	set_up_keys(&keys);
	keys.actions.revoke = note_revoke;
	cr_expect_str_eq(ask(&keys.served, "{\"verb\":\"key-revoke\"}\n"), "{\"changed\":true}\n");
	cr_expect_str_eq(ask(&keys.served, "{\"verb\":\"key-revoke\"}\n"), "{\"changed\":false}\n");
	keys.asked.result = -EIO;
	cr_expect_str_eq(ask(&keys.served, "{\"verb\":\"key-revoke\"}\n"),
			 "{\"error\":\"image image: no\"}\n");
	keys_done(&keys);
}

Test(control_server, hands_on_the_secret_that_restores_keys)
{
	struct keys_served keys;

	set_up_keys(&keys);
	keys.actions.restore = note_restore;
	cr_expect_str_eq(ask_with_secret(&keys, "{\"verb\":\"key-restore\"}\n"),
			 "{\"changed\":true}\n");
	cr_expect_arr_eq((const uint8_t *)keys.asked.secret, (const uint8_t *)keys.secret,
			 sizeof(struct key_secret));
	keys.asked.result = -EKEYREJECTED;
	cr_expect_str_eq(ask_with_secret(&keys, "{\"verb\":\"key-restore\"}\n"),
			 "{\"error\":\"image image: no\",\"key_rejected\":true}\n");
	cr_expect_eq(keys.asked.nr, 2);
	keys.secret->nr_bytes = 5;
	cr_expect_not_null(strstr(ask_with_secret(&keys, "{\"verb\":\"key-restore\"}\n"), "error"));
	cr_expect_eq(keys.asked.nr, 2);
	keys_done(&keys);
}
