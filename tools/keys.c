/* SPDX-License-Identifier: MIT */
/* Keys of the command line: see keys.h. */
#include "keys.h"

#include <errno.h>
#include <string.h>

#include "keys/key_mem.h"

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

int tool_check_new_key(const struct tool_options *options, struct problem *problem)
{
	if (options->nr_new_key_sources == 1)
		return 0;
	tool_usage_problem(problem, options->verb, "%s",
			   options->nr_new_key_sources == 0
				   ? "wants a new key: --new-key-file or --new-passphrase-file"
				   : "wants one new key only");
	return -EINVAL;
}

int tool_read_new_key(const struct key_source *source, struct key_secret **ret_secret,
		      struct problem *problem)
{
	struct key_secret *secret;
	int r = tool_read_key(source, &secret, problem);

	if (r < 0)
		return r;
	if (key_secret_is_weak(secret)) {
		problem_set(problem, key_source_kind_name(source->kind), source->name,
			    "is no key: all its bytes are the same");
		key_mem_free(secret);
		return -EINVAL;
	}
	*ret_secret = secret;
	return 0;
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
