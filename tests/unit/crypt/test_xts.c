/* SPDX-License-Identifier: MIT */
/* XTS: vectors, runs, keys, and the choice of an implementation. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "crypt/wrap.h"
#include "crypt/xts.h"
#include "crypt/xts_selftest.h"
#include "sealblk/units.h"
#include "unit/crypt/hex.h"
#include "vectors/xts_ieee1619.h"

static struct xts_key vector_key(void)
{
	struct xts_key key;

	unhex(xts_ieee1619_key, key.bytes, sizeof(key.bytes));
	return key;
}

/* The plaintext of vectors 10 to 14. */
static void fill_plain(uint8_t *data, uint32_t nr_sectors)
{
	for (size_t i = 0; i < (size_t)nr_sectors * SECTOR_BYTES; i++)
		data[i] = (uint8_t)i;
}

static const struct xts_ops *best(void)
{
	const struct xts_ops *ops;
	bool fell_back;

	cr_assert_eq(xts_select(NULL, &ops, &fell_back), 0);
	cr_expect_not(fell_back);
	return ops;
}

static const char *const names[] = { "vaes512", "vaes256", "aesni", "openssl" };

/* NULL: not on this processor. */
static const struct xts_ops *find(const char *name)
{
	const struct xts_ops *ops = NULL;
	bool fell_back = false;
	int r = xts_select(name, &ops, &fell_back);

	cr_assert(r == 0 || r == -ENOENT);
	cr_assert_not(fell_back, "%s fails its self-test", name);
	return ops;
}

static void expect_known_answers(const struct xts_ops *ops)
{
	struct xts_key key = vector_key();
	uint8_t plain[SECTOR_BYTES], wanted[SECTOR_BYTES], data[SECTOR_BYTES];
	struct xts xts;

	fill_plain(plain, 1);
	cr_assert_eq(xts_init(&xts, ops, &key), 0);
	for (size_t i = 0; i < ARRAY_LEN(xts_ieee1619_vectors); i++) {
		const struct xts_ieee1619_vector *v = &xts_ieee1619_vectors[i];

		cr_assert_eq(unhex(v->ciphertext, wanted, sizeof(wanted)), SECTOR_BYTES);
		memcpy(data, plain, SECTOR_BYTES);
		xts_encrypt(&xts, v->data_unit, 1, data);
		cr_expect_arr_eq(data, wanted, SECTOR_BYTES, "%s, vector %zu", ops->name, 10 + i);
		xts_decrypt(&xts, v->data_unit, 1, data);
		cr_expect_arr_eq(data, plain, SECTOR_BYTES, "%s, vector %zu, back", ops->name,
				 10 + i);
	}
	xts_done(&xts);
}

Test(xts, gives_the_known_answers_of_ieee_1619)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const struct xts_ops *ops = find(names[i]);

		if (ops)
			expect_known_answers(ops);
	}
}

enum { LOT_SECTORS = 200, LOT_BYTES = LOT_SECTORS * SECTOR_BYTES + 256 };

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13; /* xorshift64 (Marsaglia, 2003) */
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Of any number, length and address: as OpenSSL does it, and nothing beside it. */
static void expect_agreement(struct xts *xts, struct xts *reference, uint64_t *random)
{
	static uint8_t before[LOT_BYTES], ours[LOT_BYTES], wanted[LOT_BYTES];
	const uint64_t first = next_random(random) >> next_random(random) % 60;
	const uint32_t nr = 1 + (uint32_t)(next_random(random) % LOT_SECTORS);
	const size_t at = next_random(random) % 128;

	for (size_t i = 0; i < LOT_BYTES; i++)
		before[i] = (uint8_t)next_random(random);
	memcpy(ours, before, LOT_BYTES);
	memcpy(wanted, before, LOT_BYTES);
	xts_encrypt(xts, first, nr, ours + at);
	xts_encrypt(reference, first, nr, wanted + at);
	cr_assert_arr_eq(ours, wanted, LOT_BYTES, "%s: %u sectors from %llu, at %zu",
			 xts->ops->name, nr, (unsigned long long)first, at);
	xts_decrypt(xts, first, nr, ours + at);
	cr_assert_arr_eq(ours, before, LOT_BYTES, "%s: back: %u sectors from %llu, at %zu",
			 xts->ops->name, nr, (unsigned long long)first, at);
}

