/* SPDX-License-Identifier: MIT */
/* Reads keys from where they are, into key memory and nowhere else. */
#include "keys/key_source.h"

#include <errno.h>
#include <fcntl.h>
#include <keyutils.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keys/key_command.h"
#include "keys/key_mem.h"
#include "keys/key_pkcs11.h"

/* One byte beyond the longest key, or the newline after the longest passphrase. */
enum { RAW_BYTES = KEY_FILE_BYTES_MAX + 1 };

static void key_mem_freep(uint8_t **p)
{
	*p = key_mem_free(*p);
}

static void close_fdp(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* Pipes and devices are welcome (a shell's <(command), /dev/stdin); a directory is a mistake. */
static int open_source(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		close(fd);
		return -EISDIR;
	}
	return fd;
}

/*
 * Reads until the end, @raw is full, or with @one_line a newline has come: a
 * pipe's writer may stay after it. Returns the number of bytes or an errno.
 */
static int read_raw(int fd, bool one_line, uint8_t *raw)
{
	size_t nr_bytes = 0;

	while (nr_bytes < RAW_BYTES && !(one_line && memchr(raw, '\n', nr_bytes))) {
		ssize_t n = read(fd, raw + nr_bytes, RAW_BYTES - nr_bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		nr_bytes += (size_t)n;
	}
	return (int)nr_bytes;
}

/* How many bytes of @raw are the secret, or -ERANGE. */
static int judge(enum key_source_kind kind, const uint8_t *raw, size_t nr_bytes)
{
	size_t min_bytes = KEY_FILE_BYTES_MIN;
	size_t max_bytes = KEY_FILE_BYTES_MAX;

	if (kind == KEY_SOURCE_PASSPHRASE) {
		const uint8_t *newline = memchr(raw, '\n', nr_bytes);

		min_bytes = 1;
		max_bytes = PASSPHRASE_BYTES_MAX;
		if (newline)
			nr_bytes = (size_t)(newline - raw);
	}
	if (nr_bytes < min_bytes || nr_bytes > max_bytes)
		return -ERANGE;
	return (int)nr_bytes;
}

static int read_file(const char *path, bool one_line, uint8_t *raw)
{
	CLEANUP(close_fdp) int fd = open_source(path);

	return fd < 0 ? fd : read_raw(fd, one_line, raw);
}

/* The environment names a folder that systemd made for this service; no key is in it. */
static int read_credential(const char *name, uint8_t *raw)
{
	const char *folder = secure_getenv("CREDENTIALS_DIRECTORY");
	char path[PATH_BYTES_MAX];
	int n;

	if (!*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return -EINVAL;
	if (!folder)
		return -ENXIO;
	n = snprintf(path, sizeof(path), "%s/%s", folder, name);
	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	return read_file(path, false, raw);
}

/*
 * From the keyrings of this process: its session's, and its user's if linked
 * there. No program is called to make a key that is missing. A payload beyond
 * @raw is only counted, which is as good as the byte too many of a file.
 */
static int read_kernel(const char *description, uint8_t *raw)
{
	const key_serial_t key = request_key("user", description, NULL, 0);
	const long n = key < 0 ? -1 : keyctl_read(key, (char *)raw, RAW_BYTES);

	if (n >= 0)
		return n > RAW_BYTES ? RAW_BYTES : (int)n;
	/* The image has not rejected it. */
	return errno == EKEYREJECTED ? -ENOKEY : -errno;
}

/* @why is filled in only where the number that comes back does not say all. */
static int read_source(const struct key_source *source, const struct key_wanted *wanted,
		       uint8_t *raw, char why[KEY_WHY_BYTES])
{
	switch (source->kind) {
	case KEY_SOURCE_FILE:
	case KEY_SOURCE_PASSPHRASE:
		return read_file(source->name, source->kind == KEY_SOURCE_PASSPHRASE, raw);
	case KEY_SOURCE_CREDENTIAL:
		return read_credential(source->name, raw);
	case KEY_SOURCE_KERNEL:
		return read_kernel(source->name, raw);
	case KEY_SOURCE_COMMAND:
		return key_command_read(source->name, wanted, raw, RAW_BYTES, why);
	case KEY_SOURCE_PKCS11:
		return key_pkcs11_read(source->name, wanted, raw, RAW_BYTES, why);
	case KEY_SOURCE_KINDS:
		break;
	}
	return -EINVAL;
}

enum key_source_kind key_source_secret_kind(enum key_source_kind kind)
{
	return kind == KEY_SOURCE_PASSPHRASE ? KEY_SOURCE_PASSPHRASE : KEY_SOURCE_FILE;
}

const char *key_source_judge(const struct key_source *source)
{
	struct key_command command;

	if (!*source->name)
		return "names nothing";
	if (strlen(source->name) >= PATH_BYTES_MAX)
		return "is too long";
	if (source->kind == KEY_SOURCE_PKCS11)
		return key_pkcs11_judge(source->name);
	return source->kind == KEY_SOURCE_COMMAND ? key_command_parse(source->name, &command)
						  : NULL;
}

const char *key_source_judged_name(const struct key_source *source)
{
	return source->kind == KEY_SOURCE_PKCS11 ? "URI" : source->name;
}

bool key_source_is_per_image(enum key_source_kind kind)
{
	return kind == KEY_SOURCE_COMMAND || kind == KEY_SOURCE_PKCS11;
}

/* What is wrong when a number says it; NULL: strerror() tells. */
static const char *refusal_of(enum key_source_kind kind, int error)
{
	if (error == -ERANGE)
		return kind == KEY_SOURCE_PASSPHRASE ? "its first line has 1 to 4096 bytes"
						     : "a key has 32 to 4096 bytes";
	if (kind == KEY_SOURCE_CREDENTIAL && error == -ENXIO)
		return "there are no credentials: CREDENTIALS_DIRECTORY is not set";
	if (kind == KEY_SOURCE_CREDENTIAL && error == -EINVAL)
		return "is not the name of a credential";
	return NULL;
}
_Static_assert(KEY_FILE_BYTES_MIN == 32 && KEY_FILE_BYTES_MAX == 4096 &&
		       PASSPHRASE_BYTES_MAX == 4096,
	       "say the messages");

void key_source_explain(enum key_source_kind kind, int error, char why[KEY_WHY_BYTES])
{
	const char *refusal = refusal_of(kind, error);

	snprintf(why, KEY_WHY_BYTES, "%s%s",
		 refusal ? "" : "cannot be read: ", refusal ? refusal : strerror(-error));
}

/* From a program that went wrong, how much came is half of the answer. */
static void explain_length(size_t nr_bytes, char why[KEY_WHY_BYTES])
{
	if (nr_bytes > KEY_FILE_BYTES_MAX)
		snprintf(why, KEY_WHY_BYTES, "a key has 32 to 4096 bytes, and it printed more");
	else
		snprintf(why, KEY_WHY_BYTES, "a key has 32 to 4096 bytes, and it printed %zu",
			 nr_bytes);
}

static int read_secret(const struct key_source *source, const struct key_wanted *wanted,
		       struct key_secret **ret_secret, char why[KEY_WHY_BYTES])
{
	CLEANUP(key_mem_freep) uint8_t *raw = key_mem_new(RAW_BYTES);
	struct key_secret *secret;
	int nr_bytes, r;

	if (!raw)
		return -ENOMEM;
	r = nr_bytes = read_source(source, wanted, raw, why);
	if (r >= 0)
		r = judge(source->kind, raw, (size_t)nr_bytes);
	if (r == -ERANGE && source->kind == KEY_SOURCE_COMMAND)
		explain_length((size_t)nr_bytes, why);
	if (r < 0)
		return r;

	secret = key_mem_new(sizeof(*secret));
	if (!secret)
		return -ENOMEM;
	secret->kind = key_source_secret_kind(source->kind);
	secret->nr_bytes = (uint32_t)r;
	memcpy(secret->bytes, raw, secret->nr_bytes);
	*ret_secret = secret;
	return 0;
}

int key_source_read(const struct key_source *source, const struct key_wanted *wanted,
		    struct key_secret **ret_secret, char why[KEY_WHY_BYTES])
{
	int r;

	why[0] = '\0';
	r = read_secret(source, wanted, ret_secret, why);
	if (r < 0 && !why[0])
		key_source_explain(source->kind, r, why);
	return r;
}

bool key_secret_is_sound(const struct key_secret *secret)
{
	switch ((uint32_t)secret->kind) {
	case KEY_SOURCE_FILE:
		return secret->nr_bytes >= KEY_FILE_BYTES_MIN &&
		       secret->nr_bytes <= KEY_FILE_BYTES_MAX;
	case KEY_SOURCE_PASSPHRASE:
		return secret->nr_bytes >= 1 && secret->nr_bytes <= PASSPHRASE_BYTES_MAX &&
		       !memchr(secret->bytes, '\n', secret->nr_bytes);
	default:
		return false;
	}
}

bool key_secret_is_weak(const struct key_secret *secret)
{
	/* Each byte equals its neighbour. */
	return memcmp(secret->bytes, secret->bytes + 1, secret->nr_bytes - 1) == 0;
}

const char *key_source_kind_name(enum key_source_kind kind)
{
	static const char *const names[] = {
		[KEY_SOURCE_FILE] = "key file",		[KEY_SOURCE_PASSPHRASE] = "passphrase file",
		[KEY_SOURCE_CREDENTIAL] = "credential", [KEY_SOURCE_KERNEL] = "kernel key",
		[KEY_SOURCE_COMMAND] = "key command",	[KEY_SOURCE_PKCS11] = "PKCS#11",
	};

	return names[kind];
}
