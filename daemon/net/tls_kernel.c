/* SPDX-License-Identifier: MIT */
/* Keys for the kernel's TLS: see tls_kernel.h. */
#include "net/tls_kernel.h"

#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What setsockopt() takes: a head, then parts whose order is each cipher's own. */
union keys {
	struct tls_crypto_info head;
	struct tls12_crypto_info_aes_gcm_128 aes128;
	struct tls12_crypto_info_aes_gcm_256 aes256;
	struct tls12_crypto_info_chacha20_poly1305 chacha;
};

enum { IV_BYTES = 12 }; /* RFC 8446, 5.3: of every cipher */

/* The IV's first bytes are the kernel's "salt", the others its "iv". */
struct layout {
	uint32_t openssl_id;
	uint16_t kernel_id;
	uint8_t struct_bytes;
	uint8_t key_at, key_bytes;
	uint8_t salt_at, salt_bytes;
	uint8_t iv_at;
};

#define LAYOUT(openssl_id, cipher, type)                                                    \
	{                                                                                   \
		openssl_id, cipher, sizeof(struct type), offsetof(struct type, key),        \
			cipher##_KEY_SIZE, offsetof(struct type, salt), cipher##_SALT_SIZE, \
			offsetof(struct type, iv)                                           \
	}

static const struct layout layouts[] = {
	LAYOUT(TLS1_3_CK_AES_128_GCM_SHA256, TLS_CIPHER_AES_GCM_128, tls12_crypto_info_aes_gcm_128),
	LAYOUT(TLS1_3_CK_AES_256_GCM_SHA384, TLS_CIPHER_AES_GCM_256, tls12_crypto_info_aes_gcm_256),
	LAYOUT(TLS1_3_CK_CHACHA20_POLY1305_SHA256, TLS_CIPHER_CHACHA20_POLY1305,
	       tls12_crypto_info_chacha20_poly1305),
};

_Static_assert(TLS_CIPHER_AES_GCM_128_SALT_SIZE + TLS_CIPHER_AES_GCM_128_IV_SIZE == IV_BYTES &&
		       TLS_CIPHER_AES_GCM_256_SALT_SIZE + TLS_CIPHER_AES_GCM_256_IV_SIZE ==
			       IV_BYTES &&
		       TLS_CIPHER_CHACHA20_POLY1305_SALT_SIZE +
				       TLS_CIPHER_CHACHA20_POLY1305_IV_SIZE ==
			       IV_BYTES,
	       "an IV is salt and iv");

static const char ulp[] = "tls"; /* the "upper layer protocol" of a TCP socket */

/* On a socket that is not connected: one that it knows it refuses for just that. */
bool tls_kernel_is_there(void)
{
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool is_there;

	if (fd < 0)
		return false;
	is_there = setsockopt(fd, IPPROTO_TCP, TCP_ULP, ulp, sizeof(ulp)) < 0 && errno == ENOTCONN;
	close(fd);
	return is_there;
}

/* OSSL_PARAM has no const: EVP_KDF_derive() only reads what these point to. */
static OSSL_PARAM bytes_param(const char *name, const void *bytes, size_t nr_bytes)
{
	return OSSL_PARAM_construct_octet_string(name, (void *)(uintptr_t)bytes, nr_bytes);
}

int tls_kernel_expand(const EVP_MD *digest, const uint8_t *secret, size_t secret_bytes,
		      const char *label, uint8_t *ret_bytes, size_t nr_bytes)
{
	static const char prefix[] = "tls13 ";
	int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
	const OSSL_PARAM params[] = {
		OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST,
						 (char *)(uintptr_t)EVP_MD_get0_name(digest), 0),
		bytes_param(OSSL_KDF_PARAM_KEY, secret, secret_bytes),
		bytes_param(OSSL_KDF_PARAM_PREFIX, prefix, sizeof(prefix) - 1),
		bytes_param(OSSL_KDF_PARAM_LABEL, label, strlen(label)),
		OSSL_PARAM_construct_end(),
	};
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, NULL);
	EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	const bool done = ctx && EVP_KDF_derive(ctx, ret_bytes, nr_bytes, params) == 1;

	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	ERR_clear_error();
	return done ? 0 : -EIO;
}

static const struct layout *layout_of(const SSL_CIPHER *cipher)
{
	for (size_t i = 0; i < ARRAY_LEN(layouts); i++)
		if (SSL_CIPHER_get_id(cipher) == layouts[i].openssl_id)
			return &layouts[i];
	return NULL;
}

/* The record's number is left at 0. */
static int derive(union keys *keys, const struct layout *layout, const EVP_MD *digest,
		  const uint8_t *secret, size_t secret_bytes)
{
	uint8_t *bytes = (uint8_t *)keys;
	uint8_t iv[IV_BYTES];
	int r = tls_kernel_expand(digest, secret, secret_bytes, "key", bytes + layout->key_at,
				  layout->key_bytes);

	if (r == 0)
		r = tls_kernel_expand(digest, secret, secret_bytes, "iv", iv, sizeof(iv));
	if (r < 0)
		return r;
	memcpy(bytes + layout->salt_at, iv, layout->salt_bytes);
	memcpy(bytes + layout->iv_at, iv + layout->salt_bytes, IV_BYTES - layout->salt_bytes);
	explicit_bzero(iv, sizeof(iv));
	keys->head = (struct tls_crypto_info){ TLS_1_3_VERSION, layout->kernel_id };
	return 0;
}

int tls_kernel_begin(int fd, const SSL_CIPHER *cipher, const uint8_t *secret, size_t secret_bytes)
{
	const struct layout *layout = layout_of(cipher);
	union keys keys = { 0 };
	int r;

	if (!layout)
		return -EOPNOTSUPP;
	r = derive(&keys, layout, SSL_CIPHER_get_handshake_digest(cipher), secret, secret_bytes);
	if (r == 0 && (setsockopt(fd, IPPROTO_TCP, TCP_ULP, ulp, sizeof(ulp)) < 0 ||
		       setsockopt(fd, SOL_TLS, TLS_TX, &keys, layout->struct_bytes) < 0))
		r = -errno;
	explicit_bzero(&keys, sizeof(keys));
	return r;
}

void tls_kernel_wrap_alert(struct tls_kernel_alert *alert)
{
	struct cmsghdr *head;

	alert->part = (struct iovec){ alert->bytes, sizeof(alert->bytes) };
	alert->message = (struct msghdr){
		.msg_iov = &alert->part,
		.msg_iovlen = 1,
		.msg_control = alert->control,
		.msg_controllen = sizeof(alert->control),
	};
	head = CMSG_FIRSTHDR(&alert->message);
	head->cmsg_len = CMSG_LEN(1);
	head->cmsg_level = SOL_TLS;
	head->cmsg_type = TLS_SET_RECORD_TYPE;
	*CMSG_DATA(head) = SSL3_RT_ALERT;
}
