/* SPDX-License-Identifier: MIT */
/*
 * Keys from a command: --key-command (docs/key-sources.md). No shell reads it: a
 * word that came from somewhere else cannot become a command of its own.
 */
#ifndef KEYS_KEY_COMMAND_H
#define KEYS_KEY_COMMAND_H

#include "base/compiler.h"
#include "keys/key_source.h"

struct key_command {
	char text[PATH_BYTES_MAX];		/* the words, each with a NUL */
	char *words[KEY_COMMAND_WORDS_MAX + 1]; /* point into @text; the last one is NULL */
};

/*
 * Words are parted by spaces and tabs; the first one is the absolute path of the
 * program. Nothing can be quoted, and what would mean something to a shell is
 * refused, lest it be thought to. Returns NULL, or what is wrong with @text, as the
 * end of a line.
 */
const char *key_command_parse(const char *text, struct key_command *ret_command);

/*
 * Run the command @text and read what it prints: as key_child_read(), and -EINVAL:
 * key_command_parse() says why.
 */
int MUST_CHECK key_command_read(const char *text, const struct key_wanted *wanted, uint8_t *raw,
				size_t room, char why[KEY_WHY_BYTES]);

#endif
