/* SPDX-License-Identifier: MIT */
/* The words of a key command, and what the program is given. */
#include "keys/key_command.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "unit/keys/fixture.h"

static const char *const the_script[] = { "script", NULL };

Test(key_command, parts_words_at_blanks)
{
	static const char *const wanted[] = { "/bin/kms", "get", "--url=https://kms/?a=1&b=2",
					      "key-1", NULL };
	static struct key_command command;

	cr_assert_null(key_command_parse("  /bin/kms get\t --url=https://kms/?a=1&b=2   key-1 ",
					 &command));
	for (size_t i = 0; i < ARRAY_LEN(wanted) - 1; i++)
		cr_expect_str_eq(command.words[i], wanted[i]);
	cr_expect_null(command.words[ARRAY_LEN(wanted) - 1]);
}

Test(key_command, refuses_what_a_shell_would_have_to_read)
{
	static const char *const bad[] = {
		"/bin/kms 'a b'", "/bin/kms \"a\"", "/bin/kms a\\ b",  "/bin/kms $HOME",
		"/bin/kms `id`",  "/bin/kms | cat", "/bin/kms ; true", "/bin/kms < key",
		"/bin/kms > key", "/bin/kms *",	    "/bin/kms\ntrue",  "/bin/kms (a)",
	};
	static struct key_command command;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		const char *wrong = key_command_parse(bad[i], &command);

		cr_assert_not_null(wrong, "%s", bad[i]);
		cr_expect(strstr(wrong, "no shell"), "%s", wrong);
	}
}

Test(key_command, wants_the_whole_path_of_a_program)
{
	static const char *const bad[] = { "", "  \t", "kms get", "./kms", "~/kms" };
	static struct key_command command;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		const char *wrong = key_command_parse(bad[i], &command);

		cr_assert_not_null(wrong, "\"%s\"", bad[i]);
		cr_expect(strstr(wrong, "whole path"), "%s", wrong);
	}
}

Test(key_command, counts_words_and_bytes)
{
	static char text[PATH_BYTES_MAX + 1];
	static struct key_command command;

	strcpy(text, "/a");
	for (int i = 1; i < KEY_COMMAND_WORDS_MAX; i++)
		strcat(text, " b");
	cr_expect_null(key_command_parse(text, &command));
	cr_expect_str_eq(command.words[KEY_COMMAND_WORDS_MAX - 1], "b");
	strcat(text, " b");
	cr_expect_not_null(key_command_parse(text, &command));

	memset(text, '/', PATH_BYTES_MAX);
	cr_expect_str_eq(key_command_parse(text, &command), "is too long");
	text[PATH_BYTES_MAX - 1] = '\0';
	cr_expect_null(key_command_parse(text, &command));
}

/* Runs ./script, which is @text; returns as key_command_read(), what it printed in @raw. */
static int run(const char *text, const struct key_wanted *wanted, uint8_t *raw, size_t room,
	       char why[KEY_WHY_BYTES])
{
	char folder[32], command[64];
	int r;

	enter_folder(folder);
	write_file("script", text, strlen(text));
	cr_assert_eq(chmod("script", 0700), 0);
	snprintf(command, sizeof(command), "%s/script one two", folder);
	r = key_command_read(command, wanted, raw, room, why);
	leave_folder(folder, the_script);
	return r;
}

Test(key_command, gives_the_program_its_words_a_line_and_little_else, .timeout = 10)
{
	struct key_wanted wanted = { .is_new = true };
	static uint8_t raw[4096];
	char why[KEY_WHY_BYTES] = "";
	int n;

	setenv("SECRET_OF_OURS", "x", 1);
	unsetenv("CREDENTIALS_DIRECTORY");
	setenv("HOME", "/home/of/somebody", 1);
	n = run("#!/bin/sh\nread -r line; echo \"$line|$1|$2|$#\"; read -r more && echo more\n"
		"tr '\\0' '\\n' </proc/$$/environ; ls /proc/self/fd | tail -n +5\n",
		&wanted, raw, sizeof(raw), why);
	cr_assert_gt(n, 0, "%s", why);
	cr_expect_str_eq((char *)raw,
			 "sealblk-key-1 purpose=new|one|two|2\n"
			 "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
			 "LC_ALL=C.UTF-8\nHOME=/home/of/somebody\n",
			 "%s", (char *)raw);
}

Test(key_command, says_why_a_program_does_not_run)
{
	const struct key_wanted wanted = { 0 };
	char why[KEY_WHY_BYTES];
	uint8_t raw[64];

	cr_expect_eq(key_command_read("/nonexistent/kms", &wanted, raw, sizeof(raw), why), -EIO);
	cr_expect_str_eq(why, "cannot be run: No such file or directory");
	cr_expect_eq(key_command_read("/etc/passwd", &wanted, raw, sizeof(raw), why), -EIO);
	cr_expect_str_eq(why, "cannot be run: Permission denied");
	cr_expect_eq(key_command_read("kms", &wanted, raw, sizeof(raw), why), -EINVAL);
	cr_expect(strstr(why, "whole path"));
}
