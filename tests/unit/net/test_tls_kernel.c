/* SPDX-License-Identifier: MIT */
/* Keys for the kernel's TLS. That it takes them is shown by tests/guest/test-ktls.sh. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/tls_kernel.h"

/* RFC 8448, section 3: "derive write traffic keys for application data" of the server. */
static const uint8_t secret[] = {
	0xa1, 0x1a, 0xf9, 0xf0, 0x55, 0x31, 0xf8, 0x56, 0xad, 0x47, 0x11,
	0x6b, 0x45, 0xa9, 0x50, 0x32, 0x82, 0x04, 0xb4, 0xf4, 0x4b, 0xfb,
	0x6b, 0x3a, 0x4b, 0x4f, 0x1f, 0x3f, 0xcb, 0x63, 0x16, 0x43,
};
static const uint8_t wanted_key[] = {
	0x9f, 0x02, 0x28, 0x3b, 0x6c, 0x9c, 0x07, 0xef,
	0xc2, 0x6b, 0xb9, 0xf2, 0xac, 0x92, 0xe3, 0x56,
};
static const uint8_t wanted_iv[] = {
	0xcf, 0x78, 0x2b, 0x88, 0xdd, 0x83, 0x54, 0x9a, 0xad, 0xf1, 0xe9, 0x84,
};

Test(tls_kernel, expands_a_traffic_secret_to_the_key_and_the_iv_of_the_rfc)
{
	uint8_t key[sizeof(wanted_key)], iv[sizeof(wanted_iv)];

	cr_assert_eq(tls_kernel_expand(EVP_sha256(), secret, sizeof(secret), "key", key,
				       sizeof(key)),
		     0);
	cr_assert_arr_eq(key, wanted_key, sizeof(key));
	cr_assert_eq(tls_kernel_expand(EVP_sha256(), secret, sizeof(secret), "iv", iv, sizeof(iv)),
		     0);
	cr_assert_arr_eq(iv, wanted_iv, sizeof(iv));
}

static const SSL_CIPHER *find_cipher(SSL *ssl, uint16_t id)
{
	const uint8_t bytes[] = { (uint8_t)(id >> 8), (uint8_t)id };

	return SSL_CIPHER_find(ssl, bytes);
}

Test(tls_kernel, refuses_a_cipher_that_it_has_no_keys_for)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	SSL *ssl = SSL_new(ctx);

	cr_assert_eq(tls_kernel_begin(-1, find_cipher(ssl, 0xc02b), secret, sizeof(secret)),
		     -EOPNOTSUPP, "a cipher of TLS 1.2");
	cr_assert_eq(tls_kernel_begin(-1, find_cipher(ssl, 0x1301), secret, sizeof(secret)), -EBADF,
		     "one that it has");
	SSL_free(ssl);
	SSL_CTX_free(ctx);
}

Test(tls_kernel, leaves_a_unix_socket_as_it_is)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	SSL *ssl = SSL_new(ctx);
	char got[5] = "";
	int ends[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	cr_assert_lt(tls_kernel_begin(ends[0], find_cipher(ssl, 0x1301), secret, sizeof(secret)),
		     0);
	cr_assert_eq(write(ends[0], "plain", 5), 5);
	cr_assert_eq(read(ends[1], got, sizeof(got)), 5);
	cr_assert_arr_eq(got, "plain", 5);
	close(ends[0]);
	close(ends[1]);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
}

Test(tls_kernel, wraps_an_alert_into_a_record_of_its_type)
{
	struct tls_kernel_alert alert = { .bytes = { 1, 0 } };
	const struct cmsghdr *head;

	tls_kernel_wrap_alert(&alert);
	head = CMSG_FIRSTHDR(&alert.message);
	cr_assert_not_null(head);
	cr_assert_eq(*CMSG_DATA(head), 21, "RFC 8446, B.1: alert");
	cr_assert_eq(alert.message.msg_iov->iov_len, 2);
	cr_assert_arr_eq(alert.message.msg_iov->iov_base, "\1", 2);
}
