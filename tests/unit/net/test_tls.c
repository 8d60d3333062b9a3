/* SPDX-License-Identifier: MIT */
/* TLS between two ends in memory. */
#include <criterion/criterion.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/compiler.h"
#include "keys/helper.h"
#include "net/tls.h"

enum { PSK_BYTES = 16 };

static struct tls_context *context;
static struct tls *server;
static SSL_CTX *client_ctx;
static SSL *client;
static BIO *to_client, *from_client;

static unsigned int give_psk(SSL *ssl, const char *hint, char *identity,
			     unsigned int identity_bytes, unsigned char *key,
			     unsigned int key_bytes)
{
	(void)ssl;
	(void)hint;
	cr_assert_geq(key_bytes, PSK_BYTES);
	snprintf(identity, identity_bytes, "alice");
	memset(key, 0x11, PSK_BYTES);
	return PSK_BYTES;
}

static void write_psk(char *path)
{
	static const char line[] = "alice:11111111111111111111111111111111\n";
	const int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, line, sizeof(line) - 1), (ssize_t)sizeof(line) - 1);
	close(fd);
}

static void set_up(void)
{
	char path[] = "/tmp/test_tls.XXXXXX";
	struct problem problem;
	struct tls_options options = { .psk = path };
	struct helper helper;
	int r;

	write_psk(path);
	cr_assert_eq(helper_start(&helper), 0);
	r = tls_context_new(&options, &helper, true, &context, &problem);
	helper_stop(&helper);
	unlink(path);
	cr_assert_eq(r, 0, "%s", problem.text);
	server = tls_new(context);
	cr_assert_not_null(server);
	client_ctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_psk_client_callback(client_ctx, give_psk);
	client = SSL_new(client_ctx);
	to_client = BIO_new(BIO_s_mem());
	from_client = BIO_new(BIO_s_mem());
	SSL_set_bio(client, to_client, from_client);
	SSL_set_connect_state(client);
}

static void tear_down(void)
{
	SSL_free(client);
	SSL_CTX_free(client_ctx);
	server = tls_free(server);
	context = tls_context_put(context);
}

/* What either has to say to the other, @step_bytes at a time at most. */
static bool exchange(size_t step_bytes)
{
	uint32_t nr_bytes;
	uint8_t *bytes = tls_out(server, &nr_bytes);
	bool moved = nr_bytes > 0;
	int r;

	if (nr_bytes > 0) {
		cr_assert_eq(BIO_write(to_client, bytes, (int)nr_bytes), (int)nr_bytes);
		tls_sent(server, nr_bytes);
	}
	bytes = tls_in(server, &nr_bytes);
	r = BIO_read(from_client, bytes, (int)(nr_bytes < step_bytes ? nr_bytes : step_bytes));
	if (r > 0)
		tls_received(server, (uint32_t)r);
	return moved || r > 0;
}

static enum tls_progress shake(size_t step_bytes)
{
	enum tls_progress progress = TLS_GOES_ON;

	for (int turn = 0; turn < 10000 && progress == TLS_GOES_ON; turn++) {
		(void)SSL_do_handshake(client);
		(void)exchange(step_bytes);
		progress = tls_shake(server);
	}
	while (exchange(step_bytes))
		(void)SSL_do_handshake(client);
	return progress;
}

TestSuite(tls, .init = set_up, .fini = tear_down);

Test(tls, shakes_hands_whatever_the_pieces)
{
	char text[128];

	cr_assert_eq(shake(1), TLS_READY);
	cr_assert(SSL_is_init_finished(client));
	tls_describe(server, text, sizeof(text));
	cr_assert_str_eq(text, "TLSv1.3, TLS_AES_128_GCM_SHA256, client alice");
}

