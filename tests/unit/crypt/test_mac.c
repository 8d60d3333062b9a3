/* SPDX-License-Identifier: MIT */
/* HMAC-SHA-256 against RFC 4231. */
#include "crypt/mac.h"

#include <criterion/criterion.h>
#include <string.h>

#include "unit/crypt/hex.h"

/* HMAC pads a short key with zeros, so the shorter keys of the RFC fit our 32 bytes. */
static const struct {
	const char *key, *data, *mac;
} rfc4231[] = {
	{ "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
	  "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
	{ "4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	  "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
	{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	  "dddddddddddddddddddddddddddddddddddddddddddddddddddd"
	  "dddddddddddddddddddddddddddddddddddddddddddddddd",
	  "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe" },
	{ "0102030405060708090a0b0c0d0e0f10111213141516171819",
	  "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
	  "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
	  "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b" },
};

Test(mac, gives_the_answers_of_rfc_4231_again_and_again)
{
	for (size_t i = 0; i < ARRAY_LEN(rfc4231); i++) {
		uint8_t key[MAC_KEY_BYTES] = { 0 };
		uint8_t data[64], wanted[MAC_BYTES], mac[MAC_BYTES];
		size_t data_bytes = unhex(rfc4231[i].data, data, sizeof(data));
		struct mac_ctx ctx = { 0 };

		unhex(rfc4231[i].key, key, sizeof(key));
		unhex(rfc4231[i].mac, wanted, sizeof(wanted));
		cr_assert_eq(mac_init(&ctx, key), 0);
		memset(key, 0xee, sizeof(key)); /* it has been copied */
		for (int round = 0; round < 3; round++) {
			cr_assert_eq(mac_compute(&ctx, data, data_bytes, mac), 0);
			cr_expect_arr_eq(mac, wanted, MAC_BYTES, "case %zu", i + 1);
			cr_expect(mac_equal(mac, wanted));
		}
		mac_done(&ctx);
		cr_expect_null(ctx.impl);
	}
}

Test(mac, equal_sees_a_difference_in_every_byte)
{
	uint8_t a[MAC_BYTES] = { 0 }, b[MAC_BYTES] = { 0 };

	cr_expect(mac_equal(a, b));
	for (int i = 0; i < MAC_BYTES; i++) {
		b[i] = 0x01;
		cr_expect_not(mac_equal(a, b), "byte %d", i);
		b[i] = 0;
	}
}

Test(mac, done_accepts_a_zeroed_struct)
{
	struct mac_ctx ctx = { 0 };

	mac_done(&ctx);
	cr_expect_null(ctx.impl);
}
