/* SPDX-License-Identifier: MIT */
/* The control socket, asked by a client. */
#include "control/server.h"

#include "served.h"

#include <sys/stat.h>

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
	cr_assert_eq(control_new(&again.fixture.image, 1, &again.runtime, &no_actions,
				 &again.control, &problem),
		     0, "%s", problem.text);
	cr_assert_eq(control_run(again.control), 0);
	cr_expect_not_null(strstr(ask(&again, "{\"verb\":\"map\"}\n"), "end"));
	cr_expect_null(control_stop(again.control));
	done(&served);
}

Test(control_server, may_be_stopped_before_it_runs)
{
	struct control *control = NULL;
	struct served served, again;
	struct problem problem;

	set_up(&served);
	again = served;
	cr_assert_eq(control_new(&again.fixture.image, 1, &again.runtime, &no_actions, &control,
				 &problem),
		     0);
	cr_expect_null(control_stop(control));
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
	cr_expect_eq(control_new(&fixture.image, 1, &runtime, &no_actions, &control, &problem),
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
