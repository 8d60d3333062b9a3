/* SPDX-License-Identifier: MIT */
/*
 * An NBD client behind TLS that does what ordinary ones seldom do.
 *
 *   tls_client HOST PORT FILE CIPHER DEED
 *
 * FILE: "identity:hex", a pre-shared key. CIPHER: of TLS 1.3, by its name, or "TLSv1.2", or
 * "short": any, in records of 512 bytes (RFC 6066, section 4).
 * The export "" has 1 MiB at least, which is overwritten. Prints what came of DEED:
 *
 *   transfer  a WRITE is read back: "same"
 *   update    new keys for what the client sends, then a READ: "same"
 *   demand    likewise, and for what the server sends: "same", or "closed" with a good-bye
 *   late      many READs and a DISC, but replies are taken later: "same", then "closed"
 *   noise     a record that is none of this connection: "alert N", what it is told
 *
 * Exit 1 and a line of why when something else has happened.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/compiler.h"
#include "sealblk/byteorder.h"
#include "sealblk/nbd_wire.h"

enum {
	DATA_BYTES = 1 << 20,
	LATE_READS = 24,
	REQUEST_BYTES = 28,
	REPLY_BYTES = 16,
	TIMEOUT_S = 60,
};

static uint8_t psk[64];
static size_t psk_bytes;
static char identity[128];
static int socket_fd;
static SSL *ssl;
static uint8_t data[DATA_BYTES], got[DATA_BYTES];

static _Noreturn void fail(const char *fmt, ...) PRINTF_LIKE(1, 2);

static _Noreturn void fail(const char *fmt, ...)
{
	va_list args;

	fputs("tls_client: ", stdout);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	puts("");
	exit(1);
}

/* ---- plaintext ---- */

static void take(void *bytes, size_t nr_bytes)
{
	if (recv(socket_fd, bytes, nr_bytes, MSG_WAITALL) != (ssize_t)nr_bytes)
		fail("the server said too little before TLS");
}

static void start_tls(void)
{
	static const uint8_t flags_and_option[] = {
		0, 0, 0, 3, 'I', 'H', 'A', 'V', 'E', 'O', 'P', 'T', 0, 0, 0, NBD_OPT_STARTTLS,
		0, 0, 0, 0,
	};
	uint8_t greeting[18], reply[20];

	take(greeting, sizeof(greeting));
	if (write(socket_fd, flags_and_option, sizeof(flags_and_option)) !=
	    (ssize_t)sizeof(flags_and_option))
		fail("cannot send");
	take(reply, sizeof(reply));
	if (reply[15] != NBD_REP_ACK)
		fail("STARTTLS was refused");
}

