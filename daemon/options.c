/* SPDX-License-Identifier: MIT */
/* The command line of sealblkd: see options.h. */
#include "options.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "net/listen.h"
#include "sealblk/version.h"

enum {
	OPT_SOCKET = 1,
	OPT_LISTEN,
	OPT_DM,
	OPT_EXPORT,
	OPT_POLICY,
	OPT_KEY_FILE,
	OPT_PASSPHRASE_FILE,
	OPT_CREDENTIAL,
	OPT_KEYRING,
	OPT_KEY_COMMAND,
	OPT_PKCS11,
	OPT_WORKERS,
	OPT_IO_ENGINE,
	OPT_XTS,
	OPT_READ_ONLY,
	OPT_REQUIRE_ENCRYPTION,
	OPT_STOP_ERRORS,
	OPT_ACCEPT_LOSS,
	OPT_TRACE,
	OPT_NO_SANDBOX,
	OPT_VERBOSE,
	OPT_CACHE,
	OPT_TLS_CERTIFICATE,
	OPT_TLS_KEY,
	OPT_TLS_CLIENT_CA,
	OPT_TLS_CLIENT_CRL,
	OPT_TLS_ALLOW,
	OPT_TLS_PSK,
	OPT_INSECURE_TCP,
	OPT_HELP,
	OPT_VERSION,
};

static const struct option long_options[] = {
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "listen", required_argument, NULL, OPT_LISTEN },
	{ "dm", required_argument, NULL, OPT_DM },
	{ "tls-certificate", required_argument, NULL, OPT_TLS_CERTIFICATE },
	{ "tls-key", required_argument, NULL, OPT_TLS_KEY },
	{ "tls-client-ca", required_argument, NULL, OPT_TLS_CLIENT_CA },
	{ "tls-client-crl", required_argument, NULL, OPT_TLS_CLIENT_CRL },
	{ "tls-allow", required_argument, NULL, OPT_TLS_ALLOW },
	{ "tls-psk", required_argument, NULL, OPT_TLS_PSK },
	{ "insecure-tcp", no_argument, NULL, OPT_INSECURE_TCP },
	{ "export", required_argument, NULL, OPT_EXPORT },
	{ "policy", required_argument, NULL, OPT_POLICY },
	{ "key-file", required_argument, NULL, OPT_KEY_FILE },
	{ "passphrase-file", required_argument, NULL, OPT_PASSPHRASE_FILE },
	{ "credential", required_argument, NULL, OPT_CREDENTIAL },
	{ "keyring", required_argument, NULL, OPT_KEYRING },
	{ "key-command", required_argument, NULL, OPT_KEY_COMMAND },
	{ "pkcs11", required_argument, NULL, OPT_PKCS11 },
	{ "workers", required_argument, NULL, OPT_WORKERS },
	{ "io-engine", required_argument, NULL, OPT_IO_ENGINE },
	{ "cache", required_argument, NULL, OPT_CACHE },
	{ "xts", required_argument, NULL, OPT_XTS },
	{ "read-only", no_argument, NULL, OPT_READ_ONLY },
	{ "require-encryption", no_argument, NULL, OPT_REQUIRE_ENCRYPTION },
	{ "stop-errors", no_argument, NULL, OPT_STOP_ERRORS },
	{ "accept-loss", no_argument, NULL, OPT_ACCEPT_LOSS },
	{ "trace", required_argument, NULL, OPT_TRACE },
	{ "no-sandbox", no_argument, NULL, OPT_NO_SANDBOX },
	{ "verbose", no_argument, NULL, OPT_VERBOSE },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

