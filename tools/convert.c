/* SPDX-License-Identifier: MIT */
/* sealblk convert: see `sealblk convert --help`. */
#include <errno.h>

#include "copy_base.h"
#include "transfer.h"
#include "verbs.h"

static int check_source(const void *arg, struct problem *problem)
{
	return copy_base_check(arg, problem);
}

/* A destination that is a part of the source would be gone when it is replaced. */
static int refuse_itself(const struct copy_base *from, const char *path, struct problem *problem)
{
	if (!copy_base_has(&from->base, path))
		return 0;
	problem_set(problem, "destination", path, "is the source itself");
	return -EINVAL;
}

int verb_convert_check(const struct tool_options *options, struct problem *problem)
{
	return transfer_check_options(options, problem);
}

int verb_convert(const struct tool_options *options, struct problem *problem)
{
	CLEANUP(copy_base_close) struct copy_base from = { 0 };
	struct transfer transfer = {
		.options = options,
		.what = "converted",
		.source = &from.source,
		.path = options->second,
		.mode = 0666,
		.format = transfer_format(options, options->second),
		.check_source = check_source,
		.arg = &from,
	};
	int r = copy_base_open(&from, options->image, problem);

	if (r == 0)
		r = refuse_itself(&from, options->second, problem);
	if (r < 0)
		return r;
	transfer.identity = from.identity;
	transfer.disk_bytes = transfer_disk_bytes(transfer.format, from.base.disk_bytes);
	r = transfer_new_footer(transfer.disk_bytes, &transfer.footer);
	if (r < 0) {
		problem_set(problem, "destination", options->second, "no random numbers");
		return r;
	}
	return transfer_run(&transfer, problem);
}
