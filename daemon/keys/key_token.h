/* SPDX-License-Identifier: MIT */
/* What is done with a PKCS#11 token, in a process of its own: key_child.h. */
#ifndef KEYS_KEY_TOKEN_H
#define KEYS_KEY_TOKEN_H

#include "base/uuid.h"

struct key_token_order {
	const char *uri;		    /* key_pkcs11_judge() has no objection */
	char message[32 + UUID_TEXT_BYTES]; /* what the HMAC is made of, without its NUL */
};

enum { KEY_TOKEN_SECRET_BYTES = 32 }; /* of HMAC-SHA-256 */

/*
 * For struct key_child; @arg: a struct key_token_order. Loads the module, logs in,
 * finds the key, and writes the HMAC to standard output. Returns the exit status.
 */
int key_token_run(const void *arg);

/* The path in a pin-source, "file:/PATH" or "file:///PATH"; NULL: it is no such thing. */
const char *key_token_pin_path(const char *pin_source);

#endif
