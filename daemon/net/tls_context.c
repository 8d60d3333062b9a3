/* SPDX-License-Identifier: MIT */
/*
 * What a server's TLS connections share: the protocol's settings, whom it lets in, and
 * what files tell. See tls.h.
 */
#include "net/tls_context.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "keys/key_mem.h"

/*
 * Of TLS 1.2: authenticated encryption and a new secret for each connection, no more.
 * Who offers a pre-shared key has one, but need not have a certificate.
 */
#define CIPHERS_TLS12 \
	"kECDHEPSK+CHACHA20:kDHEPSK+AESGCM:ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:!SHA1"

/* RFC 8446, 4.2.11: a pre-shared key goes with the one hash, and that is SHA-256 unless agreed. */
#define CIPHERS_PSK "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384"

static const struct tls_context *context_of(const SSL *ssl)
{
	return SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
}

/* ---- whom we let in ---- */

/* TLS 1.3 asks here, too, and takes the key as one for SHA-256. */
static unsigned int find_psk(SSL *ssl, const char *identity, unsigned char *key,
			     unsigned int key_bytes_max)
{
	struct tls_psks *psks = context_of(ssl)->psks;

	for (unsigned int i = 0; i < psks->nr; i++) {
		struct tls_psk *psk = &psks->keys[i];

		if (strcmp(psk->identity, identity) != 0 || psk->key_bytes > key_bytes_max)
			continue;
		memcpy(key, psk->key, psk->key_bytes);
		SSL_set_app_data(ssl, psk->identity); /* TLS 1.3 keeps none */
		return psk->key_bytes;
	}
	return 0;
}

static bool is_allowed(const struct tls_options *options, X509 *certificate)
{
	const unsigned int flags = X509_CHECK_FLAG_ALWAYS_CHECK_SUBJECT |
				   X509_CHECK_FLAG_NO_WILDCARDS;

	for (unsigned int i = 0; i < options->nr_allowed; i++)
		if (X509_check_host(certificate, options->allowed[i], 0, flags, NULL) == 1 ||
		    X509_check_email(certificate, options->allowed[i], 0, 0) == 1)
			return true;
	return options->nr_allowed == 0;
}

/* OpenSSL has come to @verified about a certificate of the chain; the client's own is at depth 0. */
static int verify(int verified, X509_STORE_CTX *store_ctx)
{
	const SSL *ssl =
		X509_STORE_CTX_get_ex_data(store_ctx, SSL_get_ex_data_X509_STORE_CTX_idx());

	if (!verified || X509_STORE_CTX_get_error_depth(store_ctx) > 0)
		return verified;
	if (is_allowed(&context_of(ssl)->options, X509_STORE_CTX_get_current_cert(store_ctx)))
		return 1;
	X509_STORE_CTX_set_error(store_ctx, X509_V_ERR_APPLICATION_VERIFICATION);
	return 0;
}

/* ---- settings ---- */

/* All that does not come from files. Returns false when there is no memory. */
static bool set_up(struct tls_context *context, bool with_kernel)
{
	static const unsigned char context_id[] = { 's', 'e', 'a', 'l' };
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	context->ssl_ctx = ctx;
	context->bio_method = tls_bio_method_new();
	if (!ctx || !context->bio_method ||
	    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
	    SSL_CTX_set_cipher_list(ctx, CIPHERS_TLS12) != 1 ||
	    SSL_CTX_set_num_tickets(ctx, 0) != 1)
		return false;
	SSL_CTX_set_app_data(ctx, context);
	/* A connection lasts; nobody gains by resuming one, and a ticket's key would be one more. */
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
					 SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	/* To OpenSSL a pre-shared key resumes a session, which must be one of this context. */
	if (SSL_CTX_set_session_id_context(ctx, context_id, sizeof(context_id)) != 1)
		return false;
	SSL_CTX_set_dh_auto(ctx, 1);
	if (context->options.client_ca)
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, verify);
	if (with_kernel) {
		SSL_CTX_set_keylog_callback(ctx, tls_take_secret);
		SSL_CTX_set_info_callback(ctx, tls_take_alert);
	}
	if (!context->options.psk)
		return true;
	SSL_CTX_set_psk_server_callback(ctx, find_psk);
	return SSL_CTX_set_ciphersuites(ctx, CIPHERS_PSK) == 1;
}

int tls_context_new(const struct tls_options *options, struct helper *helper, bool with_kernel,
		    struct tls_context **ret_context, struct problem *ret_problem)
{
	struct tls_context *context = calloc(1, sizeof(*context));
	int r = -ENOMEM;

	problem_set(ret_problem, "TLS", "", "out of memory");
	if (!context)
		return -ENOMEM;
	context->nr_users = 1;
	context->options = *options;
	if (set_up(context, with_kernel))
		r = tls_files_load(context, helper, ret_problem);
	if (r < 0)
		context = tls_context_put(context);
	*ret_context = context;
	return r;
}

struct tls_context *tls_context_get(struct tls_context *context)
{
	if (context)
		atomic_fetch_add(&context->nr_users, 1);
	return context;
}

struct tls_context *tls_context_put(struct tls_context *context)
{
	if (!context || atomic_fetch_sub(&context->nr_users, 1) > 1)
		return NULL;
	SSL_CTX_free(context->ssl_ctx);
	BIO_meth_free(context->bio_method);
	context->psks = key_mem_free(context->psks);
	free(context);
	return NULL;
}
