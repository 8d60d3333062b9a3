/* SPDX-License-Identifier: MIT */
/*
 * Where a customer's key comes from. Never from argv or the environment: those
 * name a place, and the bytes are read from there.
 */
#ifndef KEYS_KEY_SOURCE_H
#define KEYS_KEY_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "sealblk/limits.h"

enum key_source_kind {
	KEY_SOURCE_FILE,       /* --key-file: raw bytes, 32..4096, nothing stripped */
	KEY_SOURCE_PASSPHRASE, /* --passphrase-file: the first line, without its newline */
	KEY_SOURCE_CREDENTIAL, /* --credential: as a key file, from $CREDENTIALS_DIRECTORY */
	KEY_SOURCE_KERNEL,     /* --keyring: as a key file, of type "user" by its description */
	KEY_SOURCE_KINDS,
};

struct key_source {
	enum key_source_kind kind;
	const char *name; /* path, name or description; the caller's, outlives this */
};

/* The bytes of one source. Always in key memory (key_mem.h). */
struct key_secret {
	enum key_source_kind kind; /* key_source_secret_kind() */
	uint32_t nr_bytes;
	uint8_t bytes[KEY_FILE_BYTES_MAX];
};
_Static_assert(KEY_FILE_BYTES_MAX >= PASSPHRASE_BYTES_MAX, "one buffer for both");

/* KEY_SOURCE_PASSPHRASE, or KEY_SOURCE_FILE for what is taken as it is. */
enum key_source_kind key_source_secret_kind(enum key_source_kind kind);

/*
 * Read @source. Blocks on the file. *ret_secret: key_mem_free() it.
 * Returns 0, -ENOMEM, -ERANGE (file shorter than 32 or longer than 4096 bytes,
 * empty or over-long first line); of a credential -ENXIO (systemd gave this
 * process none), -EINVAL (no file name); of the kernel's -ENOKEY and the like; or
 * what open and read said.
 */
int MUST_CHECK key_source_read(const struct key_source *source, struct key_secret **ret_secret);

/*
 * Is this what key_source_read() could have read? For secrets that came another
 * way, in key memory too; no byte of @secret is believed.
 */
bool key_secret_is_sound(const struct key_secret *secret);

/* All bytes alike: a forgotten file of zeros, /dev/zero. Not to be taken for a new key. */
bool key_secret_is_weak(const struct key_secret *secret);

/* "key file" and the like, for messages. */
const char *key_source_kind_name(enum key_source_kind kind);

/*
 * What is wrong with the source, when key_source_read() said so; NULL: it cannot
 * be read, and strerror() tells why.
 */
const char *key_source_refusal(enum key_source_kind kind, int error);

#endif
