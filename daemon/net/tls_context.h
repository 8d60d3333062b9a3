/* SPDX-License-Identifier: MIT */
/* What all TLS connections of a server share: inside net/. See tls.h. */
#ifndef NET_TLS_CONTEXT_H
#define NET_TLS_CONTEXT_H

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <stdatomic.h>

#include "keys/helper.h"
#include "net/tls.h"

struct tls_psk {
	char identity[TLS_IDENTITY_BYTES_MAX + 1];
	uint8_t key[TLS_PSK_BYTES_MAX];
	uint32_t key_bytes;
};

/* In key memory. */
struct tls_psks {
	unsigned int nr;
	struct tls_psk keys[TLS_PSKS_MAX];
};

struct tls_context {
	_Atomic unsigned int nr_users; /* connections, and whoever begins some */
	SSL_CTX *ssl_ctx;
	BIO_METHOD *bio_method;
	struct tls_options options;
	struct tls_psks *psks; /* NULL: none */
};

/* tls.c: NULL: no memory. BIO_meth_free() it. */
BIO_METHOD *tls_bio_method_new(void);

/*
 * tls.c: what OpenSSL calls where the kernel may send: with each secret, as a line for
 * a log, which it is never written to; and with what it says and does.
 */
void tls_take_secret(const SSL *ssl, const char *line);
void tls_take_alert(const SSL *ssl, int where, int alert);

/*
 * tls_files.c: read what @context->options names, by @helper, into @context. Blocks.
 * Returns 0, or with *ret_problem -EINVAL: a file says what cannot be used, -ENOMEM, or
 * a negative errno.
 */
int MUST_CHECK tls_files_load(struct tls_context *context, struct helper *helper,
			      struct problem *ret_problem);

/*
 * tls_psk.c: take pre-shared keys from @text, what @path holds. Returns 0, or with
 * *ret_problem -EINVAL: a line that is not "identity:hex", -EFBIG: too many; or -ENOMEM.
 * The caller owns *ret_psks: key_mem_free().
 */
int MUST_CHECK tls_psks_take(const char *path, const char *text, size_t nr_bytes,
			     struct tls_psks **ret_psks, struct problem *ret_problem);

#endif
