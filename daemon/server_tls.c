/* SPDX-License-Identifier: MIT */
/* TLS of the server: see server_tls.h. */
#include "server_tls.h"

#include "base/log.h"
#include "errand.h"
#include "net/tls.h"
#include "net/tls_kernel.h"
#include "worker.h"

bool server_wants_tls(const struct server *server)
{
	const struct tls_options *options = &server->options->tls;

	return options->certificate || options->psk;
}

int server_tls_start(struct server *server, struct problem *problem)
{
	if (!server_wants_tls(server))
		return 0;
	server->kernel_tls = tls_kernel_is_there();
	log_line(server->kernel_tls ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG,
		 "TLS 1.3 over TCP: what is sent is encrypted by %s",
		 server->kernel_tls ? "the kernel" : "OpenSSL: this kernel has no TLS");
	return tls_context_new(&server->options->tls, &server->helper, server->kernel_tls,
			       &server->tls, problem);
}

int server_tls_keep_files(struct server *server)
{
	const struct tls_options *options = &server->options->tls;
	const char *const paths[] = { options->certificate, options->key, options->client_ca,
				      options->client_crl, options->psk };
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(paths) && r == 0; i++)
		if (paths[i])
			r = helper_keep_readable(&server->helper, paths[i]);
	return r;
}

/* On each worker's thread. */
static int take_over(void *arg, struct worker *worker)
{
	tls_context_put(worker->tls);
	worker->tls = tls_context_get(arg);
	return 0;
}

void server_tls_reload(struct server *server)
{
	struct tls_context *context = NULL;
	struct problem problem;

	if (tls_context_new(&server->options->tls, &server->helper, server->kernel_tls, &context,
			    &problem) < 0) {
		log_line(LOG_LEVEL_ERROR, "%s; TLS goes on with what was read before",
			 problem.text);
		return;
	}
	(void)errand_run_on_workers(server, take_over, context);
	tls_context_put(server->tls);
	server->tls = context;
	log_line(LOG_LEVEL_INFO, "TLS: its files have been read again, for new connections");
}
