/* SPDX-License-Identifier: MIT */
/* Reads key files and passphrase files, into key memory and nowhere else. */
#include "keys/key_source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keys/key_mem.h"

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

int key_source_read(const struct key_source *source, struct key_secret **ret_secret)
{
	CLEANUP(key_mem_freep) uint8_t *raw = key_mem_new(RAW_BYTES);
	CLEANUP(close_fdp) int fd = open_source(source->name);
	struct key_secret *secret;
	int r;

	if (fd < 0)
		return fd;
	if (!raw)
		return -ENOMEM;
	r = read_raw(fd, source->kind == KEY_SOURCE_PASSPHRASE, raw);
	if (r >= 0)
		r = judge(source->kind, raw, (size_t)r);
	if (r < 0)
		return r;

	secret = key_mem_new(sizeof(*secret));
	if (!secret)
		return -ENOMEM;
	secret->kind = source->kind;
	secret->nr_bytes = (uint32_t)r;
	memcpy(secret->bytes, raw, secret->nr_bytes);
	*ret_secret = secret;
	return 0;
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
		[KEY_SOURCE_FILE] = "key file",
		[KEY_SOURCE_PASSPHRASE] = "passphrase file",
	};

	return names[kind];
}
