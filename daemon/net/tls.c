/* SPDX-License-Identifier: MIT */
/*
 * TLS of a connection: see tls.h.
 *
 * OpenSSL reads and writes through a BIO of ours, whose two ends are buffers that are
 * made with the connection: moving data allocates nothing here.
 */
#include "net/tls.h"

#include <assert.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls_context.h"
#include "net/tls_kernel.h"

enum {
	/* RFC 8446, section 5.2: 2^14 of plaintext, at most 256 more, a header of 5. */
	RECORD_BYTES = 16 << 10,
	RECORD_WIRE_BYTES = RECORD_BYTES + 256 + 5,
	PROBLEM_BYTES = 128,
};
_Static_assert((int)TLS_BUFFER_BYTES >= 2 * (int)RECORD_WIRE_BYTES, "a record fits behind another");

struct buffer {
	uint8_t *bytes; /* TLS_BUFFER_BYTES */
	uint32_t at;	/* what counts: [at, end) */
	uint32_t end;
};

struct tls {
	struct tls_context *context;
	SSL *ssl;
	struct buffer in, out;
	bool ready;
	bool failed; /* no more calls of OpenSSL: its state is not defined */
	char problem[PROBLEM_BYTES];

	/* Only where the kernel may send: the secret of that direction, until it has been used. */
	uint8_t secret[EVP_MAX_MD_SIZE];
	size_t secret_bytes;
	bool kernel_sends;
	bool unsent; /* OpenSSL had something to say since then, which must not get out */
	struct tls_kernel_alert alert;

	uint8_t record[RECORD_BYTES]; /* small parts are put together here */
	uint8_t in_bytes[TLS_BUFFER_BYTES];
	uint8_t out_bytes[TLS_BUFFER_BYTES];
};

/* ---- the BIO ---- */

static int take_in(BIO *bio, char *bytes, int nr_bytes)
{
	struct tls *tls = BIO_get_data(bio);
	struct buffer *in = &tls->in;
	uint32_t nr = in->end - in->at;

	BIO_clear_retry_flags(bio);
	if (nr == 0) {
		BIO_set_retry_read(bio);
		return -1;
	}
	if (nr > (uint32_t)nr_bytes)
		nr = (uint32_t)nr_bytes;
	memcpy(bytes, in->bytes + in->at, nr);
	in->at += nr;
	return (int)nr;
}

static int put_out(BIO *bio, const char *bytes, int nr_bytes)
{
	struct tls *tls = BIO_get_data(bio);
	struct buffer *out = &tls->out;
	uint32_t nr = TLS_BUFFER_BYTES - out->end;

	BIO_clear_retry_flags(bio);
	/* A record with a number and a key that the kernel uses, too: together they tell secrets. */
	if (tls->kernel_sends) {
		tls->unsent = true;
		return nr_bytes;
	}
	if (nr == 0) {
		BIO_set_retry_write(bio);
		return -1;
	}
	if (nr > (uint32_t)nr_bytes)
		nr = (uint32_t)nr_bytes;
	memcpy(out->bytes + out->end, bytes, nr);
	out->end += nr;
	return (int)nr;
}

/* Nothing is kept back, so flushing is done. */
static long control(BIO *bio, int command, long number, void *pointer)
{
	(void)bio;
	(void)number;
	(void)pointer;
	return command == BIO_CTRL_FLUSH;
}

BIO_METHOD *tls_bio_method_new(void)
{
	BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sealblk");

	if (method && BIO_meth_set_read(method, take_in) && BIO_meth_set_write(method, put_out) &&
	    BIO_meth_set_ctrl(method, control))
		return method;
	BIO_meth_free(method);
	return NULL;
}

/* ---- making and unmaking ---- */

struct tls *tls_new(struct tls_context *context)
{
	struct tls *tls = calloc(1, sizeof(*tls));
	BIO *bio = NULL;

	if (!tls)
		return NULL;
	tls->in.bytes = tls->in_bytes;
	tls->out.bytes = tls->out_bytes;
	tls->context = tls_context_get(context);
	tls->ssl = SSL_new(context->ssl_ctx);
	if (tls->ssl)
		bio = BIO_new(context->bio_method);
	if (!bio)
		return tls_free(tls);
	BIO_set_data(bio, tls);
	BIO_set_init(bio, 1);
	SSL_set_bio(tls->ssl, bio, bio);
	SSL_set_accept_state(tls->ssl);
	return tls;
}