static const char help_text[] =
	"Usage: sealblkd [OPTION]... [IMAGE]\n"
	"Serve sealblk images over NBD. IMAGE is the export \"\".\n"
	"\n"
	"Where to listen (at least one, unless systemd hands over sockets: socket activation):\n"
	"  --socket PATH            unix socket\n"
	"  --listen HOST:PORT       TCP; [ADDRESS]:PORT for IPv6\n"
	"  --dm NAME[=EXPORT]       serve the device-mapper device of the target sealblk whose\n"
	"                           table says NAME (default: the export \"\"); may be repeated\n"
	"\n"
	"TLS (1.2 or 1.3; demanded of TCP clients, and there for those of unix sockets;\n"
	"SIGHUP reads its files again, for new connections):\n"
	"  --tls-certificate FILE   the server's, in PEM, with what leads to its root\n"
	"  --tls-key FILE           its private key, in PEM\n"
	"  --tls-client-ca FILE     clients must show a certificate of these CAs (PEM)\n"
	"  --tls-client-crl FILE    and none of those that are revoked (PEM)\n"
	"  --tls-allow NAME         of those certificates only ones with NAME as their common\n"
	"                           name, DNS name or e-mail address; may be repeated\n"
	"  --tls-psk FILE           pre-shared keys: lines of IDENTITY:HEX, as psktool makes;\n"
	"                           beside a certificate, or in place of one\n"
	"  --insecure-tcp           without TLS, let other hosts connect all the same\n"
	"\n"
	"What to serve:\n"
	"  --export NAME=IMAGE      serve IMAGE as the export NAME; may be repeated\n"
	"  --policy FILE            serve the images that FILE (JSON) lists, too, and give all\n"
	"                           images the encryption it asks for; SIGHUP reads it again\n"
	"  --read-only              no client may write, and the image files are not written\n"
	"                           either; each must have been closed cleanly\n"
	"  --require-encryption     refuse an image whose encryption is off\n"
	"  --accept-loss            serve an image although acknowledged writes may be lost\n"
	"                           (its daemon died and its dirty file is gone)\n"
	"\n"
	"Keys (each is tried on each image):\n"
	"  --key-file FILE          raw bytes, 32 to 4096\n"
	"  --passphrase-file FILE   the first line of FILE\n"
	"  --credential NAME        systemd's credential NAME (LoadCredentialEncrypted= and\n"
	"                           the like): raw bytes, 32 to 4096\n"
	"  --keyring DESC           the kernel's key of type \"user\" with this description, in\n"
	"                           a keyring of this process: raw bytes, 32 to 4096\n"
	"  --key-command CMD        what the program of this path prints: raw bytes, 32 to\n"
	"                           4096; words follow, without a shell; run once for each\n"
	"                           image, and told which\n"
	"  --pkcs11 URI             a secret key of a PKCS#11 token, which stays there;\n"
	"                           ?pin-source=file:/PATH names a file with the PIN\n"
	"\n"
	"How to run:\n"
	"  --workers N              threads, each with its own ring (default: one per processor)\n"
	"  --io-engine ENGINE       io_uring, libaio, or auto (default): io_uring where this\n"
	"                           system lets us, else libaio\n"
	"  --cache MODE             writeback (default): through the host's page cache; none:\n"
	"                           what clients read and write goes past it (O_DIRECT), but\n"
	"                           for the base, which many disks share; locks 64 MiB of memory\n"
	"                           for each worker\n"
	"  --xts NAME               auto, vaes512, vaes256, aesni or openssl\n"
	"  --stop-errors            when it ends, answer requests that still come with ESHUTDOWN;\n"
	"                           else the connection ends, and a client that connects\n"
	"                           again, like QEMU with reconnect-delay, sees no error\n"
	"  --trace FILE             diagnosis: record everything that is written to the images,\n"
	"                           as it is written, in FILE, which must not exist; slow\n"
	"  --no-sandbox             diagnosis: keep capabilities, paths and system calls that\n"
	"                           the daemon does not need once it is ready (debuggers,\n"
	"                           valgrind)\n"
	"  --verbose                log connections as well\n"
	"  --help, --version\n"
	"\n"
	"The daemon stays in the foreground, prints \"ready\" when clients may connect (and\n"
	"tells systemd, where it runs as a Type=notify unit), and ends cleanly on SIGTERM\n"
	"or SIGINT.\n"
	"Exit status: 0 ok, 1 failed, 2 usage, 3 image damaged or refused, 4 wrong key.\n";

/* Says what is wrong; returns the exit code. */
static int usage(const char *fmt, ...) PRINTF_LIKE(1, 2);

static int usage(const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	log_line(LOG_LEVEL_ERROR, "%s; see sealblkd --help", text);
	return EXIT_USAGE;
}

static int add_export(struct options *options, const char *name, size_t name_bytes,
		      const char *image)
{
	struct export_option *export = &options->exports[options->nr_exports];

	if (options->nr_exports == EXPORTS_MAX)
		return usage("too many exports at %s", image);
	if (name_bytes > EXPORT_NAME_BYTES_MAX)
		return usage("export name too long: %s", name);
	memcpy(export->name, name, name_bytes);
	export->name[name_bytes] = '\0';
	export->image = image;
	for (unsigned int i = 0; i < options->nr_exports; i++) {
		if (strcmp(options->exports[i].name, export->name) == 0)
			return usage("two exports have the name \"%s\"", export->name);
	}
	options->nr_exports++;
	return -1;
}

