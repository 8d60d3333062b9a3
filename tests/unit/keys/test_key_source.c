/* SPDX-License-Identifier: MIT */
/* Key files are taken as they are; of a passphrase file, the first line. */
#include "keys/key_source.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "unit/keys/fixture.h"

enum { BYTES_MAX = KEY_FILE_BYTES_MAX + 2 };

static const struct key_wanted nothing_wanted;
static char why[KEY_WHY_BYTES];

static const char *const the_file[] = { "secret", NULL };

/* Writes @bytes to a file and reads it as @kind. Returns the result; the secret through @ret. */
static int read_back(enum key_source_kind kind, const void *bytes, size_t nr_bytes,
		     struct key_secret **ret)
{
	struct key_source source = { .kind = kind, .name = "secret" };
	char folder[32];
	int r;

	enter_folder(folder);
	write_file("secret", bytes, nr_bytes);
	r = key_source_read(&source, &nothing_wanted, ret, why);
	leave_folder(folder, the_file);
	return r;
}

Test(key_source, takes_a_key_file_whole)
{
	static const size_t good[] = { KEY_FILE_BYTES_MIN, 33, 100, KEY_FILE_BYTES_MAX };
	uint8_t bytes[BYTES_MAX];

	/* Newlines and zeros in it, at the end too: nothing may be stripped. */
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = i % 3 ? '\n' : 0;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct key_secret *secret = NULL;

		cr_assert_eq(read_back(KEY_SOURCE_FILE, bytes, good[i], &secret), 0);
		cr_expect_eq(secret->kind, KEY_SOURCE_FILE);
		cr_expect_eq(secret->nr_bytes, good[i]);
		cr_expect_arr_eq(secret->bytes, bytes, good[i]);
		key_mem_free(secret);
	}
}

Test(key_source, refuses_a_key_file_that_is_too_short_or_too_long)
{
	static const size_t bad[] = { 0, 1, KEY_FILE_BYTES_MIN - 1, KEY_FILE_BYTES_MAX + 1,
				      KEY_FILE_BYTES_MAX + 2 };
	static const uint8_t bytes[BYTES_MAX];
	struct key_secret *secret = NULL;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_expect_eq(read_back(KEY_SOURCE_FILE, bytes, bad[i], &secret), -ERANGE,
			     "%zu bytes", bad[i]);
	cr_expect_null(secret, "untouched");
}

Test(key_source, takes_the_first_line_of_a_passphrase_file)
{
	static const struct {
		const char *file, *passphrase;
	} rows[] = {
		{ "correct horse", "correct horse" },
		{ "correct horse\n", "correct horse" },
		{ "correct horse\nand a second line\n", "correct horse" },
		{ " blanks stay \n", " blanks stay " },
		{ "x", "x" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct key_secret *secret = NULL;
		size_t wanted_bytes = strlen(rows[i].passphrase);

		cr_assert_eq(read_back(KEY_SOURCE_PASSPHRASE, rows[i].file, strlen(rows[i].file),
				       &secret),
			     0);
		cr_expect_eq(secret->kind, KEY_SOURCE_PASSPHRASE);
		cr_assert_eq(secret->nr_bytes, wanted_bytes, "row %zu", i);
		cr_expect_arr_eq(secret->bytes, rows[i].passphrase, wanted_bytes);
		key_mem_free(secret);
	}
}

Test(key_source, takes_the_longest_passphrase_and_no_longer_one)
{
	struct key_secret *secret = NULL;
	char bytes[BYTES_MAX];

	memset(bytes, 'p', sizeof(bytes));
	bytes[PASSPHRASE_BYTES_MAX] = '\n';
	cr_assert_eq(read_back(KEY_SOURCE_PASSPHRASE, bytes, sizeof(bytes), &secret), 0);
	cr_expect_eq(secret->nr_bytes, PASSPHRASE_BYTES_MAX);
	key_mem_free(secret);

	bytes[PASSPHRASE_BYTES_MAX] = 'p';
	cr_expect_eq(read_back(KEY_SOURCE_PASSPHRASE, bytes, sizeof(bytes), &secret), -ERANGE);
}

Test(key_source, refuses_an_empty_first_line)
{
	struct key_secret *secret = NULL;

	cr_expect_eq(read_back(KEY_SOURCE_PASSPHRASE, "", 0, &secret), -ERANGE);
	cr_expect_eq(read_back(KEY_SOURCE_PASSPHRASE, "\nsecond", 7, &secret), -ERANGE);
	cr_expect_null(secret, "untouched");
}

Test(key_source, says_what_open_said_and_refuses_a_directory)
{
	struct key_source missing = { .kind = KEY_SOURCE_FILE, .name = "/nonexistent/key" };
	struct key_source folder = { .kind = KEY_SOURCE_FILE, .name = "/" };
	struct key_secret *secret = NULL;

	cr_expect_eq(key_source_read(&missing, &nothing_wanted, &secret, why), -ENOENT);
	cr_expect_eq(key_source_read(&folder, &nothing_wanted, &secret, why), -EISDIR);
	cr_expect_null(secret);
}

Test(key_source, reads_an_endless_device_no_further_than_it_must)
{
	struct key_source zero = { .kind = KEY_SOURCE_FILE, .name = "/dev/zero" };
	struct key_secret *secret = NULL;

	cr_expect_eq(key_source_read(&zero, &nothing_wanted, &secret, why), -ERANGE);
}

/* A writer that stays after the line must not keep the reader waiting. */
Test(key_source, reads_a_line_from_a_pipe_in_pieces, .timeout = 10)
{
	struct key_source source = { .kind = KEY_SOURCE_PASSPHRASE };
	struct key_secret *secret = NULL;
	char name[64];
	int ends[2];

	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", ends[0]);
	source.name = name;
	if (fork() == 0) {
		(void)!write(ends[1], "two ", 4);
		usleep(20000);
		(void)!write(ends[1], "parts\nmore", 10);
		_exit(0);
	}
	cr_assert_eq(key_source_read(&source, &nothing_wanted, &secret, why), 0);
	cr_assert_eq(secret->nr_bytes, 9);
	cr_expect_arr_eq(secret->bytes, "two parts", 9);
	key_mem_free(secret);
	close(ends[0]);
	close(ends[1]);
}

Test(key_source, names_its_kinds)
{
	cr_expect_str_eq(key_source_kind_name(KEY_SOURCE_FILE), "key file");
	cr_expect_str_eq(key_source_kind_name(KEY_SOURCE_PASSPHRASE), "passphrase file");
}

Test(key_source, knows_a_sound_secret_from_what_it_never_reads)
{
	static const struct {
		unsigned int kind, nr_bytes;
		bool sound;
	} cases[] = {
		{ KEY_SOURCE_FILE, KEY_FILE_BYTES_MIN - 1, false },
		{ KEY_SOURCE_FILE, KEY_FILE_BYTES_MIN, true },
		{ KEY_SOURCE_FILE, KEY_FILE_BYTES_MAX, true },
		{ KEY_SOURCE_FILE, KEY_FILE_BYTES_MAX + 1, false },
		{ KEY_SOURCE_FILE, UINT32_MAX, false },
		{ KEY_SOURCE_PASSPHRASE, 0, false },
		{ KEY_SOURCE_PASSPHRASE, 1, true },
		{ KEY_SOURCE_PASSPHRASE, PASSPHRASE_BYTES_MAX, true },
		{ KEY_SOURCE_PASSPHRASE, PASSPHRASE_BYTES_MAX + 1, false },
		{ 77, 64, false },
		{ UINT32_MAX, 64, false },
	};
	struct key_secret *secret = secret_of(KEY_SOURCE_FILE, "");

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		secret->kind = (enum key_source_kind)cases[i].kind;
		secret->nr_bytes = cases[i].nr_bytes;
		cr_expect_eq(key_secret_is_sound(secret), cases[i].sound, "case %zu", i);
	}
	secret->kind = KEY_SOURCE_PASSPHRASE;
	secret->nr_bytes = 9;
	memcpy(secret->bytes, "two\nlines", 9);
	cr_expect(!key_secret_is_sound(secret));
	key_mem_free(secret);
}

