/* SPDX-License-Identifier: MIT */
/*
 * What TLS is told by files: the server's identity, whom it lets in. They are read by
 * the helper, which can do so behind the sandbox, too. See tls_context.h.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "keys/key_mem.h"
#include "net/tls_context.h"

struct loading {
	SSL_CTX *ctx;
	const struct tls_options *options;
	struct helper *helper;
	struct problem *problem;
};

/* ---- why not ---- */

static int refuse(const struct loading *loading, const char *what, const char *path,
		  const char *reason)
{
	problem_set(loading->problem, what, path, "cannot be used: %s", reason);
	ERR_clear_error();
	return -EINVAL;
}

/* OpenSSL's first reason; the later ones say what could not be done for it. */
static int refuse_why(const struct loading *loading, const char *what, const char *path)
{
	const char *reason = ERR_reason_error_string(ERR_peek_error());

	return refuse(loading, what, path, reason ? reason : "no reason given");
}

/* ---- reading ---- */

/* A key with a passphrase would have OpenSSL ask at the terminal. */
static int no_passphrase(char *text, int nr_bytes, int writing, void *arg)
{
	(void)text;
	(void)nr_bytes;
	(void)writing;
	(void)arg;
	return 0;
}

/* @bytes: room for @bytes_max and one more. */
static int read_file(const struct loading *loading, const char *what, const char *path, char *bytes,
		     size_t bytes_max, size_t *ret_nr)
{
	const int r = bytes ? helper_read_file(loading->helper, path, bytes, bytes_max, ret_nr)
			    : -ENOMEM;

	if (r < 0)
		problem_set(loading->problem, what, path, "cannot be read: %s",
			    r == -EINVAL ? "it is no file" : strerror(-r));
	return r;
}

/* One that holds no secret. *ret_bio reads from *ret_bytes: BIO_free(), then free() them. */
static int open_public(const struct loading *loading, const char *what, const char *path,
		       char **ret_bytes, BIO **ret_bio)
{
	char *bytes = malloc(TLS_FILE_BYTES_MAX + 1);
	size_t nr = 0;
	int r = read_file(loading, what, path, bytes, TLS_FILE_BYTES_MAX, &nr);

	*ret_bytes = bytes;
	*ret_bio = r == 0 ? BIO_new_mem_buf(bytes, (int)nr) : NULL;
	return r < 0 || *ret_bio ? r : -ENOMEM;
}

/* ---- what we show ---- */

static int use_certificates(const struct loading *loading, BIO *bio)
{
	const char *path = loading->options->certificate;
	X509 *certificate = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
	bool used;

	if (!certificate)
		return refuse(loading, "certificate", path,
			      "it holds none in PEM (\"BEGIN CERTIFICATE\")");
	used = SSL_CTX_use_certificate(loading->ctx, certificate) == 1;
	X509_free(certificate);
	while (used && (certificate = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL))) {
		used = SSL_CTX_add0_chain_cert(loading->ctx, certificate) == 1;
		if (!used)
			X509_free(certificate);
	}
	if (!used || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return refuse_why(loading, "certificate", path);
	ERR_clear_error(); /* the end of the file */
	return 0;
}

static int load_certificates(const struct loading *loading)
{
	char *bytes;
	BIO *bio;
	int r = open_public(loading, "certificate", loading->options->certificate, &bytes, &bio);

	if (r == 0)
		r = use_certificates(loading, bio);
	BIO_free(bio);
	free(bytes);
	return r;
}

static int use_key(const struct loading *loading, const char *bytes, size_t nr_bytes)
{
	const char *path = loading->options->key;
	BIO *bio = BIO_new_mem_buf(bytes, (int)nr_bytes);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
	int r = 0;

	BIO_free(bio);
	if (!key)
		return refuse(loading, "private key", path,
			      "it holds none in PEM, or one with a passphrase (\"openssl pkey\" "
			      "writes it without)");
	ERR_clear_error();
	if (SSL_CTX_use_PrivateKey(loading->ctx, key) != 1 ||
	    SSL_CTX_check_private_key(loading->ctx) != 1)
		r = refuse(loading, "private key", path, "it is not that of the certificate");
	EVP_PKEY_free(key);
	return r;
}

