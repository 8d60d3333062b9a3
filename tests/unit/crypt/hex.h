/* SPDX-License-Identifier: MIT */
/* Test vectors as the standards print them. */
#ifndef TESTS_CRYPT_HEX_H
#define TESTS_CRYPT_HEX_H

#include <criterion/criterion.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Decodes all of @hex. Returns the number of bytes; more than @bytes_max is a broken test. */
static inline size_t unhex(const char *hex, uint8_t *ret_bytes, size_t bytes_max)
{
	size_t nr_bytes = strlen(hex) / 2;

	cr_assert_leq(nr_bytes, bytes_max);
	for (size_t i = 0; i < nr_bytes; i++)
		cr_assert_eq(sscanf(hex + 2 * i, "%2hhx", &ret_bytes[i]), 1);
	return nr_bytes;
}

#endif
