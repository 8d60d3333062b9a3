/* SPDX-License-Identifier: MIT */
/* The options of attach. */
#ifndef TOOLS_ATTACH_OPTIONS_H
#define TOOLS_ATTACH_OPTIONS_H

#include "options.h"

/* Returns NULL, or what is wrong with @value. */
const char *attach_option_via(struct tool_options *options, const char *value);

#endif
