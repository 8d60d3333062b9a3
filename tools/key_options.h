/* SPDX-License-Identifier: MIT */
/*
 * The options that name keys, --key-file to --new-pkcs11: each counts itself and
 * sets a key source of @options, whose name stays argv's. Returns NULL, or what is
 * wrong with @value.
 */
#ifndef TOOLS_KEY_OPTIONS_H
#define TOOLS_KEY_OPTIONS_H

#include "options.h"

const char *key_option_key_file(struct tool_options *options, const char *value);
const char *key_option_passphrase_file(struct tool_options *options, const char *value);
const char *key_option_credential(struct tool_options *options, const char *value);
const char *key_option_keyring(struct tool_options *options, const char *value);
const char *key_option_key_command(struct tool_options *options, const char *value);
const char *key_option_pkcs11(struct tool_options *options, const char *value);

const char *key_option_new_key_file(struct tool_options *options, const char *value);
const char *key_option_new_passphrase_file(struct tool_options *options, const char *value);
const char *key_option_new_credential(struct tool_options *options, const char *value);
const char *key_option_new_keyring(struct tool_options *options, const char *value);
const char *key_option_new_key_command(struct tool_options *options, const char *value);
const char *key_option_new_pkcs11(struct tool_options *options, const char *value);

#endif
