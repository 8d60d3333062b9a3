/* SPDX-License-Identifier: MIT */
/*
 * TLS 1.2 and 1.3 of a connection, by OpenSSL. It does no I/O: what comes from the
 * socket is put into @in, what is to go there is found in @out, and both are moved
 * by the worker's ring like everything else.
 *
 * A struct tls belongs to its connection's thread; a struct tls_context is frozen
 * once made, but for the count of its users, and shared. Nothing here blocks but tls_context_new().
 *
 * Once the handshake is over, the kernel may take over what is sent (tls_hand_over()).
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/compiler.h"
#include "image/problem.h"
#include "sealblk/limits.h"

/* Who we are, and whom we let in. Strings are the caller's, and outlive the context. */
struct tls_options {
	const char *certificate; /* PEM, with what leads to its root; NULL: none */
	const char *key;	 /* PEM, without a passphrase */
	const char *client_ca;	 /* PEM: who must have signed clients' certificates; NULL: nobody */
	const char *client_crl;	 /* PEM: those that are revoked; NULL: none */
	const char *allowed[TLS_NAMES_MAX]; /* names in it (CN, DNS or e-mail); none: any */
	unsigned int nr_allowed;
	const char *psk; /* file of "identity:hex" lines, as psktool(1) makes; NULL: none */
};

struct helper;
struct tls_context;
struct tls;

/*
 * Reads the files by @helper. @with_kernel: tls_kernel_is_there(). Blocks. Returns 0, or
 * with *ret_problem: -EINVAL: a file says something that cannot be used, -ENOMEM, or the
 * negative errno of reading. The caller owns *ret_context: tls_context_put().
 */
int MUST_CHECK tls_context_new(const struct tls_options *options, struct helper *helper,
			       bool with_kernel, struct tls_context **ret_context,
			       struct problem *ret_problem);

/* One more who uses it; any thread. Accepts and returns NULL. */
struct tls_context *tls_context_get(struct tls_context *context);

/* One less; the last one wipes keys. Any thread. Accepts NULL; always returns NULL. */
struct tls_context *tls_context_put(struct tls_context *context);

/* The server's side of a new connection, which uses @context to its end; NULL: no memory. */
struct tls *tls_new(struct tls_context *context);

/* Accepts NULL; always returns NULL. */
struct tls *tls_free(struct tls *tls);

/* ---- the two ends to the socket ---- */

/* Where to receive to, and how much there is room for: at least one record, once the last is read. */
uint8_t *tls_in(struct tls *tls, uint32_t *ret_bytes);
void tls_received(struct tls *tls, uint32_t nr_bytes);

/* What is to be sent, in order; 0 bytes: nothing. It stays there until tls_sent(). */
uint8_t *tls_out(struct tls *tls, uint32_t *ret_bytes);
void tls_sent(struct tls *tls, uint32_t nr_bytes);

/* ---- what goes on between them ---- */

enum tls_progress {
	TLS_GOES_ON, /* send what is in @out, or else receive more */
	TLS_READY,
	TLS_FAILED, /* send what is in @out (an alert), close; tls_problem() */
};

/* The handshake, until it is TLS_READY. */
enum tls_progress MUST_CHECK tls_shake(struct tls *tls);

/*
 * Decrypt what has been received into @bytes, at most @nr_bytes (> 0) of it. Returns
 * how many; 0: receive more first; -EPIPE: the client has said good-bye; -EPROTO:
 * what came is no TLS of ours, tls_problem().
 */
int MUST_CHECK tls_read(struct tls *tls, uint8_t *bytes, uint32_t nr_bytes);

/*
 * Encrypt the beginning of @parts into @out, as much as a record holds and there is
 * room for. Returns how many bytes of them; 0: send some first; -EPROTO.
 */
int MUST_CHECK tls_write(struct tls *tls, const struct iovec *parts, size_t nr_parts);

/* Put a good-bye into @out. */
void tls_bye(struct tls *tls);

/*
 * Once ready, with nothing in @out and before the first tls_write(): let the kernel
 * encrypt what is sent to @fd from here on. Returns whether it does: then plaintext
 * goes there, tls_write() and tls_bye() are over, and at the end tls_last_message() is
 * due. What is received goes the same way as ever.
 */
bool MUST_CHECK tls_hand_over(struct tls *tls, int fd);

/* After that: what to send last, a good-bye or why there is none. Lies in @tls. */
struct msghdr *tls_last_message(struct tls *tls);

/*
 * Once ready: "TLSv1.3, TLS_AES_256_GCM_SHA384, client CN=vm7" and the like, with "sent by
 * the kernel" where that is so; cut to fit.
 */
void tls_describe(const struct tls *tls, char *text, size_t text_bytes);

/* Why the last call failed, in a few words. */
const char *tls_problem(const struct tls *tls);

#endif