Test(key_source, knows_a_key_of_equal_bytes_to_be_weak)
{
	struct key_secret *secret = secret_of(KEY_SOURCE_FILE, "");

	secret->nr_bytes = 64;
	cr_expect(key_secret_is_weak(secret));
	secret->bytes[63] = 1;
	cr_expect(!key_secret_is_weak(secret));
	secret->nr_bytes = 63;
	cr_expect(key_secret_is_weak(secret));
	secret->bytes[0] = 1;
	cr_expect(!key_secret_is_weak(secret));
	secret->nr_bytes = 1;
	cr_expect(key_secret_is_weak(secret));
	key_mem_free(secret);
}

Test(key_source, reads_a_credential_from_the_folder_that_systemd_names)
{
	struct key_source source = { .kind = KEY_SOURCE_CREDENTIAL, .name = "secret" };
	static const char *const bad[] = { "", ".", "..", "/etc/passwd", "../secret", "a/secret" };
	struct key_secret *secret = NULL;
	char folder[32];

	enter_folder(folder);
	write_file("secret", "raw bytes, with their newline\n\n\n\n", 33);
	cr_assert_eq(unsetenv("CREDENTIALS_DIRECTORY"), 0);
	cr_expect_eq(key_source_read(&source, &nothing_wanted, &secret, why), -ENXIO);
	cr_assert_eq(setenv("CREDENTIALS_DIRECTORY", folder, 1), 0);
	cr_assert_eq(key_source_read(&source, &nothing_wanted, &secret, why), 0);
	cr_expect_eq(secret->kind, KEY_SOURCE_FILE);
	cr_expect_eq(secret->nr_bytes, 33);
	key_mem_free(secret);
	secret = NULL;

	write_file("secret", "too short", 9);
	cr_expect_eq(key_source_read(&source, &nothing_wanted, &secret, why), -ERANGE);
	source.name = "missing";
	cr_expect_eq(key_source_read(&source, &nothing_wanted, &secret, why), -ENOENT);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		source.name = bad[i];
		cr_expect_eq(key_source_read(&source, &nothing_wanted, &secret, why), -EINVAL,
			     "\"%s\"", bad[i]);
	}
	cr_expect_null(secret);
	leave_folder(folder, the_file);
}

Test(key_source, of_no_kind_is_refused)
{
	struct key_source source = { .kind = KEY_SOURCE_KINDS, .name = "/dev/zero" };
	struct key_secret *secret;

	cr_expect_eq(key_source_read(&source, &nothing_wanted, &secret, why), -EINVAL);
}
