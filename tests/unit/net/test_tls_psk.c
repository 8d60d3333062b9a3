/* SPDX-License-Identifier: MIT */
/* Files of pre-shared keys. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/compiler.h"
#include "keys/key_mem.h"
#include "net/tls_context.h"

#define HEX_16 "00112233445566778899aAbBcCdDeEfF"
#define HEX_64 HEX_16 HEX_16 HEX_16 HEX_16

static struct problem problem;

static int read_psks(const char *text, struct tls_psks **ret_psks)
{
	problem.text[0] = '\0';
	return tls_psks_take("psks", text, strlen(text), ret_psks, &problem);
}

Test(tls_psks, are_read_line_by_line_and_colons_may_be_part_of_an_identity)
{
	static const uint8_t key[] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
				       0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
	struct tls_psks *psks;

	cr_assert_eq(read_psks("alice:" HEX_16 "\n\nvm:7:" HEX_64, &psks), 0);
	cr_assert_eq(psks->nr, 2);
	cr_assert_str_eq(psks->keys[0].identity, "alice");
	cr_assert_eq(psks->keys[0].key_bytes, 16);
	cr_assert_arr_eq(psks->keys[0].key, key, 16);
	cr_assert_str_eq(psks->keys[1].identity, "vm:7");
	cr_assert_eq(psks->keys[1].key_bytes, 64);
	key_mem_free(psks);
}

Test(tls_psks, bad_lines_are_named_by_their_number)
{
	static const struct {
		const char *text, *said;
	} rows[] = {
		{ "alice\n", "line 1 is not" },
		{ ":" HEX_16 "\n", "line 1 is not" },
		{ "a:" HEX_16 "\n\nb:0011\n", "line 3 has a key" },
		{ "a:" HEX_16 "0\n", "line 1 has a key" },
		{ "a:" HEX_64 "00\n", "line 1 has a key" },
		{ "a:g" HEX_16 "0\n", "no hex digit" },
		{ "a:" HEX_16 "\r\n", "line 1 has a key" },
		{ "\n\n", "there is none" },
		{ "", "there is none" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct tls_psks *psks;

		cr_assert_eq(read_psks(rows[i].text, &psks), -EINVAL, "row %zu", i);
		cr_assert_null(psks);
		cr_assert(strstr(problem.text, rows[i].said), "row %zu: %s", i, problem.text);
	}
}

Test(tls_psks, there_is_a_limit_and_an_identity_may_be_as_long_as_said)
{
	static char text[(TLS_PSKS_MAX + 1) * (TLS_IDENTITY_BYTES_MAX + 40)];
	struct tls_psks *psks;
	char *at = text;

	for (int i = 0; i < TLS_PSKS_MAX; i++)
		at += sprintf(at, "%0*d:%s\n", TLS_IDENTITY_BYTES_MAX, i, HEX_16);
	cr_assert_eq(read_psks(text, &psks), 0, "%s", problem.text);
	cr_assert_eq(psks->nr, TLS_PSKS_MAX);
	key_mem_free(psks);
	strcpy(at, "one:" HEX_16);
	cr_assert_eq(read_psks(text, &psks), -EFBIG);
	sprintf(text, "%0*d:%s\n", TLS_IDENTITY_BYTES_MAX + 1, 1, HEX_16);
	cr_assert_eq(read_psks(text, &psks), -EINVAL);
}
