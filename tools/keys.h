/* SPDX-License-Identifier: MIT */
/* Keys of the command line. */
#ifndef TOOLS_KEYS_H
#define TOOLS_KEYS_H

#include "base/compiler.h"
#include "image/problem.h"
#include "keys/key_source.h"
#include "options.h"

/* The KEYSOURCEs, for messages. */
#define TOOL_KEY_OPTIONS                                                         \
	"--key-file, --passphrase-file, --credential, --keyring, --key-command " \
	"or --pkcs11"

/* Is exactly one KEYSOURCE given? Returns 0, or -EINVAL with *problem. */
int MUST_CHECK tool_check_key(const struct tool_options *options, struct problem *problem);

/* The same of the options --new-... */
int MUST_CHECK tool_check_new_key(const struct tool_options *options, struct problem *problem);

/*
 * The key that is to open @image, as far as the file says which it is: told to the
 * source. Blocks. *ret_secret: key_mem_free() it. Returns 0, or as
 * key_source_read() with *problem.
 */
int MUST_CHECK tool_read_key(const struct key_source *source, const char *image,
			     struct key_secret **ret_secret, struct problem *problem);

/*
 * The same of a key that is to open an image from now on: -EINVAL also of a weak
 * one, and of a command that prints another one when it is asked again.
 */
int MUST_CHECK tool_read_new_key(const struct key_source *source, const char *image,
				 struct key_secret **ret_secret, struct problem *problem);

/* The same of an image that will have this @uuid. */
int MUST_CHECK tool_read_first_key(const struct key_source *source,
				   const uint8_t uuid[SEAL_UUID_BYTES],
				   struct key_secret **ret_secret, struct problem *problem);

#endif