static int add_named_export(struct options *options, const char *argument)
{
	const char *equals = strchr(argument, '=');

	if (!equals || !equals[1])
		return usage("--export %s: must be NAME=IMAGE", argument);
	return add_export(options, argument, (size_t)(equals - argument), equals + 1);
}

static int add_key(struct options *options, enum key_source_kind kind, const char *name)
{
	const struct key_source source = { .kind = kind, .name = name };
	const char *wrong = key_source_judge(&source);

	if (wrong)
		return usage("%s %s: %s", key_source_kind_name(kind),
			     key_source_judged_name(&source), wrong);
	if (options->nr_keys == KEY_SOURCES_MAX)
		return usage("too many keys at %s", name);
	options->keys[options->nr_keys++] = source;
	return -1;
}

static int add_to(const char **list, unsigned int *nr, const char *argument)
{
	if (*nr == LISTENERS_MAX)
		return usage("too many sockets at %s", argument);
	list[(*nr)++] = argument;
	return -1;
}

static int add_dm(struct options *options, const char *argument)
{
	const size_t name_bytes = strcspn(argument, "=");
	struct dm_option *dm = &options->dms[options->nr_dms];

	if (options->nr_dms == DM_DEVICES_MAX)
		return usage("too many devices at --dm %s", argument);
	/* It is the name of a node in a folder of such nodes. */
	if (name_bytes == 0 || name_bytes > SHIM_NAME_BYTES_MAX || argument[0] == '.' ||
	    memchr(argument, '/', name_bytes))
		return usage("--dm %s: must be NAME or NAME=EXPORT; a NAME has 1 to %d bytes, "
			     "no / and no . before all others",
			     argument, SHIM_NAME_BYTES_MAX);
	memcpy(dm->name, argument, name_bytes);
	dm->export = argument[name_bytes] ? argument + name_bytes + 1 : "";
	for (unsigned int i = 0; i < options->nr_dms; i++) {
		if (strcmp(options->dms[i].name, dm->name) == 0)
			return usage("--dm %s: given twice", dm->name);
	}
	options->nr_dms++;
	return -1;
}

static int set_workers(struct options *options, const char *argument)
{
	char *end;
	unsigned long nr = strtoul(argument, &end, 10);

	if (argument[0] < '0' || argument[0] > '9' || *end || nr < 1 || nr > WORKERS_MAX)
		return usage("--workers %s: must be 1 to 64", argument);
	options->nr_workers = (unsigned int)nr;
	return -1;
}

static int set_engine(struct options *options, const char *argument)
{
	if (strcmp(argument, "auto") == 0)
		options->engine = ENGINE_AUTO;
	else if (strcmp(argument, "io_uring") == 0)
		options->engine = ENGINE_URING;
	else if (strcmp(argument, "libaio") == 0)
		options->engine = ENGINE_AIO;
	else
		return usage("--io-engine %s: must be auto, io_uring or libaio", argument);
	return -1;
}

static int allow_name(struct options *options, const char *name)
{
	if (!*name)
		return usage("--tls-allow: the name is empty");
	if (options->tls.nr_allowed == TLS_NAMES_MAX)
		return usage("too many names at --tls-allow %s", name);
	options->tls.allowed[options->tls.nr_allowed++] = name;
	return -1;
}

static int set_tls_file(const char **ret_path, const char *path)
{
	*ret_path = path;
	return -1;
}

static int set_cache(struct options *options, const char *argument)
{
	options->cache_none = strcmp(argument, "none") == 0;
	if (!options->cache_none && strcmp(argument, "writeback") != 0)
		return usage("--cache %s: must be writeback or none", argument);
	return -1;
}

static int take_switch(struct options *options, int opt)
{
	switch (opt) {
	case OPT_INSECURE_TCP:
		options->insecure_tcp = true;
		return -1;
	case OPT_READ_ONLY:
		options->read_only = true;
		return -1;
	case OPT_REQUIRE_ENCRYPTION:
		options->require_encryption = true;
		return -1;
	case OPT_STOP_ERRORS:
		options->stop_errors = true;
		return -1;
	case OPT_ACCEPT_LOSS:
		options->accept_loss = true;
		return -1;
	case OPT_NO_SANDBOX:
		options->no_sandbox = true;
		return -1;
	case OPT_VERBOSE:
		log_set_level(LOG_LEVEL_DEBUG);
		return -1;
	case OPT_HELP:
		fputs(help_text, stdout);
		return EXIT_OK;
	case OPT_VERSION:
		puts("sealblkd " SEALBLK_VERSION);
		return EXIT_OK;
	default:
		return EXIT_USAGE;
	}
}

