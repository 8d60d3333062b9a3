/* SPDX-License-Identifier: MIT */
/* The helper process: what it does, what it refuses, and how it ends. */
#include "keys/helper.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "unit/keys/fixture.h"

static const char *const the_file[] = { "file", NULL };
static const struct key_wanted nothing_wanted;
static char why[KEY_WHY_BYTES];

static struct helper start(void)
{
	struct helper helper;

	cr_assert_eq(helper_start(&helper), 0);
	return helper;
}

/* Sends nonsense; the answer, of whatever size, is not looked at. */
static void send_nonsense(struct helper *helper, size_t nr_bytes)
{
	static uint8_t nonsense[16 << 10];

	memset(nonsense, 0xa5, sizeof(nonsense));
	cr_assert_eq(send(helper->fd, nonsense, nr_bytes, MSG_NOSIGNAL), (ssize_t)nr_bytes);
	cr_assert_gt(recv(helper->fd, nonsense, sizeof(nonsense), 0), 0);
}

static void expect_alive(struct helper *helper)
{
	int fd = -1;

	cr_assert_eq(helper_open(helper, "/dev/null", O_RDWR, &fd), 0);
	close(fd);
}

Test(helper, opens_files_for_reading_and_writing)
{
	struct helper helper;
	char folder[32], bytes[8];
	int fd = -1;

	enter_folder(folder);
	write_file("file", "content", 7);
	helper = start();
	cr_assert_eq(helper_open(&helper, "file", O_RDWR | O_CLOEXEC, &fd), 0);
	cr_expect_eq(read(fd, bytes, sizeof(bytes)), 7);
	cr_expect_arr_eq(bytes, "content", 7);
	cr_expect_eq(pwrite(fd, "CON", 3, 0), 3);
	cr_expect(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);

	cr_assert_eq(helper_open(&helper, "file", O_RDONLY, &fd), 0);
	cr_expect_eq(pwrite(fd, "x", 1, 0), -1);
	cr_expect(fcntl(fd, F_GETFD) & FD_CLOEXEC, "without being asked");
	close(fd);
	helper_stop(&helper);
	leave_folder(folder, the_file);
}

Test(helper, says_why_a_file_does_not_open)
{
	struct helper helper = start();
	int fd = 77;

	cr_expect_eq(helper_open(&helper, "/nonexistent/image", O_RDWR, &fd), -ENOENT);
	cr_expect_eq(helper_open(&helper, "/", O_RDWR, &fd), -EISDIR);
	cr_expect_eq(fd, 77, "untouched");
	expect_alive(&helper);
	helper_stop(&helper);
}

Test(helper, refuses_flags_that_create_or_truncate)
{
	static const int refused[] = { O_WRONLY, O_RDWR | O_CREAT, O_RDWR | O_TRUNC,
				       O_RDONLY | O_APPEND, O_ACCMODE };
	struct helper helper = start();
	int fd = 77;

	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		cr_expect_eq(helper_open(&helper, "/dev/null", refused[i], &fd), -EINVAL, "%#x",
			     (unsigned int)refused[i]);
	cr_expect_eq(fd, 77);
	helper_stop(&helper);
}

