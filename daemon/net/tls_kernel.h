/* SPDX-License-Identifier: MIT */
/*
 * The kernel's TLS ("kTLS"), for what is sent in TLS 1.3: a socket that it has been
 * given the keys of takes plaintext, and the kernel makes records of it, straight from
 * the caller's memory. Inside net/; see tls.h. What is received stays with OpenSSL:
 * docs/nbd.md says why.
 */
#ifndef NET_TLS_KERNEL_H
#define NET_TLS_KERNEL_H

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/compiler.h"

/*
 * Has this kernel it? Its module is loaded by the question, if we are privileged.
 * Makes a socket, so it is for the time before the sandbox.
 */
bool tls_kernel_is_there(void);

/*
 * RFC 8446, 7.3: key or IV (@label) of a direction, @nr_bytes, from its traffic secret.
 * Returns 0, or -EIO as crypt/ does, with OpenSSL's queue of errors empty.
 */
int MUST_CHECK tls_kernel_expand(const EVP_MD *digest, const uint8_t *secret, size_t secret_bytes,
				 const char *label, uint8_t *ret_bytes, size_t nr_bytes);

/*
 * Let the kernel encrypt what is sent to @fd from here on, its first record being
 * number 0 under the traffic secret @secret of @cipher. Returns 0; -EOPNOTSUPP: it does
 * not have this cipher; or a negative errno. After a failure @fd sends what it is given,
 * as before.
 */
int MUST_CHECK tls_kernel_begin(int fd, const SSL_CIPHER *cipher, const uint8_t *secret,
				size_t secret_bytes);

/* An alert as such a socket takes it. Points into itself: not to be moved. */
struct tls_kernel_alert {
	struct msghdr message;
	struct iovec part;
	uint8_t bytes[2]; /* RFC 8446, 6: level, description */
	_Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(1)]; /* what kind of record it is */
};

/* Make @alert's message of its bytes: a record of its own, of an alert's type. */
void tls_kernel_wrap_alert(struct tls_kernel_alert *alert);

#endif