Test(xts, every_kernel_agrees_with_openssl)
{
	uint64_t random = UINT64_C(0x5ea1b10c);

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const struct xts_ops *ops = find(names[i]);

		for (int round = 0; ops && round < 100; round++) {
			struct xts xts, reference;
			struct xts_key key;

			for (size_t b = 0; b < sizeof(key.bytes); b++)
				key.bytes[b] = (uint8_t)next_random(&random);
			cr_assert_eq(xts_init(&xts, ops, &key), 0);
			cr_assert_eq(xts_init(&reference, &xts_openssl_ops, &key), 0);
			expect_agreement(&xts, &reference, &random);
			xts_done(&xts);
			xts_done(&reference);
		}
	}
}

Test(xts, numbers_the_sectors_of_a_run_one_by_one)
{
	enum { RUN = 5 };
	struct xts_key key = vector_key();
	uint8_t run[RUN * SECTOR_BYTES], single[RUN * SECTOR_BYTES];
	struct xts xts;

	fill_plain(run, RUN);
	fill_plain(single, RUN);
	cr_assert_eq(xts_init(&xts, best(), &key), 0);
	xts_encrypt(&xts, 0xfffffffe, RUN, run);
	for (uint32_t i = 0; i < RUN; i++)
		xts_encrypt(&xts, UINT64_C(0xfffffffe) + i, 1, single + i * SECTOR_BYTES);
	cr_expect_arr_eq(run, single, sizeof(run));
	xts_done(&xts);
}

Test(xts, refuses_a_key_with_equal_halves)
{
	struct xts_key key = vector_key();
	struct xts xts = { 0 };

	cr_expect_not(xts_key_is_weak(&key));
	memcpy(key.bytes, key.bytes + XTS_KEY_BYTES / 2, XTS_KEY_BYTES / 2);
	cr_expect(xts_key_is_weak(&key));
	cr_expect_eq(xts_init(&xts, &xts_openssl_ops, &key), -EINVAL);
	cr_expect_null(xts.ops);
	key.bytes[XTS_KEY_BYTES - 1] ^= 0x80;
	cr_expect_not(xts_key_is_weak(&key));
}

Test(xts, done_accepts_a_zeroed_struct_and_leaves_one)
{
	struct xts_key key = vector_key();
	struct xts xts = { 0 };

	xts_done(&xts);
	cr_assert_eq(xts_init(&xts, &xts_openssl_ops, &key), 0);
	xts_done(&xts);
	cr_expect_null(xts.ops);
	cr_expect_null(xts.impl);
}

Test(xts, key_of_a_tib_is_hkdf_of_label_and_number)
{
	struct xts_key plane = vector_key(), got;
	uint8_t info[22] = "sealblk xts v1";
	uint8_t wanted[XTS_KEY_BYTES];

	info[14] = 0x34; /* TiB 0x1234, little-endian behind the label */
	info[15] = 0x12;
	cr_assert_eq(kdf_hkdf_sha512(plane.bytes, sizeof(plane.bytes), NULL, 0, info, sizeof(info),
				     wanted, sizeof(wanted)),
		     0);
	cr_assert_eq(xts_key_of_tib(&plane, 0x1234, &got), 0);
	cr_expect_arr_eq(got.bytes, wanted, sizeof(wanted));
}

Test(xts, each_tib_has_its_own_key_and_none_is_the_plane_key)
{
	struct xts_key plane = vector_key(), first, second;

	cr_assert_eq(xts_key_of_tib(&plane, 0, &first), 0);
	cr_assert_eq(xts_key_of_tib(&plane, 1, &second), 0);
	cr_expect_arr_neq(first.bytes, plane.bytes, XTS_KEY_BYTES);
	cr_expect_arr_neq(first.bytes, second.bytes, XTS_KEY_BYTES);
}

Test(xts_select, finds_by_name_and_takes_the_best_for_auto)
{
	const struct xts_ops *ops = NULL;
	bool fell_back = true;

	cr_expect_eq(xts_select("openssl", &ops, &fell_back), 0);
	cr_expect_eq(ops, &xts_openssl_ops);
	cr_expect_not(fell_back);
	cr_expect_eq(xts_select("auto", &ops, &fell_back), 0);
	cr_expect_eq(ops, best());
}

