/* SPDX-License-Identifier: MIT */
/* Options of verbs that copy disks: see copy_options.h. */
#include "copy_options.h"

#include <string.h>

const char *tool_split_format(const char *value, char ret_path[PATH_BYTES_MAX],
			      enum base_format *ret_format)
{
	const char *colon = strrchr(value, ':');
	size_t path_bytes = strlen(value);

	*ret_format = BASE_AUTO;
	/* A colon that no format follows is part of the path. */
	if (colon && strcmp(colon + 1, "auto") != 0 && base_format_of(colon + 1, ret_format) == 0)
		path_bytes = (size_t)(colon - value);
	if (path_bytes == 0)
		return "names no file";
	if (path_bytes >= PATH_BYTES_MAX)
		return "the path is too long";
	memcpy(ret_path, value, path_bytes);
	ret_path[path_bytes] = '\0';
	return NULL;
}

const char *copy_option_format(struct tool_options *options, const char *value)
{
	static const char *const names[] = { [TOOL_FORMAT_VHD] = "vhd",
					     [TOOL_FORMAT_VHD_DYNAMIC] = "vhd-dynamic",
					     [TOOL_FORMAT_RAW] = "raw" };

	for (unsigned int i = TOOL_FORMAT_VHD; i < ARRAY_LEN(names); i++) {
		if (strcmp(value, names[i]) != 0)
			continue;
		options->format = (enum tool_format)i;
		return NULL;
	}
	return "neither vhd, vhd-dynamic nor raw";
}

const char *copy_option_force(struct tool_options *options, const char *value)
{
	(void)value;
	options->force = true;
	return NULL;
}

const char *copy_option_fix(struct tool_options *options, const char *value)
{
	(void)value;
	options->fix = true;
	return NULL;
}
