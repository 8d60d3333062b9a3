/* SPDX-License-Identifier: MIT */
/*
 * Options of verbs that copy disks: each sets something of @options. Returns NULL, or
 * what is wrong with @value.
 */
#ifndef TOOLS_COPY_OPTIONS_H
#define TOOLS_COPY_OPTIONS_H

#include "options.h"

const char *copy_option_format(struct tool_options *options, const char *value);
const char *copy_option_force(struct tool_options *options, const char *value);
const char *copy_option_fix(struct tool_options *options, const char *value);

#endif
