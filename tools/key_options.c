/* SPDX-License-Identifier: MIT */
/* The options that name keys: see key_options.h. */
#include "key_options.h"

static const char *set_source(struct tool_options *options, enum key_source_kind kind,
			      const char *name)
{
	options->nr_key_sources++;
	options->key_source = (struct key_source){ .kind = kind, .name = name };
	return key_source_judge(&options->key_source);
}

static const char *set_new_source(struct tool_options *options, enum key_source_kind kind,
				  const char *name)
{
	options->nr_new_key_sources++;
	options->new_key_source = (struct key_source){ .kind = kind, .name = name };
	return key_source_judge(&options->new_key_source);
}

const char *key_option_key_file(struct tool_options *options, const char *value)
{
	return set_source(options, KEY_SOURCE_FILE, value);
}

const char *key_option_passphrase_file(struct tool_options *options, const char *value)
{
	return set_source(options, KEY_SOURCE_PASSPHRASE, value);
}

const char *key_option_credential(struct tool_options *options, const char *value)
{
	return set_source(options, KEY_SOURCE_CREDENTIAL, value);
}

const char *key_option_keyring(struct tool_options *options, const char *value)
{
	return set_source(options, KEY_SOURCE_KERNEL, value);
}

const char *key_option_key_command(struct tool_options *options, const char *value)
{
	return set_source(options, KEY_SOURCE_COMMAND, value);
}

const char *key_option_pkcs11(struct tool_options *options, const char *value)
{
	return set_source(options, KEY_SOURCE_PKCS11, value);
}

const char *key_option_new_key_file(struct tool_options *options, const char *value)
{
	return set_new_source(options, KEY_SOURCE_FILE, value);
}

const char *key_option_new_passphrase_file(struct tool_options *options, const char *value)
{
	return set_new_source(options, KEY_SOURCE_PASSPHRASE, value);
}

const char *key_option_new_credential(struct tool_options *options, const char *value)
{
	return set_new_source(options, KEY_SOURCE_CREDENTIAL, value);
}

const char *key_option_new_keyring(struct tool_options *options, const char *value)
{
	return set_new_source(options, KEY_SOURCE_KERNEL, value);
}

const char *key_option_new_key_command(struct tool_options *options, const char *value)
{
	return set_new_source(options, KEY_SOURCE_COMMAND, value);
}

const char *key_option_new_pkcs11(struct tool_options *options, const char *value)
{
	return set_new_source(options, KEY_SOURCE_PKCS11, value);
}