Test(tls, writes_parts_in_order_until_there_is_no_room_and_goes_on_when_there_is)
{
	enum { NR_BYTES = 300 << 10, HEAD_BYTES = 20 };
	static uint8_t wanted[NR_BYTES], got[NR_BYTES];
	size_t written = 0, read = 0, nr = 0;
	bool was_full = false;

	cr_assert_eq(shake(SIZE_MAX), TLS_READY);
	for (size_t i = 0; i < NR_BYTES; i++)
		wanted[i] = (uint8_t)(i * 7 + i / 251);
	while (read < NR_BYTES) {
		const size_t head = written < HEAD_BYTES ? HEAD_BYTES - written : 0;
		const struct iovec parts[] = {
			{ wanted + written, head },
			{ wanted + written + head, NR_BYTES - written - head },
		};
		int r = 0;

		if (written < NR_BYTES)
			r = tls_write(server, head ? parts : parts + 1, head ? 2 : 1);
		cr_assert_geq(r, 0);
		written += (size_t)r;
		if (r > 0)
			continue;
		was_full |= written < NR_BYTES;
		(void)exchange(SIZE_MAX);
		while (SSL_read_ex(client, got + read, NR_BYTES - read, &nr) == 1)
			read += nr;
	}
	cr_assert(was_full);
	cr_assert_arr_eq(got, wanted, NR_BYTES);
}

Test(tls, reads_no_more_than_it_is_asked_for_and_tells_the_end_from_a_pause)
{
	uint8_t bytes[8];
	size_t nr;

	cr_assert_eq(shake(SIZE_MAX), TLS_READY);
	cr_assert_eq(tls_read(server, bytes, sizeof(bytes)), 0);
	cr_assert_eq(SSL_write_ex(client, "hello, world", 12, &nr), 1);
	(void)exchange(SIZE_MAX);
	cr_assert_eq(tls_read(server, bytes, 5), 5);
	cr_assert_arr_eq(bytes, "hello", 5);
	cr_assert_eq(tls_read(server, bytes, 8), 7);
	cr_assert_arr_eq(bytes, ", world", 7);
	cr_assert_eq(tls_read(server, bytes, sizeof(bytes)), 0);
	(void)SSL_shutdown(client);
	(void)exchange(SIZE_MAX);
	cr_assert_eq(tls_read(server, bytes, sizeof(bytes)), -EPIPE);
}

Test(tls, fails_for_good_on_a_changed_record_and_says_why)
{
	uint8_t bytes[16], *in;
	uint32_t nr_bytes;
	size_t nr;

	cr_assert_eq(shake(SIZE_MAX), TLS_READY);
	cr_assert_eq(SSL_write_ex(client, "hello, world", 12, &nr), 1);
	in = tls_in(server, &nr_bytes);
	nr = (size_t)BIO_read(from_client, in, (int)nr_bytes);
	in[nr - 1] ^= 1;
	tls_received(server, (uint32_t)nr);
	for (int i = 0; i < 2; i++)
		cr_assert_eq(tls_read(server, bytes, sizeof(bytes)), -EPROTO);
	cr_assert_eq(tls_write(server, &(struct iovec){ bytes, 1 }, 1), -EPROTO);
	cr_assert_gt(strlen(tls_problem(server)), 0);
}

Test(tls, noise_in_place_of_a_handshake_fails)
{
	uint32_t nr_bytes;
	uint8_t *in = tls_in(server, &nr_bytes);

	memset(in, 'x', nr_bytes);
	tls_received(server, nr_bytes);
	cr_assert_eq(tls_shake(server), TLS_FAILED);
	cr_assert_eq(tls_shake(server), TLS_FAILED);
}

Test(tls, a_connection_keeps_what_it_was_begun_with)
{
	context = tls_context_put(context);
	cr_assert_eq(shake(SIZE_MAX), TLS_READY);
}

Test(tls, goes_on_by_itself_where_the_kernel_takes_no_keys)
{
	char reply[] = "reply";
	const struct iovec part = { .iov_base = reply, .iov_len = 5 };
	char got[5] = "";
	size_t nr = 0;
	int ends[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	cr_assert_not(tls_hand_over(server, ends[0]), "before the handshake");
	cr_assert_eq(shake(SIZE_MAX), TLS_READY);
	cr_assert_not(tls_hand_over(server, ends[0]), "a unix socket");
	cr_assert_eq(tls_write(server, &part, 1), 5);
	(void)exchange(SIZE_MAX);
	cr_assert_eq(SSL_read_ex(client, got, sizeof(got), &nr), 1);
	cr_assert_arr_eq(got, "reply", 5);
	close(ends[0]);
	close(ends[1]);
}
