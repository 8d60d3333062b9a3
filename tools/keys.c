/* SPDX-License-Identifier: MIT */
/* Keys of the command line: see keys.h. */
#include "keys.h"

#include <errno.h>
#include <string.h>

int tool_check_key(const struct tool_options *options, struct problem *problem)
{
	if (options->nr_key_sources == 1)
		return 0;
	tool_usage_problem(problem, options->verb, "%s",
			   options->nr_key_sources == 0
				   ? "wants a key: --key-file or --passphrase-file"
				   : "wants one key only");
	return -EINVAL;
}

int tool_read_key(const struct key_source *source, struct key_secret **ret_secret,
		  struct problem *problem)
{
	static const char *const wrong_length[] = {
		[KEY_SOURCE_FILE] = "a key has 32 to 4096 bytes",
		[KEY_SOURCE_PASSPHRASE] = "its first line has 1 to 4096 bytes",
	};
	int r = key_source_read(source, ret_secret);

	if (r == -ERANGE)
		problem_set(problem, key_source_kind_name(source->kind), source->name, "%s",
			    wrong_length[source->kind]);
	else if (r < 0)
		problem_set(problem, key_source_kind_name(source->kind), source->name,
			    "cannot be read: %s", strerror(-r));
	return r;
}
