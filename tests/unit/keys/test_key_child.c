/* SPDX-License-Identifier: MIT */
/* A child that prints a key: what it may do, and what is done to it. */
#include "keys/key_child.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 33 };

static const uint8_t zeros[ROOM];

struct result {
	int r;
	uint8_t raw[ROOM];
	char why[KEY_WHY_BYTES];
	double seconds;
};

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static struct result read_from(int (*run)(const void *arg), const void *arg, int deadline_ms)
{
	const struct key_child child = {
		.run = run,
		.arg = arg,
		.input = "a line\n",
		.deadline_ms = deadline_ms,
	};
	struct result result = { .why = "" };
	const double start_s = now_s();

	result.r = key_child_read(&child, result.raw, sizeof(result.raw), result.why);
	result.seconds = now_s() - start_s;
	/* Nothing is left to be waited for. */
	cr_expect_eq(waitpid(-1, NULL, WNOHANG), -1);
	cr_expect_eq(errno, ECHILD);
	return result;
}

static int print(const char *text)
{
	return write(STDOUT_FILENO, text, strlen(text)) < 0;
}

static void complain(const char *text)
{
	(void)!write(STDERR_FILENO, text, strlen(text));
}

static int run_echo(const void *arg)
{
	char line[64];
	ssize_t n = read(STDIN_FILENO, line, sizeof(line));

	return print(arg) || n < 0 || write(STDOUT_FILENO, line, (size_t)n) < 0;
}

Test(key_child, gives_a_line_and_takes_what_is_printed, .timeout = 10)
{
	struct result result = read_from(run_echo, "key ", 5000);

	cr_assert_eq(result.r, 11, "%s", result.why);
	cr_expect_arr_eq(result.raw, "key a line\n", 11);
}

static int run_slowly(const void *arg)
{
	for (int i = 0; i < 3; i++) {
		usleep(30000);
		if (print(arg))
			return 1;
	}
	return 0;
}

Test(key_child, takes_a_key_in_pieces, .timeout = 10)
{
	struct result result = read_from(run_slowly, "ab", 5000);

	cr_assert_eq(result.r, 6, "%s", result.why);
	cr_expect_arr_eq(result.raw, "ababab", 6);
}

static int run_nothing(const void *arg)
{
	(void)arg;
	return 0;
}

Test(key_child, that_reads_and_prints_nothing_gives_no_bytes, .timeout = 10)
{
	cr_expect_eq(read_from(run_nothing, NULL, 5000).r, 0);
}

static int run_endlessly(const void *arg)
{
	static const char page[4096];

	(void)arg;
	while (write(STDOUT_FILENO, page, sizeof(page)) > 0)
		;
	return 0;
}

Test(key_child, is_ended_when_it_prints_too_much, .timeout = 10)
{
	struct result result = read_from(run_endlessly, NULL, 60000);

	cr_expect_eq(result.r, ROOM, "%s", result.why);
	cr_expect_arr_eq(result.raw, zeros, ROOM);
}

static int run_badly(const void *arg)
{
	complain(arg);
	print("something all the same");
	return 3;
}

Test(key_child, that_fails_is_believed, .timeout = 10)
{
	struct result result = read_from(run_badly, "no such key\nask the admin\n", 5000);

	cr_expect_eq(result.r, -EIO);
	cr_expect_str_eq(result.why,
			 "has failed with exit status 3, saying: no such key ask the admin");
}

static int run_failing(const void *arg)
{
	if (arg)
		complain(arg);
	return 7;
}

Test(key_child, that_fails_silently_is_told_by_its_status, .timeout = 10)
{
	struct result result = read_from(run_failing, NULL, 5000);

	cr_expect_eq(result.r, -EIO);
	cr_expect_str_eq(result.why, "has failed with exit status 7");
}

Test(key_child, is_quoted_with_the_end_of_what_it_said, .timeout = 10)
{
	static char much[9000];
	struct result result;

	memset(much, 'x', sizeof(much) - 1);
	memcpy(much + sizeof(much) - 12, "\nthe reason", 11);
	result = read_from(run_failing, much, 5000);
	cr_expect_eq(result.r, -EIO);
	cr_expect(strstr(result.why, "xxx the reason"), "%s", result.why);
	cr_expect_lt(strlen(result.why), 400);
}

