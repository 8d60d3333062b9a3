/* SPDX-License-Identifier: MIT */
/*
 * Keys from PKCS#11 tokens: --pkcs11 (docs/key-sources.md). A key of the token, which
 * need not ever leave it, makes an HMAC that hangs on the image; that is the secret.
 */
#ifndef KEYS_KEY_PKCS11_H
#define KEYS_KEY_PKCS11_H

#include "base/compiler.h"
#include "keys/key_source.h"

/*
 * Returns NULL, or what is wrong with @uri, as the end of a line in which @uri must
 * not be shown: it may hold a PIN. No module is loaded.
 */
const char *key_pkcs11_judge(const char *uri);

/*
 * Ask the token @uri, in a child which alone loads its module: as key_child_read(),
 * and -EINVAL: key_pkcs11_judge() says why, or @wanted does not know the image.
 */
int MUST_CHECK key_pkcs11_read(const char *uri, const struct key_wanted *wanted, uint8_t *raw,
			       size_t room, char why[KEY_WHY_BYTES]);

#endif
