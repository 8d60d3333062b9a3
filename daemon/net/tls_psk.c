/* SPDX-License-Identifier: MIT */
/* Files of pre-shared keys: see tls_context.h. */
#include <errno.h>
#include <string.h>

#include "keys/key_mem.h"
#include "net/tls_context.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "identity:hex", @nr_bytes of it. Returns what is wrong, or NULL. */
static const char *take_line(struct tls_psk *psk, const char *line, size_t nr_bytes)
{
	const char *colon = memrchr(line, ':', nr_bytes);
	size_t identity_bytes, hex_bytes;

	if (!colon || colon == line)
		return "is not IDENTITY:HEX";
	identity_bytes = (size_t)(colon - line);
	hex_bytes = nr_bytes - identity_bytes - 1;
	if (identity_bytes > TLS_IDENTITY_BYTES_MAX || memchr(line, '\0', nr_bytes))
		return "has an identity that is too long, or a NUL";
	if (hex_bytes % 2 || hex_bytes < 2 * TLS_PSK_BYTES_MIN || hex_bytes > 2 * TLS_PSK_BYTES_MAX)
		return "has a key that is not 16 to 64 bytes in hex";
	memcpy(psk->identity, line, identity_bytes);
	for (size_t i = 0; i < hex_bytes; i += 2) {
		const int high = hex_digit(colon[1 + i]), low = hex_digit(colon[2 + i]);

		if (high < 0 || low < 0)
			return "has a key with a character that is no hex digit";
		psk->key[i / 2] = (uint8_t)(high << 4 | low);
	}
	psk->key_bytes = (uint32_t)hex_bytes / 2;
	return NULL;
}

static int take_lines(struct tls_psks *psks, const char *path, const char *text, size_t nr_bytes,
		      struct problem *ret_problem)
{
	const char *end = text + nr_bytes;

	for (unsigned int number = 1; text < end; number++) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		const char *line_end = newline ? newline : end;
		const char *wrong = NULL;

		if (line_end > text && psks->nr == TLS_PSKS_MAX) {
			problem_set(ret_problem, "pre-shared keys", path, "more than %d of them",
				    TLS_PSKS_MAX);
			return -EFBIG;
		}
		if (line_end > text)
			wrong = take_line(&psks->keys[psks->nr++], text, (size_t)(line_end - text));
		if (wrong) {
			problem_set(ret_problem, "pre-shared keys", path, "line %u %s", number,
				    wrong);
			return -EINVAL;
		}
		text = line_end + 1;
	}
	if (psks->nr == 0) {
		problem_set(ret_problem, "pre-shared keys", path, "there is none in it");
		return -EINVAL;
	}
	return 0;
}

int tls_psks_take(const char *path, const char *text, size_t nr_bytes, struct tls_psks **ret_psks,
		  struct problem *ret_problem)
{
	struct tls_psks *psks = key_mem_new(sizeof(*psks));
	int r;

	if (!psks)
		return -ENOMEM;
	r = take_lines(psks, path, text, nr_bytes, ret_problem);
	if (r < 0)
		psks = key_mem_free(psks);
	*ret_psks = psks;
	return r;
}
