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
#include "keys/key_wanted.h"
#include "sealblk/limits.h"

enum key_source_kind {
	KEY_SOURCE_FILE,       /* --key-file: raw bytes, 32..4096, nothing stripped */
	KEY_SOURCE_PASSPHRASE, /* --passphrase-file: the first line, without its newline */
	KEY_SOURCE_CREDENTIAL, /* --credential: as a key file, from $CREDENTIALS_DIRECTORY */
	KEY_SOURCE_KERNEL,     /* --keyring: as a key file, of type "user" by its description */
	KEY_SOURCE_COMMAND,    /* --key-command: as a key file, what a program prints */
	KEY_SOURCE_PKCS11,     /* --pkcs11: as a key file, an HMAC of a token's key */
	KEY_SOURCE_KINDS,
};

struct key_source {
	enum key_source_kind kind;
	const char *name; /* path, name, description, command or URI; the caller's, outlives this */
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

/* Room for the reason why there is no key, as the end of a line. */
enum { KEY_WHY_BYTES = 512 };

/*
 * What is wrong with the name of a source before anything is read: a mistake of
 * usage, as the end of a line. NULL: nothing.
 */
const char *key_source_judge(const struct key_source *source);

/* Its name, for the line that says what is wrong with it: not of a URI, which may hold a PIN. */
const char *key_source_judged_name(const struct key_source *source);

/* Does it answer for one image at a time? Then it is read anew for each. */
bool key_source_is_per_image(enum key_source_kind kind);

/*
 * Read @source. Blocks on the file, or for KEY_DEADLINE_MS at most; what runs
 * somebody else's code wants a caller that is the process's only thread.
 * @wanted: told to what is_per_image. *ret_secret: key_mem_free() it.
 * Returns 0; or with @why, the end of a line: -ENOMEM; -ERANGE: shorter than 32 or
 * longer than 4096 bytes, empty or over-long first line; -EINVAL: key_source_judge()
 * says why; of a credential -ENXIO; of the kernel's -ENOKEY and the like; of what
 * runs: as key_child_read(); or what open and read said.
 */
int MUST_CHECK key_source_read(const struct key_source *source, const struct key_wanted *wanted,
			       struct key_secret **ret_secret, char why[KEY_WHY_BYTES]);

/*
 * Is this what key_source_read() could have read? For secrets that came another
 * way, in key memory too; no byte of @secret is believed.
 */
bool key_secret_is_sound(const struct key_secret *secret);

/* All bytes alike: a forgotten file of zeros, /dev/zero. Not to be taken for a new key. */
bool key_secret_is_weak(const struct key_secret *secret);

/* "key file" and the like, for messages. */
const char *key_source_kind_name(enum key_source_kind kind);

/* The end of a line that says why there is no key, for an error that came without. */
void key_source_explain(enum key_source_kind kind, int error, char why[KEY_WHY_BYTES]);

#endif