Test(xts_select, does_not_know_other_names)
{
	const struct xts_ops *ops = &xts_openssl_ops;
	bool fell_back;

	cr_expect_eq(xts_select("none", &ops, &fell_back), -ENOENT);
	cr_expect_eq(xts_select("", &ops, &fell_back), -ENOENT);
	cr_expect_eq(ops, &xts_openssl_ops, "untouched");
}

/* Implementations with one fault each, made of the good one. */

static bool never(void)
{
	return false;
}

static void encrypt_32_bit_sectors(struct xts *xts, uint64_t first, uint32_t n, uint8_t *data)
{
	for (uint32_t i = 0; i < n; i++)
		xts_openssl_ops.encrypt(xts,
					(first & ~UINT64_C(0xffffffff)) | (uint32_t)(first + i), 1,
					data + (size_t)i * SECTOR_BYTES);
}

static void encrypt_one_byte_too_far(struct xts *xts, uint64_t first, uint32_t n, uint8_t *data)
{
	xts_openssl_ops.encrypt(xts, first, n, data);
	if (n > 1)
		data[(size_t)n * SECTOR_BYTES] ^= 1;
}

static void encrypt_without_the_17th_sector(struct xts *xts, uint64_t first, uint32_t n,
					    uint8_t *data)
{
	xts_openssl_ops.encrypt(xts, first, n < 16 ? n : 16, data);
	if (n > 17)
		xts_openssl_ops.encrypt(xts, first + 17, n - 17, data + 17 * SECTOR_BYTES);
}

static void decrypt_nothing(struct xts *xts, uint64_t first, uint32_t n, uint8_t *data)
{
	(void)xts, (void)first, (void)n, (void)data;
}

static int init_fails(struct xts *xts, const struct xts_key *key)
{
	(void)xts, (void)key;
	return -ENOMEM;
}

Test(xts_self_test, catches_each_fault)
{
	struct xts_ops faulty[5];

	for (size_t i = 0; i < ARRAY_LEN(faulty); i++)
		faulty[i] = xts_openssl_ops;
	cr_assert_eq(xts_self_test(&faulty[0]), 0, "nothing is wrong yet");
	faulty[0].encrypt = encrypt_32_bit_sectors;
	faulty[1].encrypt = encrypt_one_byte_too_far;
	faulty[2].encrypt = encrypt_without_the_17th_sector;
	faulty[3].decrypt = decrypt_nothing;
	faulty[4].init = init_fails;
	for (size_t i = 0; i < ARRAY_LEN(faulty); i++)
		cr_expect_eq(xts_self_test(&faulty[i]), -EIO, "fault %zu", i);
}

Test(xts_select, falls_back_to_the_last_row_when_the_first_fails)
{
	struct xts_ops faulty = xts_openssl_ops;
	const struct xts_ops *const rows[] = { &faulty, &xts_openssl_ops };
	const struct xts_ops *ops = NULL;
	bool fell_back = false;

	faulty.name = "faulty";
	faulty.decrypt = decrypt_nothing;
	cr_expect_eq(xts_select_among(rows, 2, "faulty", &ops, &fell_back), 0);
	cr_expect_eq(ops, &xts_openssl_ops);
	cr_expect(fell_back);
}

Test(xts_select, has_nothing_when_the_last_row_fails_too)
{
	struct xts_ops faulty = xts_openssl_ops;
	const struct xts_ops *const rows[] = { &faulty, &faulty };
	const struct xts_ops *ops = NULL;
	bool fell_back;

	faulty.decrypt = decrypt_nothing;
	cr_expect_eq(xts_select_among(rows, 2, NULL, &ops, &fell_back), -EIO);
	cr_expect_null(ops);
}

Test(xts_select, skips_what_the_processor_lacks)
{
	struct xts_ops foreign = xts_openssl_ops;
	const struct xts_ops *const rows[] = { &foreign, &xts_openssl_ops };
	const struct xts_ops *ops = NULL;
	bool fell_back = true;

	foreign.name = "foreign";
	foreign.supported = never;
	cr_expect_eq(xts_select_among(rows, 2, "foreign", &ops, &fell_back), -ENOENT);
	cr_expect_eq(xts_select_among(rows, 2, NULL, &ops, &fell_back), 0);
	cr_expect_eq(ops, &xts_openssl_ops);
	cr_expect_not(fell_back);
}