Test(helper, judges_the_length_of_a_path)
{
	struct helper helper = start();
	char path[PATH_BYTES_MAX + 1];
	int fd = 77;

	memset(path, '/', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	cr_expect_eq(helper_open(&helper, path, O_RDONLY, &fd), -ENAMETOOLONG);
	cr_expect_eq(helper_open(&helper, "", O_RDONLY, &fd), -EINVAL);
	path[PATH_BYTES_MAX - 1] = '\0';
	cr_assert_eq(helper_open(&helper, path, O_RDONLY, &fd), 0, "the longest path is \"/\"");
	close(fd);
	helper_stop(&helper);
}

Test(helper, reads_keys_of_both_kinds)
{
	struct key_source source = { .kind = KEY_SOURCE_PASSPHRASE, .name = "file" };
	static const char text[] = "a first line of some length, 40 bytes!!!\nsecond line\n";
	struct key_secret *secret = NULL;
	struct helper helper;
	char folder[32];

	enter_folder(folder);
	write_file("file", text, strlen(text));
	helper = start();
	cr_assert_eq(helper_read_key(&helper, &source, &nothing_wanted, &secret, why), 0);
	cr_expect_eq(secret->kind, KEY_SOURCE_PASSPHRASE);
	cr_assert_eq(secret->nr_bytes, 40, "the first line only");
	cr_expect_arr_eq(secret->bytes, text, 40);
	key_mem_free(secret);

	source.kind = KEY_SOURCE_FILE;
	cr_assert_eq(helper_read_key(&helper, &source, &nothing_wanted, &secret, why), 0);
	cr_assert_eq(secret->nr_bytes, strlen(text));
	cr_expect_arr_eq(secret->bytes, text, strlen(text));
	key_mem_free(secret);
	helper_stop(&helper);
	leave_folder(folder, the_file);
}

Test(helper, carries_the_longest_key_file)
{
	struct key_source source = { .kind = KEY_SOURCE_FILE, .name = "file" };
	static uint8_t bytes[KEY_FILE_BYTES_MAX];
	struct key_secret *secret = NULL;
	struct helper helper;
	char folder[32];

	memset(bytes, 0xc3, sizeof(bytes));
	enter_folder(folder);
	write_file("file", bytes, sizeof(bytes));
	helper = start();
	cr_assert_eq(helper_read_key(&helper, &source, &nothing_wanted, &secret, why), 0);
	cr_assert_eq(secret->nr_bytes, KEY_FILE_BYTES_MAX);
	cr_expect_arr_eq(secret->bytes, bytes, sizeof(bytes));
	key_mem_free(secret);
	helper_stop(&helper);
	leave_folder(folder, the_file);
}

Test(helper, says_why_a_key_cannot_be_read)
{
	struct key_source missing = { .kind = KEY_SOURCE_FILE, .name = "/nonexistent/key" };
	struct key_source empty = { .kind = KEY_SOURCE_FILE, .name = "/dev/null" };
	struct key_source unknown = { .kind = 99, .name = "/dev/zero" };
	struct key_secret *secret = NULL;
	struct helper helper = start();

	cr_expect_eq(helper_read_key(&helper, &missing, &nothing_wanted, &secret, why), -ENOENT);
	cr_expect_eq(helper_read_key(&helper, &empty, &nothing_wanted, &secret, why), -ERANGE);
	cr_expect_eq(helper_read_key(&helper, &unknown, &nothing_wanted, &secret, why), -EINVAL);
	cr_expect_null(secret);
	expect_alive(&helper);
	helper_stop(&helper);
}

Test(helper, runs_a_command_and_says_what_went_wrong, .timeout = 10)
{
	struct key_source good = { .kind = KEY_SOURCE_COMMAND };
	struct key_source bad = { .kind = KEY_SOURCE_COMMAND, .name = "/bin/ls /nonexistent" };
	struct key_source missing = { .kind = KEY_SOURCE_FILE, .name = "/nonexistent" };
	const struct key_wanted wanted = { .is_new = true };
	struct helper helper = start();
	struct key_secret *secret = NULL;

	/* It reads its input: the line that says what the key is for. */
	good.name = "/usr/bin/sed p";
	cr_assert_eq(helper_read_key(&helper, &good, &wanted, &secret, why), 0, "%s", why);
	cr_expect_eq(secret->kind, KEY_SOURCE_FILE);
	cr_assert_eq(secret->nr_bytes, 52);
	cr_expect_arr_eq(secret->bytes, "sealblk-key-1 purpose=new\nsealblk-key-1 purpose=new\n",
			 52);
	key_mem_free(secret);

	cr_expect_eq(helper_read_key(&helper, &bad, &wanted, &secret, why), -EIO);
	cr_expect(strstr(why, "has failed with exit status 2, saying: /bin/ls: "), "%s", why);
	cr_expect_eq(helper_read_key(&helper, &missing, &wanted, &secret, why), -ENOENT);
	cr_expect_str_eq(why, "cannot be read: No such file or directory");
	expect_alive(&helper);
	helper_stop(&helper);
}

Test(helper, survives_bad_requests)
{
	/* One of them is a request's. */
	const size_t whole = 16 + sizeof(struct key_wanted) + PATH_BYTES_MAX;
	const size_t sizes[] = { 1, 12, 4096, whole - 4, whole, whole + 1, 16 << 10 };
	struct helper helper = start();

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		send_nonsense(&helper, sizes[i]);
		expect_alive(&helper);
	}
	helper_stop(&helper);
}

