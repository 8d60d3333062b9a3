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
			   options->nr_key_sources == 0 ? "wants a key: " TOOL_KEY_OPTIONS
							: "wants one key only");
	return -EINVAL;
}

int tool_check_new_key(const struct tool_options *options, struct problem *problem)
{
	if (options->nr_new_key_sources == 1)
		return 0;
	tool_usage_problem(problem, options->verb, "%s",
			   options->nr_new_key_sources == 0
				   ? "wants a new key: --new-key-file, --new-passphrase-file, "
				     "--new-credential or --new-keyring"
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
	int r = key_source_read(source, ret_secret);
	const char *refusal = key_source_refusal(source->kind, r);

	if (r < 0)
		problem_set(problem, key_source_kind_name(source->kind), source->name, "%s%s",
			    refusal ? "" : "cannot be read: ", refusal ? refusal : strerror(-r));
	return r;
}