static void connect_to(const char *host, const char *port)
{
	const struct timeval timeout = { .tv_sec = TIMEOUT_S };
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons((uint16_t)atoi(port)) };

	if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
		fail("%s: no address", host);
	socket_fd = socket(AF_INET, SOCK_STREAM, 0);
	if (socket_fd < 0 ||
	    setsockopt(socket_fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
	    connect(socket_fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		fail("cannot connect to %s port %s", host, port);
}

/* ---- TLS ---- */

static void read_psk(const char *path)
{
	FILE *file = fopen(path, "re");
	char hex[2 * sizeof(psk) + 1];

	if (!file || fscanf(file, "%127[^:]:%128s", identity, hex) != 2 ||
	    OPENSSL_hexstr2buf_ex(psk, sizeof(psk), &psk_bytes, hex, '\0') != 1)
		fail("%s: no IDENTITY:HEX", path);
	fclose(file);
}

static unsigned int give_psk(SSL *whose, const char *hint, char *name, unsigned int name_bytes,
			     unsigned char *key, unsigned int key_bytes)
{
	(void)whose;
	(void)hint;
	if (key_bytes < psk_bytes)
		return 0;
	snprintf(name, name_bytes, "%s", identity);
	memcpy(key, psk, psk_bytes);
	return (unsigned int)psk_bytes;
}

static void shake_hands(const char *cipher)
{
	const bool is_old = strcmp(cipher, "TLSv1.2") == 0;
	const bool is_short = strcmp(cipher, "short") == 0;
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	SSL_CTX_set_psk_client_callback(ctx, give_psk);
	if (is_old) {
		SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
		SSL_CTX_set_cipher_list(ctx, "kDHEPSK+AESGCM");
	} else if (is_short) {
		SSL_CTX_set_tlsext_max_fragment_length(ctx, TLSEXT_max_fragment_length_512);
	} else if (SSL_CTX_set_ciphersuites(ctx, cipher) != 1) {
		fail("%s: no cipher", cipher);
	}
	ssl = SSL_new(ctx);
	SSL_set_fd(ssl, socket_fd);
	if (SSL_connect(ssl) != 1)
		fail("no handshake: %s", ERR_reason_error_string(ERR_peek_last_error()));
	if (!is_old && !is_short && strcmp(SSL_get_cipher_name(ssl), cipher) != 0)
		fail("it is %s", SSL_get_cipher_name(ssl));
}

static void send_all(const void *bytes, size_t nr_bytes)
{
	size_t nr;

	if (SSL_write_ex(ssl, bytes, nr_bytes, &nr) != 1)
		fail("cannot send: %s", ERR_reason_error_string(ERR_peek_last_error()));
}

/* Returns false at the server's good-bye, in place of the first byte. */
static bool receive(uint8_t *bytes, size_t nr_bytes)
{
	size_t done = 0, nr;

	while (done < nr_bytes && SSL_read_ex(ssl, bytes + done, nr_bytes - done, &nr) == 1)
		done += nr;
	if (done == nr_bytes)
		return true;
	if (done > 0 || SSL_get_error(ssl, 0) != SSL_ERROR_ZERO_RETURN)
		fail("%zu bytes of %zu, then: %s", done, nr_bytes,
		     ERR_reason_error_string(ERR_peek_last_error()));
	return false;
}

/* ---- NBD ---- */

static void enter_export(void)
{
	static const uint8_t export_name[] = {
		'I', 'H', 'A', 'V', 'E', 'O', 'P', 'T', 0, 0, 0, NBD_OPT_EXPORT_NAME, 0, 0, 0, 0,
	};
	uint8_t reply[10];

	send_all(export_name, sizeof(export_name));
	if (!receive(reply, sizeof(reply)))
		fail("there is no export");
}

static void request(uint8_t command, uint32_t nr_bytes)
{
	uint8_t bytes[REQUEST_BYTES] = { 0x25, 0x60, 0x95, 0x13, 0, 0, 0, command };

	for (int i = 0; i < 4; i++)
		bytes[24 + i] = (uint8_t)(nr_bytes >> (24 - 8 * i));
	send_all(bytes, sizeof(bytes));
}

/* Of a request that begins at byte 0. Returns false at the good-bye. */
static bool reply(uint8_t *bytes, size_t nr_bytes)
{
	uint8_t head[REPLY_BYTES];

	if (!receive(head, sizeof(head)))
		return false;
	if (memcmp(head, "\x67\x44\x66\x98\0\0\0", 8) != 0)
		fail("a reply with error %d", head[7]);
	if (nr_bytes > 0 && !receive(bytes, nr_bytes))
		fail("a good-bye in a reply");
	return true;
}

static void write_data(void)
{
	for (size_t i = 0; i < DATA_BYTES; i++)
		data[i] = (uint8_t)(i * 7 + i / 4093);
	request(NBD_CMD_WRITE, DATA_BYTES);
	send_all(data, DATA_BYTES);
	if (!reply(NULL, 0))
		fail("closed at a WRITE");
}

static bool read_same(void)
{
	if (!reply(got, DATA_BYTES))
		return false;
	if (memcmp(got, data, DATA_BYTES) != 0)
		fail("what is read is not what was written");
	return true;
}

/* ---- deeds ---- */

static void transfer(void)
{
	request(NBD_CMD_READ, DATA_BYTES);
	puts(read_same() ? "same" : "closed");
}

static void update(void)
{
	if (SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1)
		fail("cannot change keys");
	transfer();
}

static void demand(void)
{
	if (SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) != 1)
		fail("cannot change keys");
	transfer();
}

static void late(void)
{
	for (int i = 0; i < LATE_READS; i++)
		request(NBD_CMD_READ, DATA_BYTES);
	request(NBD_CMD_DISC, 0);
	sleep(1);
	for (int i = 0; i < LATE_READS; i++)
		if (!read_same())
			fail("only %d replies of %d", i, LATE_READS);
	puts(receive(got, 1) ? "more" : "same, then closed");
}

static void noise(void)
{
	static const uint8_t record[37] = { SSL3_RT_APPLICATION_DATA, 3, 3, 0, 32 };

	if (write(socket_fd, record, sizeof(record)) != (ssize_t)sizeof(record))
		fail("cannot send");
	if (SSL_read(ssl, got, 1) > 0)
		fail("it was answered");
	/* OpenSSL's reason for an alert that came is 1000 and its number. */
	printf("alert %d\n", ERR_GET_REASON(ERR_peek_last_error()) - SSL_AD_REASON_OFFSET);
}

static const struct {
	const char *name;
	void (*act)(void);
} deeds[] = {
	{ "transfer", transfer }, { "update", update }, { "demand", demand },
	{ "late", late },	  { "noise", noise },
};

int main(int argc, char **argv)
{
	size_t i = 0;

	if (argc != 6)
		fail("HOST PORT FILE CIPHER DEED");
	while (i < ARRAY_LEN(deeds) && strcmp(deeds[i].name, argv[5]) != 0)
		i++;
	if (i == ARRAY_LEN(deeds))
		fail("%s: no deed", argv[5]);
	read_psk(argv[3]);
	connect_to(argv[1], argv[2]);
	start_tls();
	shake_hands(argv[4]);
	enter_export();
	write_data();
	deeds[i].act();
	return 0;
}