Test(helper, ends_when_its_socket_closes, .timeout = 10)
{
	struct helper helper = start();
	pid_t pid = helper.pid;

	cr_expect_eq(kill(pid, 0), 0);
	helper_stop(&helper);
	cr_expect_eq(helper.pid, 0);
	cr_expect_eq(kill(pid, 0), -1);
	cr_expect_eq(errno, ESRCH);
	helper_stop(&helper); /* stopped already */
}

Test(helper, gone_is_told_as_such)
{
	struct key_source source = { .kind = KEY_SOURCE_FILE, .name = "/dev/zero" };
	struct key_secret *secret = NULL;
	struct helper helper = start();
	siginfo_t ended;
	int fd = 77;

	cr_assert_eq(kill(helper.pid, SIGKILL), 0);
	cr_assert_eq(waitid(P_PID, (id_t)helper.pid, &ended, WEXITED | WNOWAIT), 0);
	cr_expect_eq(helper_open(&helper, "/dev/null", O_RDWR, &fd), -EPIPE);
	cr_expect_eq(helper_read_key(&helper, &source, &nothing_wanted, &secret, why), -EPIPE);
	cr_expect_eq(fd, 77);
	helper_stop(&helper);
}

Test(helper, that_has_ended_is_told_once, .timeout = 10)
{
	struct helper none = { 0 }, helper = start();
	siginfo_t ended;
	int fd = 77;

	cr_expect_not(helper_has_ended(&none));
	cr_expect_not(helper_has_ended(&helper));
	expect_alive(&helper);
	cr_assert_eq(kill(helper.pid, SIGKILL), 0);
	cr_assert_eq(waitid(P_PID, (id_t)helper.pid, &ended, WEXITED | WNOWAIT), 0);
	cr_expect(helper_has_ended(&helper));
	cr_expect_not(helper_has_ended(&helper));
	cr_expect_eq(helper_open(&helper, "/dev/null", O_RDWR, &fd), -EPIPE);
	helper_stop(&helper);
	cr_expect_not(helper_has_ended(&helper));
}

Test(helper, outlives_the_signals_that_stop_a_daemon)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE };
	struct helper helper = start();

	expect_alive(&helper); /* it has set its signals by now */
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		cr_assert_eq(kill(helper.pid, signals[i]), 0);
	expect_alive(&helper);
	helper_stop(&helper);
}

/* The parent of the helper is killed; the helper must not stay behind. */
Test(helper, dies_with_its_parent, .timeout = 10)
{
	struct helper helper;
	int ends[2];
	pid_t parent;
	char byte;

	cr_assert_eq(pipe(ends), 0);
	parent = fork();
	if (parent == 0) {
		helper = start();
		expect_alive(&helper);
		(void)!write(ends[1], "!", 1);
		pause();
	}
	close(ends[1]);
	cr_assert_eq(read(ends[0], &byte, 1), 1);
	cr_assert_eq(kill(parent, SIGKILL), 0);
	cr_assert_eq(waitpid(parent, NULL, 0), parent);
	/* The helper holds the pipe's other end too: this ends when it has ended. */
	cr_expect_eq(read(ends[0], &byte, 1), 0);
	close(ends[0]);
}

