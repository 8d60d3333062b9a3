/* SPDX-License-Identifier: MIT */
/* Random bytes from OpenSSL's generators, which the kernel seeds. */
#include "crypt/wrap.h"

#include <openssl/rand.h>

#include "crypt/ossl.h"

/*
 * The private generator is a stream apart: whoever sees nonces and salts learns
 * nothing about the generator that made the keys.
 */
int random_private(void *ret_bytes, size_t nr_bytes)
{
	if (RAND_priv_bytes_ex(NULL, ret_bytes, nr_bytes, 0) != 1)
		return ossl_failed(-EIO);
	return 0;
}

int random_public(void *ret_bytes, size_t nr_bytes)
{
	if (RAND_bytes_ex(NULL, ret_bytes, nr_bytes, 0) != 1)
		return ossl_failed(-EIO);
	return 0;
}