static int take_option(struct options *options, int opt, const char *argument)
{
	switch (opt) {
	case OPT_SOCKET:
		return add_to(options->sockets, &options->nr_sockets, argument);
	case OPT_LISTEN:
		return add_to(options->listen, &options->nr_listen, argument);
	case OPT_DM:
		return add_dm(options, argument);
	case OPT_EXPORT:
		return add_named_export(options, argument);
	case OPT_POLICY:
		options->policy = argument;
		return -1;
	case OPT_KEY_FILE:
		return add_key(options, KEY_SOURCE_FILE, argument);
	case OPT_PASSPHRASE_FILE:
		return add_key(options, KEY_SOURCE_PASSPHRASE, argument);
	case OPT_CREDENTIAL:
		return add_key(options, KEY_SOURCE_CREDENTIAL, argument);
	case OPT_KEYRING:
		return add_key(options, KEY_SOURCE_KERNEL, argument);
	case OPT_KEY_COMMAND:
		return add_key(options, KEY_SOURCE_COMMAND, argument);
	case OPT_PKCS11:
		return add_key(options, KEY_SOURCE_PKCS11, argument);
	case OPT_WORKERS:
		return set_workers(options, argument);
	case OPT_IO_ENGINE:
		return set_engine(options, argument);
	case OPT_CACHE:
		return set_cache(options, argument);
	case OPT_TLS_CERTIFICATE:
		return set_tls_file(&options->tls.certificate, argument);
	case OPT_TLS_KEY:
		return set_tls_file(&options->tls.key, argument);
	case OPT_TLS_CLIENT_CA:
		return set_tls_file(&options->tls.client_ca, argument);
	case OPT_TLS_CLIENT_CRL:
		return set_tls_file(&options->tls.client_crl, argument);
	case OPT_TLS_PSK:
		return set_tls_file(&options->tls.psk, argument);
	case OPT_TLS_ALLOW:
		return allow_name(options, argument);
	case OPT_XTS:
		options->xts = argument;
		return -1;
	case OPT_TRACE:
		options->trace = argument;
		return -1;
	default:
		return take_switch(options, opt);
	}
}

/* What only makes sense beside something else would be forgotten silently. */
static int check_tls(const struct tls_options *tls)
{
	if (!tls->certificate != !tls->key)
		return usage("--tls-certificate and --tls-key want each other");
	if (tls->client_ca && !tls->certificate)
		return usage("--tls-client-ca wants --tls-certificate");
	if (tls->client_crl && !tls->client_ca)
		return usage("--tls-client-crl wants --tls-client-ca");
	if (tls->nr_allowed > 0 && !tls->client_ca)
		return usage("--tls-allow wants --tls-client-ca");
	return -1;
}

static int check_whole(const struct options *options)
{
	const unsigned int nr_sockets =
		options->nr_sockets + options->nr_listen + listen_nr_inherited();

	if (options->nr_exports == 0 && !options->policy)
		return usage("no image to serve");
	if (nr_sockets + options->nr_dms == 0)
		return usage("nowhere to listen: give --socket, --listen or --dm");
	if (nr_sockets > LISTENERS_MAX)
		return usage("too many sockets");
	if (options->nr_keys == 0)
		return usage("no key: give --key-file, --passphrase-file, --credential, --keyring, "
			     "--key-command or --pkcs11");
	if (options->cache_none && options->trace)
		return usage(
			"--trace records what goes through the page cache: not with --cache none");
	if (options->nr_dms > 0 && options->engine == ENGINE_AIO)
		return usage("--dm takes its requests from io_uring: not with --io-engine libaio");
	if (options->read_only && options->accept_loss)
		return usage("--accept-loss recovers an image, --read-only never writes to one");
	return check_tls(&options->tls);
}

int options_parse(struct options *options, int argc, char **argv)
{
	int opt, code = -1;

	opterr = 0;
	while (code < 0 && (opt = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
		if (opt == '?')
			return usage("unknown option %s", argv[optind - 1]);
		if (opt == ':')
			return usage("%s needs a value", argv[optind - 1]);
		code = take_option(options, opt, optarg);
	}
	if (code >= 0)
		return code;
	if (argc - optind > 1)
		return usage("only one image without a name may be given, not also %s",
			     argv[optind + 1]);
	if (optind < argc)
		code = add_export(options, "", 0, argv[optind]);
	return code < 0 ? check_whole(options) : code;
}
