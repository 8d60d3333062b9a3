/* SPDX-License-Identifier: MIT */
/* The command line of sealblkd. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>

#include "base/compiler.h"
#include "keys/key_source.h"
#include "net/tls.h"
#include "sealblk/limits.h"
#include "sealblk/shim_uapi.h"

enum exit_code {
	EXIT_OK = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_REFUSED = 3, /* image damaged or refused */
	EXIT_KEY = 4,	  /* key wrong or revoked */
};

struct export_option {
	char name[EXPORT_NAME_BYTES_MAX + 1];
	char description[EXPORT_DESCRIPTION_BYTES_MAX + 1]; /* of a policy; "": none */
	const char *image;
};

/* A device of dm-sealblk, and what it is to show. */
struct dm_option {
	char name[SHIM_NAME_BYTES_MAX + 1];
	const char *export;
};

enum engine { ENGINE_AUTO, ENGINE_URING, ENGINE_AIO };

/* Strings are argv's. */
struct options {
	const char *sockets[LISTENERS_MAX];
	unsigned int nr_sockets;
	const char *listen[LISTENERS_MAX]; /* HOST:PORT */
	unsigned int nr_listen;
	struct dm_option dms[DM_DEVICES_MAX];
	unsigned int nr_dms;
	struct export_option exports[EXPORTS_MAX];
	unsigned int nr_exports;
	struct key_source keys[KEY_SOURCES_MAX];
	unsigned int nr_keys;
	unsigned int nr_workers; /* 0: one per processor */
	enum engine engine;
	bool cache_none;
	const char *xts;
	const char *policy; /* file; NULL: none */
	const char *trace;  /* file to record storage operations in; NULL: none */
	bool read_only;
	bool require_encryption;
	bool stop_errors;
	bool accept_loss;
	bool no_sandbox; /* diagnosis */
	struct tls_options tls;
	bool insecure_tcp;
};

/*
 * Returns -1 to go on, or the exit code: after --help and --version 0, after a
 * mistake, which has been said in one line, EXIT_USAGE.
 */
int MUST_CHECK options_parse(struct options *options, int argc, char **argv);

#endif