struct tls *tls_free(struct tls *tls)
{
	if (!tls)
		return NULL;
	SSL_free(tls->ssl);
	tls->context = tls_context_put(tls->context);
	/* What clients wrote and read. */
	explicit_bzero(tls->record, sizeof(tls->record));
	explicit_bzero(tls->secret, sizeof(tls->secret));
	free(tls);
	return NULL;
}

/* ---- the two ends ---- */

static void move_up(struct buffer *buffer)
{
	if (buffer->at == 0)
		return;
	memmove(buffer->bytes, buffer->bytes + buffer->at, buffer->end - buffer->at);
	buffer->end -= buffer->at;
	buffer->at = 0;
}

uint8_t *tls_in(struct tls *tls, uint32_t *ret_bytes)
{
	move_up(&tls->in);
	*ret_bytes = TLS_BUFFER_BYTES - tls->in.end;
	return tls->in.bytes + tls->in.end;
}

void tls_received(struct tls *tls, uint32_t nr_bytes)
{
	tls->in.end += nr_bytes;
	assert(tls->in.end <= TLS_BUFFER_BYTES);
}

uint8_t *tls_out(struct tls *tls, uint32_t *ret_bytes)
{
	*ret_bytes = tls->out.end - tls->out.at;
	return tls->out.bytes + tls->out.at;
}

void tls_sent(struct tls *tls, uint32_t nr_bytes)
{
	tls->out.at += nr_bytes;
	assert(tls->out.at <= tls->out.end);
	move_up(&tls->out);
}

/* ---- what goes on between them ---- */

static void fail(struct tls *tls)
{
	const unsigned long error = ERR_peek_last_error();
	const char *reason = ERR_reason_error_string(error);
	const long verified = SSL_get_verify_result(tls->ssl);
	/* With a pre-shared key nothing is verified, which is no X509_V_OK either. */
	const bool is_refused = !tls->ready && verified != X509_V_OK;

	tls->failed = true;
	snprintf(tls->problem, sizeof(tls->problem), "%s%s%s",
		 reason ? reason : "it broke the protocol", is_refused ? ": " : "",
		 is_refused ? X509_verify_cert_error_string(verified) : "");
	ERR_clear_error();
}

enum tls_progress tls_shake(struct tls *tls)
{
	int r;

	if (tls->failed)
		return TLS_FAILED;
	if (tls->ready)
		return TLS_READY;
	ERR_clear_error();
	r = SSL_do_handshake(tls->ssl);
	if (r == 1) {
		tls->ready = true;
		return TLS_READY;
	}
	r = SSL_get_error(tls->ssl, r);
	if (r == SSL_ERROR_WANT_READ || r == SSL_ERROR_WANT_WRITE)
		return TLS_GOES_ON;
	fail(tls);
	return TLS_FAILED;
}

/*
 * The client demands new keys, or OpenSSL has answered something by itself. Linux 6.1
 * takes no other keys for a socket that it has been given some for.
 */
static bool must_not_go_on(struct tls *tls)
{
	if (!tls->kernel_sends || tls->alert.bytes[0] == SSL3_AL_FATAL)
		return false;
	if (!tls->unsent && SSL_get_key_update_type(tls->ssl) == SSL_KEY_UPDATE_NONE)
		return false;
	tls->failed = true;
	snprintf(tls->problem, sizeof(tls->problem),
		 "the client wants new keys, which the kernel's TLS does not take");
	return true;
}

int tls_read(struct tls *tls, uint8_t *bytes, uint32_t nr_bytes)
{
	size_t nr = 0;
	int r;

	if (tls->failed)
		return -EPROTO;
	ERR_clear_error();
	r = SSL_read_ex(tls->ssl, bytes, nr_bytes, &nr);
	if (must_not_go_on(tls))
		return -EPROTO;
	if (r == 1)
		return (int)nr;
	r = SSL_get_error(tls->ssl, 0);
	if (r == SSL_ERROR_WANT_READ || r == SSL_ERROR_WANT_WRITE)
		return 0;
	if (r == SSL_ERROR_ZERO_RETURN)
		return -EPIPE;
	fail(tls);
	return -EPROTO;
}

/* A record's worth of @parts in one piece: where they lie, if the first one fills it. */
static const uint8_t *put_together(struct tls *tls, const struct iovec *parts, size_t nr_parts,
				   size_t *ret_bytes)
{
	size_t nr = 0;

	if (nr_parts == 1 || parts[0].iov_len >= RECORD_BYTES) {
		*ret_bytes = parts[0].iov_len < RECORD_BYTES ? parts[0].iov_len : RECORD_BYTES;
		return parts[0].iov_base;
	}
	for (size_t i = 0; i < nr_parts && nr < RECORD_BYTES; i++) {
		size_t now = parts[i].iov_len;

		if (now > RECORD_BYTES - nr)
			now = RECORD_BYTES - nr;
		memcpy(tls->record + nr, parts[i].iov_base, now);
		nr += now;
	}
	*ret_bytes = nr;
	return tls->record;
}

