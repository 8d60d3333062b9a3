/* SPDX-License-Identifier: MIT */
/* What all TLS connections of a server share: inside net/. See tls.h. */
#ifndef NET_TLS_CONTEXT_H
#define NET_TLS_CONTEXT_H

#include <openssl/bio.h>
#include <openssl/ssl.h>

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
 * tls_psk.c: read a file of pre-shared keys. Blocks. Returns 0, or with *ret_problem
 * -EINVAL: a line that is not "identity:hex", -EFBIG: too many, -ENOMEM, or a negative
 * errno. The caller owns *ret_psks: key_mem_free().
 */
int MUST_CHECK tls_psks_read(const char *path, struct tls_psks **ret_psks,
			     struct problem *ret_problem);

#endif
