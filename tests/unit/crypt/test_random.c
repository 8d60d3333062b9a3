/* SPDX-License-Identifier: MIT */
/* Random bytes: all of them are written, and no two draws agree. */
#include <criterion/criterion.h>
#include <string.h>

#include "crypt/wrap.h"

typedef int (*draw_fn)(void *ret_bytes, size_t nr_bytes);

Test(random, fills_every_byte_and_nothing_beyond)
{
	static const draw_fn draws[] = { random_private, random_public };

	for (size_t i = 0; i < ARRAY_LEN(draws); i++) {
		uint8_t seen[40] = { 0 };

		/* A byte that stays 0 in 16 draws has not been written: 2^-128 by chance. */
		for (int round = 0; round < 16; round++) {
			uint8_t bytes[41] = { 0 };

			cr_assert_eq(draws[i](bytes, 40), 0);
			for (int n = 0; n < 40; n++)
				seen[n] |= bytes[n];
			cr_expect_eq(bytes[40], 0);
		}
		for (int n = 0; n < 40; n++)
			cr_expect_neq(seen[n], 0, "byte %d", n);
	}
}

Test(random, draws_differ)
{
	uint8_t a[32], b[32];

	cr_assert_eq(random_private(a, sizeof(a)), 0);
	cr_assert_eq(random_private(b, sizeof(b)), 0);
	cr_expect_arr_neq(a, b, sizeof(a));
	cr_assert_eq(random_public(a, sizeof(a)), 0);
	cr_assert_eq(random_public(b, sizeof(b)), 0);
	cr_expect_arr_neq(a, b, sizeof(a));
}