int tls_write(struct tls *tls, const struct iovec *parts, size_t nr_parts)
{
	const uint8_t *bytes;
	size_t nr_bytes, nr = 0;

	if (tls->failed)
		return -EPROTO;
	assert(!tls->kernel_sends);
	/* OpenSSL never has to come back to half a record. */
	if (TLS_BUFFER_BYTES - tls->out.end < RECORD_WIRE_BYTES)
		return 0;
	bytes = put_together(tls, parts, nr_parts, &nr_bytes);
	ERR_clear_error();
	if (SSL_write_ex(tls->ssl, bytes, nr_bytes, &nr) == 1 && nr == nr_bytes)
		return (int)nr;
	fail(tls);
	return -EPROTO;
}

void tls_bye(struct tls *tls)
{
	if (!tls->ready || tls->failed || tls->kernel_sends)
		return;
	ERR_clear_error();
	(void)SSL_shutdown(tls->ssl);
	ERR_clear_error();
}

/* ---- the kernel's part ---- */

static struct tls *tls_of(const SSL *ssl)
{
	return BIO_get_data(SSL_get_rbio(ssl));
}

void tls_take_secret(const SSL *ssl, const char *line)
{
	static const char name[] = "SERVER_TRAFFIC_SECRET_0 ";
	struct tls *tls = tls_of(ssl);
	const char *hex = strrchr(line, ' ');

	if (hex && strncmp(line, name, sizeof(name) - 1) == 0 &&
	    OPENSSL_hexstr2buf_ex(tls->secret, sizeof(tls->secret), &tls->secret_bytes, hex + 1,
				  '\0') != 1)
		tls->secret_bytes = 0;
}

void tls_take_alert(const SSL *ssl, int where, int alert)
{
	struct tls *tls = tls_of(ssl);

	if (where != SSL_CB_WRITE_ALERT)
		return;
	tls->alert.bytes[0] = (uint8_t)(alert >> 8);
	tls->alert.bytes[1] = (uint8_t)alert;
}

/*
 * There is a secret in TLS 1.3 only; and the kernel makes records as long as can be,
 * which is not what somebody has asked for who wants short ones (RFC 6066, section 4).
 */
static bool may_hand_over(const struct tls *tls)
{
	const SSL_SESSION *session = SSL_get0_session(tls->ssl);

	return tls->ready && !tls->failed && tls->secret_bytes > 0 && tls->out.at == tls->out.end &&
	       SSL_SESSION_get_max_fragment_length(session) == TLSEXT_max_fragment_length_DISABLED;
}

bool tls_hand_over(struct tls *tls, int fd)
{
	if (may_hand_over(tls))
		tls->kernel_sends = tls_kernel_begin(fd, SSL_get_current_cipher(tls->ssl),
						     tls->secret, tls->secret_bytes) == 0;
	explicit_bzero(tls->secret, sizeof(tls->secret));
	tls->secret_bytes = 0;
	return tls->kernel_sends;
}

struct msghdr *tls_last_message(struct tls *tls)
{
	if (tls->alert.bytes[0] != SSL3_AL_FATAL) {
		tls->alert.bytes[0] = SSL3_AL_WARNING;
		tls->alert.bytes[1] = SSL_AD_CLOSE_NOTIFY;
	}
	tls_kernel_wrap_alert(&tls->alert);
	return &tls->alert.message;
}

void tls_describe(const struct tls *tls, char *text, size_t text_bytes)
{
	X509 *peer = SSL_get0_peer_certificate(tls->ssl);
	const char *psk = SSL_get_app_data(tls->ssl);
	char name[256] = "";

	if (peer)
		X509_NAME_oneline(X509_get_subject_name(peer), name, sizeof(name));
	snprintf(text, text_bytes, "%s, %s, %sclient %s", SSL_get_version(tls->ssl),
		 SSL_get_cipher_name(tls->ssl), tls->kernel_sends ? "sent by the kernel, " : "",
		 peer  ? name
		 : psk ? psk
		       : "unknown");
}

const char *tls_problem(const struct tls *tls)
{
	return tls->problem;
}
