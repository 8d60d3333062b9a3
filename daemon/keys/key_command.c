/* SPDX-License-Identifier: MIT */
/* Keys from a command: see key_command.h. */
#include "keys/key_command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "keys/key_child.h"

/* What a shell would take for more than a character of a word. */
static const char shell_characters[] = "'\"\\$`|;<>()*\n";

const char *key_command_parse(const char *text, struct key_command *ret_command)
{
	const size_t text_bytes = strlen(text) + 1;
	size_t nr_words = 0;
	char *rest;

	if (text_bytes > sizeof(ret_command->text))
		return "is too long";
	if (strpbrk(text, shell_characters))
		return "no shell reads it, so there is nothing to quote, expand or pipe: "
		       "write a script, and name that";
	memcpy(ret_command->text, text, text_bytes);
	for (char *word = strtok_r(ret_command->text, " \t", &rest); word;
	     word = strtok_r(NULL, " \t", &rest)) {
		if (nr_words == KEY_COMMAND_WORDS_MAX)
			return "has more than 32 words";
		ret_command->words[nr_words++] = word;
	}
	ret_command->words[nr_words] = NULL;
	if (nr_words == 0 || ret_command->words[0][0] != '/')
		return "the program must be named by its whole path, which begins with /";
	return NULL;
}
_Static_assert(KEY_COMMAND_WORDS_MAX == 32, "says the message");

/* Where programs are, and what places a service has been given; nothing else of ours. */
struct environment {
	char home[PATH_BYTES_MAX];
	char credentials[PATH_BYTES_MAX];
	char *variables[5];
};

static void fill_environment(struct environment *environment)
{
	static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	static char locale[] = "LC_ALL=C.UTF-8";
	const char *home = getenv("HOME");
	const char *credentials = getenv("CREDENTIALS_DIRECTORY");
	size_t nr = 0;

	environment->variables[nr++] = path;
	environment->variables[nr++] = locale;
	if (home && snprintf(environment->home, sizeof(environment->home), "HOME=%s", home) <
			    (int)sizeof(environment->home))
		environment->variables[nr++] = environment->home;
	if (credentials && snprintf(environment->credentials, sizeof(environment->credentials),
				    "CREDENTIALS_DIRECTORY=%s",
				    credentials) < (int)sizeof(environment->credentials))
		environment->variables[nr++] = environment->credentials;
	environment->variables[nr] = NULL;
}

/* In the child. Comes back only when there is nothing to run. */
static int run(const void *arg)
{
	const struct key_command *command = arg;
	struct environment environment;

	fill_environment(&environment);
	execve(command->words[0], command->words, environment.variables);
	dprintf(STDERR_FILENO, "cannot be run: %s\n", strerror(errno));
	return KEY_CHILD_HAS_SAID_WHY;
}

int key_command_read(const char *text, const struct key_wanted *wanted, uint8_t *raw, size_t room,
		     char why[KEY_WHY_BYTES])
{
	char line[KEY_WANTED_LINE_BYTES];
	struct key_command command;
	const struct key_child child = {
		.run = run,
		.arg = &command,
		.input = line,
		.deadline_ms = KEY_DEADLINE_MS,
	};
	const char *wrong = key_command_parse(text, &command);

	if (wrong) {
		snprintf(why, KEY_WHY_BYTES, "%s", wrong);
		return -EINVAL;
	}
	key_wanted_line(wanted, line);
	return key_child_read(&child, raw, room, why);
}
