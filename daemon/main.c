/* SPDX-License-Identifier: MIT */
/*
 * sealblkd: serves sealblk images over NBD. See README.md for the road of a
 * request. The only mutable global of the daemon is the log level (base/log.c).
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "account.h"
#include "base/log.h"
#include "keys/key_mem.h"
#include "notify.h"
#include "options.h"
#include "server.h"
#include "server_tls.h"

/* Signals are taken by sigwait() below and nowhere else: workers inherit the mask. */
static void block_signals(sigset_t *ret_set)
{
	sigemptyset(ret_set);
	sigaddset(ret_set, SIGTERM);
	sigaddset(ret_set, SIGINT);
	sigaddset(ret_set, SIGHUP);
	sigaddset(ret_set, SIGPIPE);
	sigaddset(ret_set, SIGCHLD);
	/* A write behind ulimit -f shall fail, not end us. */
	signal(SIGXFSZ, SIG_IGN);
	/* Whoever started us may ignore it, and then it would never come. */
	signal(SIGCHLD, SIG_DFL);
	sigprocmask(SIG_BLOCK, ret_set, NULL);
}

static void say_ready(const struct options *options, const struct server *server, int notify_fd)
{
	for (unsigned int i = 0; i < server->nr_listeners; i++)
		if (server->listeners[i].inherited_name[0])
			printf("sealblkd: listening on inherited socket %s\n",
			       server->listeners[i].inherited_name);
	for (unsigned int i = 0; i < options->nr_sockets; i++)
		printf("sealblkd: listening on unix socket %s\n", options->sockets[i]);
	for (unsigned int i = 0; i < options->nr_listen; i++)
		printf("sealblkd: listening on TCP %s\n", options->listen[i]);
	for (unsigned int i = 0; i < options->nr_dms; i++)
		printf("sealblkd: serving the device %s\n", options->dms[i].name);
	puts("sealblkd: ready");
	fflush(stdout);
	notify_say(notify_fd, "READY=1\nSTATUS=Serving %u export(s) with %u worker(s)",
		   server->nr_exports, server->nr_workers);
}

/* What is open stays open: only new keys and files need the helper. */
static void look_after_helper(struct server *server)
{
	if (helper_has_ended(&server->helper))
		log_line(LOG_LEVEL_WARNING, "the helper process has ended; serving goes on, but "
					    "no key or file can be opened until a restart");
}

/* TLS first: switching images may take a while. */
static void read_again(struct server *server)
{
	const bool has_tls = server_wants_tls(server);

	if (has_tls)
		server_tls_reload(server);
	if (server->options->policy || !has_tls)
		account_reload(server);
}

static void wait_for_end(const sigset_t *set, struct server *server)
{
	int signal_number;

	do {
		if (sigwait(set, &signal_number) != 0)
			return;
		look_after_helper(server);
		if (signal_number == SIGHUP)
			read_again(server);
	} while (signal_number != SIGTERM && signal_number != SIGINT);
	log_line(LOG_LEVEL_INFO, "%s: finishing", strsignal(signal_number));
}

int main(int argc, char **argv)
{
	static struct options options;
	struct server *server;
	sigset_t set;
	int code, stop_code, notify_fd;

	code = log_reserve_standard_fds();
	if (code < 0) {
		log_line(LOG_LEVEL_ERROR, "/dev/null cannot be opened: %s", strerror(-code));
		return EXIT_FAILED;
	}
	code = options_parse(&options, argc, argv);
	if (code >= 0)
		return code;
	if (key_mem_harden_process() < 0) {
		log_line(LOG_LEVEL_ERROR, "cannot forbid core dumps: %s", strerror(errno));
		return EXIT_FAILED;
	}
	block_signals(&set);
	server = calloc(1, sizeof(*server));
	if (!server) {
		log_line(LOG_LEVEL_ERROR, "no memory");
		return EXIT_FAILED;
	}
	notify_fd = notify_open();
	code = server_start(server, &options);
	/* This thread has seen all keys, and is not asked to forget them when they are revoked. */
	key_mem_wipe_stack();
	if (code == EXIT_OK) {
		say_ready(&options, server, notify_fd);
		wait_for_end(&set, server);
		notify_say(notify_fd,
			   "STOPPING=1\nSTATUS=Finishing requests and closing the images");
	}
	stop_code = server_stop(server);
	free(server);
	return code != EXIT_OK ? code : stop_code;
}