static int run_saying_why(const void *arg)
{
	complain(arg);
	return KEY_CHILD_HAS_SAID_WHY;
}

Test(key_child, may_give_the_whole_reason_itself, .timeout = 10)
{
	struct result result = read_from(run_saying_why, "the token is locked\n", 5000);

	cr_expect_eq(result.r, -EIO);
	cr_expect_str_eq(result.why, "the token is locked");
	result = read_from(run_saying_why, "", 5000);
	cr_expect_str_eq(result.why, "has failed with exit status 125");
}

static int run_dying(const void *arg)
{
	raise(*(const int *)arg);
	return 0;
}

Test(key_child, that_dies_is_told_by_its_signal, .timeout = 10)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGKILL };
	struct result result;

	/* What we ignore and block, it does not. */
	signal(SIGTERM, SIG_IGN);
	for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
		char wanted[64];

		result = read_from(run_dying, &signals[i], 5000);
		snprintf(wanted, sizeof(wanted), "was ended by signal %d", signals[i]);
		cr_expect_eq(result.r, -EIO);
		cr_expect_str_eq(result.why, wanted);
	}
}

static _Noreturn void hang(void)
{
	for (;;)
		pause();
}

static int run_hanging(const void *arg)
{
	print(arg);
	complain("waiting for the network\n");
	hang();
}

Test(key_child, that_hangs_is_ended_at_the_deadline, .timeout = 10)
{
	/* Also one that has printed its key: it may not have been all of it. */
	static const char *const printed[] = { "", "a key" };

	for (size_t i = 0; i < ARRAY_LEN(printed); i++) {
		struct result result = read_from(run_hanging, printed[i], 300);

		cr_expect_eq(result.r, -ETIMEDOUT);
		cr_expect_str_eq(result.why, "has given no key within 0 s, and was ended, "
					     "saying: waiting for the network");
		cr_expect_geq(result.seconds, 0.25);
		cr_expect_lt(result.seconds, 2);
	}
}

static int run_forking(const void *arg)
{
	print("a key");
	if (fork() == 0) {
		if (arg)
			close(STDOUT_FILENO);
		hang();
	}
	return 0;
}

Test(key_child, whose_own_child_holds_its_output_open_gives_no_key, .timeout = 10)
{
	struct result result = read_from(run_forking, NULL, 60000);

	cr_expect_eq(result.r, -ETIMEDOUT);
	cr_expect_str_eq(result.why,
			 "has ended, but what it started keeps its standard output open");
	cr_expect_lt(result.seconds, 5);
}

Test(key_child, whose_own_child_closes_its_output_gives_a_key, .timeout = 10)
{
	struct result result = read_from(run_forking, "close", 60000);

	cr_expect_eq(result.r, 5, "%s", result.why);
	cr_expect_lt(result.seconds, 5);
}

/* Counts for as long as it lives, where its parent sees it. */
static int run_leaving_one(const void *arg)
{
	volatile unsigned int *count = *(unsigned int *const *)arg;

	if (fork() != 0)
		hang();
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	while (usleep(1000) == 0)
		++*count;
	return 0;
}

Test(key_child, leaves_nothing_of_its_session, .timeout = 10)
{
	unsigned int *count = mmap(NULL, sizeof(*count), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct result result;
	unsigned int seen;

	cr_assert_neq(count, MAP_FAILED);
	result = read_from(run_leaving_one, &count, 300);
	cr_expect_eq(result.r, -ETIMEDOUT);
	usleep(50000);
	seen = *count;
	cr_expect_gt(seen, 0);
	usleep(50000);
	cr_expect_eq(*count, seen, "somebody goes on counting");
}

static int run_looking_around(const void *arg)
{
	const int *secret_fd = arg;

	if (fcntl(*secret_fd, F_GETFD) >= 0)
		return 1;
	for (int fd = STDERR_FILENO + 1; fd < 200; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			return 2;
	if (getsid(0) != getpid())
		return 3;
	return print("alone");
}

Test(key_child, has_no_file_of_ours_and_a_session_of_its_own, .timeout = 10)
{
	int fd = open("/dev/null", O_RDONLY);
	struct result result = read_from(run_looking_around, &fd, 5000);

	cr_expect_eq(result.r, 5, "%s", result.why);
	close(fd);
}
