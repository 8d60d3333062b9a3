/* SPDX-License-Identifier: MIT */
/* Files for tests of keys: each test runs in a process of its own, in a folder of its own. */
#ifndef TESTS_KEYS_FIXTURE_H
#define TESTS_KEYS_FIXTURE_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "keys/key_mem.h"
#include "keys/key_source.h"

/* Makes a folder and goes there. */
static inline void enter_folder(char path[static 32])
{
	strcpy(path, "/tmp/sealblk-keys-XXXXXX");
	cr_assert_not_null(mkdtemp(path));
	cr_assert_eq(chdir(path), 0);
}

/* @names: what the test made there, ended by NULL. */
static inline void leave_folder(const char *path, const char *const *names)
{
	for (; *names; names++)
		cr_assert_eq(unlink(*names), 0, "%s", *names);
	cr_assert_eq(chdir("/"), 0);
	cr_assert_eq(rmdir(path), 0);
}

static inline void write_file(const char *name, const void *bytes, size_t nr_bytes)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, bytes, nr_bytes), (ssize_t)nr_bytes);
	close(fd);
}

/* A secret as key_source_read() gives it, without a file. */
static inline struct key_secret *secret_of(enum key_source_kind kind, const char *text)
{
	struct key_secret *secret = key_mem_new(sizeof(*secret));

	cr_assert_not_null(secret);
	secret->kind = kind;
	secret->nr_bytes = (uint32_t)strlen(text);
	memcpy(secret->bytes, text, secret->nr_bytes);
	return secret;
}

#endif
