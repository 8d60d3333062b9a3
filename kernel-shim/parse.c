// SPDX-License-Identifier: GPL-2.0-only
/* What is typed: see parse.h. */
#ifdef __KERNEL__
#include <linux/kernel.h>
#include <linux/string.h>
#else
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#endif

#include "parse.h"

/* "sealblk/" and a name is what the node is called. */
static bool is_name_character(char c, bool first)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	    c == '_' || c == '+')
		return true;
	return !first && (c == '.' || c == '-');
}

static bool is_name(const char *name)
{
	size_t nr;

	for (nr = 0; name[nr]; nr++)
		if (nr == SHIM_NAME_BYTES_MAX || !is_name_character(name[nr], nr == 0))
			return false;
	return nr > 0;
}

/* Decimal digits and nothing else, of at most @max. */
static bool parse_number(const char *text, unsigned int max, unsigned int *ret_number)
{
	unsigned int number = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		number = number * 10 + (unsigned int)(*text - '0');
		if (number > max) /* @max is far below what would wrap */
			return false;
	}
	*ret_number = number;
	return true;
}

enum { OPTION_QUEUE_DEPTH, OPTION_MAX_IO_KIB, OPTION_TIMEOUT };

static const struct option {
	const char *name;
	unsigned int min;
	unsigned int max;
	const char *wrong;
} options[] = {
	[OPTION_QUEUE_DEPTH] = { "queue_depth", 1, SHIM_QUEUE_DEPTH_MAX,
				 "queue_depth must be 1 to 256" },
	[OPTION_MAX_IO_KIB] = { "max_io_kib", SHIM_IO_KIB_MIN, SHIM_IO_KIB_MAX,
				"max_io_kib must be 4 to 4096, in steps of 4" },
	[OPTION_TIMEOUT] = { "timeout", 0, SHIM_TIMEOUT_S_MAX,
			     "timeout must be 0 to 86400 seconds" },
};

static const char *parse_option(const struct option *option, const char *text,
				unsigned int *ret_number)
{
	unsigned int number;

	if (!parse_number(text, option->max, &number) || number < option->min)
		return option->wrong;
	if (option == &options[OPTION_MAX_IO_KIB] && number % 4)
		return option->wrong;
	*ret_number = number;
	return NULL;
}

static const struct option *find_option(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (strcmp(options[i].name, name) == 0)
			return &options[i];
	return NULL;
}

const char *shim_parse_table(unsigned int argc, char **argv, struct shim_table *ret_table)
{
	unsigned int values[ARRAY_SIZE(options)] = {
		[OPTION_QUEUE_DEPTH] = SHIM_QUEUE_DEPTH_DEFAULT,
		[OPTION_MAX_IO_KIB] = SHIM_IO_KIB_DEFAULT,
	};
	unsigned int seen = 0;

	if (argc == 0)
		return "a name is wanted: NAME [queue_depth N] [max_io_kib N] [timeout S]";
	if (!is_name(argv[0]))
		return "the name must be 1 to 63 letters, digits, _ + . - (not . or - in front)";
	if (argc % 2 == 0)
		return "the last option has no value";
	for (unsigned int i = 1; i < argc; i += 2) {
		const struct option *option = find_option(argv[i]);
		const char *wrong;

		if (!option)
			return "unknown option; there are queue_depth, max_io_kib and timeout";
		if (seen & 1u << (option - options))
			return "an option is given twice";
		seen |= 1u << (option - options);
		wrong = parse_option(option, argv[i + 1], &values[option - options]);
		if (wrong)
			return wrong;
	}
	if (values[OPTION_QUEUE_DEPTH] * values[OPTION_MAX_IO_KIB] > SHIM_DATA_KIB_MAX)
		return "queue_depth times max_io_kib must be 256 MiB at most";
	ret_table->name = argv[0];
	ret_table->queue_depth = values[OPTION_QUEUE_DEPTH];
	ret_table->max_io_kib = values[OPTION_MAX_IO_KIB];
	ret_table->timeout_s = values[OPTION_TIMEOUT];
	return NULL;
}

const char *shim_parse_message(unsigned int argc, char **argv, unsigned int *ret_timeout_s)
{
	if (argc == 0 || strcmp(argv[0], options[OPTION_TIMEOUT].name) != 0)
		return "unknown message; there is: timeout S";
	if (argc != 2)
		return "the message timeout takes one number of seconds";
	return parse_option(&options[OPTION_TIMEOUT], argv[1], ret_timeout_s);
}