Test(helper, opens_for_reading_what_is_left_to_it_once_it_is_locked)
{
	static const char *const both[] = { "file", "other", NULL };
	struct helper helper;
	char folder[32], bytes[8];
	int fd = -1;

	enter_folder(folder);
	write_file("file", "content", 7);
	write_file("other", "secret", 6);
	helper = start();
	cr_assert_eq(helper_keep_readable(&helper, "third"), 0, "need not be there yet");
	cr_assert_eq(helper_keep_readable(&helper, "file"), 0);
	cr_assert_eq(helper_lock(&helper), 0);

	cr_assert_eq(helper_open(&helper, "file", O_RDONLY | O_NONBLOCK, &fd), 0);
	cr_expect_eq(read(fd, bytes, sizeof(bytes)), 7);
	close(fd);
	cr_assert_eq(helper_open(&helper, ".", O_RDONLY | O_DIRECTORY, &fd), 0);
	close(fd);
	cr_expect_eq(helper_probe(&helper, "other"), 0);
	cr_expect_eq(helper_probe(&helper, "missing"), -ENOENT);

	fd = 77;
	cr_expect_eq(helper_open(&helper, "file", O_RDWR, &fd), -EPERM);
	cr_expect_eq(helper_open(&helper, "other", O_RDONLY, &fd), -EPERM);
	cr_expect_eq(helper_keep_readable(&helper, "other"), -EPERM);
	cr_expect_eq(helper_open(&helper, "./file", O_RDONLY, &fd), -EPERM, "another name");
	cr_expect_eq(helper_open(&helper, "other", O_RDONLY | O_DIRECTORY, &fd), -ENOTDIR);
	cr_expect_eq(fd, 77, "untouched");
	helper_stop(&helper);
	leave_folder(folder, both);
}

Test(helper, reads_no_key_and_is_not_unlocked_once_it_is_locked)
{
	const struct key_source command = { .kind = KEY_SOURCE_COMMAND, .name = "/bin/true" };
	struct helper helper = start();
	struct key_secret *secret = NULL;
	int fd = 77;

	cr_assert_eq(helper_lock(&helper), 0);
	cr_expect_eq(helper_read_key(&helper, &command, &nothing_wanted, &secret, why), -EPERM);
	cr_expect_null(secret);
	cr_expect_eq(helper_lock(&helper), -EPERM);
	cr_expect_eq(helper_open(&helper, "/dev/null", O_RDONLY, &fd), -EPERM);
	cr_expect_eq(helper_open(&helper, "-", O_RDONLY, &fd), -EPERM);
	cr_expect_eq(fd, 77, "untouched");
	helper_stop(&helper);
}

Test(helper, keeps_no_more_readable_than_said)
{
	struct helper helper = start();

	for (int i = 0; i < HELPER_READABLE_MAX; i++)
		cr_assert_eq(helper_keep_readable(&helper, "file"), 0);
	cr_expect_eq(helper_keep_readable(&helper, "file"), -E2BIG);
	helper_stop(&helper);
}

Test(helper, reads_files_up_to_a_limit_and_nothing_else)
{
	static const char *const one[] = { "file", NULL };
	struct helper helper;
	char folder[32], bytes[8];
	size_t nr = 0;

	enter_folder(folder);
	write_file("file", "content", 7);
	helper = start();
	cr_assert_eq(helper_read_file(&helper, "file", bytes, 7, &nr), 0);
	cr_expect_eq(nr, 7);
	cr_expect_str_eq(bytes, "content");
	cr_expect_eq(helper_read_file(&helper, "file", bytes, 6, &nr), -EFBIG);
	cr_expect_eq(helper_read_file(&helper, "missing", bytes, 7, &nr), -ENOENT);
	cr_expect_eq(helper_read_file(&helper, ".", bytes, 7, &nr), -EISDIR);
	cr_expect_eq(helper_read_file(&helper, "/dev/null", bytes, 7, &nr), -EINVAL);
	helper_stop(&helper);
	leave_folder(folder, one);
}
