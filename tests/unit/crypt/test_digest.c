/* SPDX-License-Identifier: MIT */
/* SHA-256 in pieces, against the example of FIPS 180-4. */
#include <criterion/criterion.h>
#include <string.h>

#include "crypt/wrap.h"
#include "unit/crypt/hex.h"

static const char message[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";

Test(digest, is_the_same_however_the_bytes_are_cut)
{
	size_t nr_bytes = strlen(message);
	uint8_t wanted[32], digest[32];

	unhex("248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1", wanted,
	      sizeof(wanted));
	for (size_t cut = 0; cut <= nr_bytes; cut++) {
		struct digest_ctx ctx = { 0 };

		cr_assert_eq(digest_init(&ctx), 0);
		cr_assert_eq(digest_add(&ctx, message, cut), 0);
		cr_assert_eq(digest_add(&ctx, message + cut, nr_bytes - cut), 0);
		cr_assert_eq(digest_end(&ctx, digest), 0);
		cr_expect_arr_eq(digest, wanted, sizeof(wanted), "cut at %zu", cut);
		cr_expect_null(ctx.impl);
	}
}

Test(digest, can_be_given_up)
{
	struct digest_ctx ctx = { 0 };

	digest_done(&ctx);
	cr_assert_eq(digest_init(&ctx), 0);
	digest_done(&ctx);
	cr_expect_null(ctx.impl);
}