static int load_key(const struct loading *loading)
{
	char *bytes = key_mem_new(TLS_SECRET_FILE_BYTES_MAX + 1);
	size_t nr = 0;
	int r = read_file(loading, "private key", loading->options->key, bytes,
			  TLS_SECRET_FILE_BYTES_MAX, &nr);

	if (r == 0)
		r = use_key(loading, bytes, nr);
	key_mem_free(bytes);
	return r;
}

/* ---- whom we let in ---- */

/* All certificates (@ret_nr[0]) and revocation lists (@ret_nr[1]) of @bio, into the store. */
static bool add_to_store(SSL_CTX *ctx, BIO *bio, int ret_nr[2])
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	STACK_OF(X509_INFO) *all = PEM_X509_INFO_read_bio(bio, NULL, no_passphrase, NULL);
	bool added = all != NULL;

	for (int i = 0; i < sk_X509_INFO_num(all) && added; i++) {
		const X509_INFO *info = sk_X509_INFO_value(all, i);

		if (info->x509) {
			added = X509_STORE_add_cert(store, info->x509) == 1 &&
				SSL_CTX_add_client_CA(ctx, info->x509) == 1;
			ret_nr[0]++;
		} else if (info->crl) {
			added = X509_STORE_add_crl(store, info->crl) == 1;
			ret_nr[1]++;
		}
	}
	sk_X509_INFO_pop_free(all, X509_INFO_free);
	return added;
}

/* One file of those; there must be some of @kind, an index as above. */
static int load_store(const struct loading *loading, const char *what, const char *path, int kind)
{
	static const char *const none[] = {
		"it holds no certificate in PEM (\"BEGIN CERTIFICATE\")",
		"it holds no revocation list in PEM (\"BEGIN X509 CRL\")",
	};
	int nr[2] = { 0, 0 };
	char *bytes;
	BIO *bio;
	int r = open_public(loading, what, path, &bytes, &bio);

	if (r == 0 && !add_to_store(loading->ctx, bio, nr))
		r = refuse_why(loading, what, path);
	if (r == 0 && nr[kind] == 0)
		r = refuse(loading, what, path, none[kind]);
	BIO_free(bio);
	free(bytes);
	return r;
}

static int load_clients(const struct loading *loading)
{
	const struct tls_options *options = loading->options;
	int r = load_store(loading, "client CA", options->client_ca, 0);

	if (r < 0 || !options->client_crl)
		return r;
	r = load_store(loading, "revocation list", options->client_crl, 1);
	if (r == 0 &&
	    X509_STORE_set_flags(SSL_CTX_get_cert_store(loading->ctx), X509_V_FLAG_CRL_CHECK) != 1)
		r = -ENOMEM;
	return r;
}

static int load_psks(const struct loading *loading, struct tls_psks **ret_psks)
{
	const char *path = loading->options->psk;
	char *text = key_mem_new(TLS_SECRET_FILE_BYTES_MAX + 1);
	size_t nr = 0;
	int r = read_file(loading, "pre-shared keys", path, text, TLS_SECRET_FILE_BYTES_MAX, &nr);

	if (r == 0)
		r = tls_psks_take(path, text, nr, ret_psks, loading->problem);
	key_mem_free(text);
	return r;
}

int tls_files_load(struct tls_context *context, struct helper *helper, struct problem *ret_problem)
{
	const struct loading loading = {
		.ctx = context->ssl_ctx,
		.options = &context->options,
		.helper = helper,
		.problem = ret_problem,
	};
	int r = 0;

	if (loading.options->certificate)
		r = load_certificates(&loading);
	if (r == 0 && loading.options->certificate)
		r = load_key(&loading);
	if (r == 0 && loading.options->client_ca)
		r = load_clients(&loading);
	if (r == 0 && loading.options->psk)
		r = load_psks(&loading, &context->psks);
	return r;
}
