/* SPDX-License-Identifier: MIT */
/* CRC32C: published answers, and its two implementations against each other. */
#include "base/crc32c.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/compiler.h"
#include "base/crc32c_table.h"

typedef uint32_t (*crc_function)(uint32_t crc, const void *bytes, size_t nr_bytes);

/* Every implementation this processor can run. */
static size_t crc_functions(crc_function ret_functions[3])
{
	ret_functions[0] = crc32c;
	ret_functions[1] = crc32c_portable;
	ret_functions[2] = crc32c_sse42;
	return crc32c_sse42_supported() ? 3 : 2;
}

/* Bytes that look random and are the same every time. */
static void fill(uint8_t *bytes, size_t nr_bytes)
{
	uint32_t state = 12345;

	for (size_t i = 0; i < nr_bytes; i++) {
		state = state * 1664525 + 1013904223;
		bytes[i] = (uint8_t)(state >> 24);
	}
}

/* The definition, a bit at a time. */
static uint32_t crc_by_bits(uint32_t remainder)
{
	for (int bit = 0; bit < 8; bit++)
		remainder = remainder >> 1 ^ (remainder & 1 ? 0x82f63b78 : 0);
	return remainder;
}

Test(crc32c, gives_the_published_check_value)
{
	crc_function functions[3];

	for (size_t i = 0, n = crc_functions(functions); i < n; i++)
		cr_expect_eq(functions[i](0, "123456789", 9), 0xe3069283, "function %zu", i);
}

/* RFC 3720 B.4: 32 bytes of zeros, of ones, counting up, counting down. */
Test(crc32c, gives_the_answers_of_rfc_3720)
{
	static const uint32_t answers[4] = { 0x8a9136aa, 0x62a8ab43, 0x46dd794e, 0x113fdb5c };
	uint8_t bytes[4][32];
	crc_function functions[3];
	size_t nr_functions = crc_functions(functions);

	memset(bytes[0], 0, 32);
	memset(bytes[1], 0xff, 32);
	for (uint8_t i = 0; i < 32; i++) {
		bytes[2][i] = i;
		bytes[3][i] = 31 - i;
	}
	for (size_t f = 0; f < nr_functions; f++)
		for (size_t i = 0; i < ARRAY_LEN(answers); i++)
			cr_expect_eq(functions[f](0, bytes[i], 32), answers[i],
				     "function %zu, vector %zu", f, i);
}

Test(crc32c, of_no_bytes_is_what_was_given)
{
	crc_function functions[3];

	for (size_t i = 0, n = crc_functions(functions); i < n; i++) {
		cr_expect_eq(functions[i](0, "", 0), 0);
		cr_expect_eq(functions[i](0xdeadbeef, "", 0), 0xdeadbeef);
	}
}

Test(crc32c, can_be_computed_in_two_parts_cut_anywhere)
{
	uint8_t bytes[67];
	crc_function functions[3];
	size_t nr_functions = crc_functions(functions);

	fill(bytes, sizeof(bytes));
	for (size_t f = 0; f < nr_functions; f++) {
		uint32_t whole = functions[f](0, bytes, sizeof(bytes));

		for (size_t cut = 0; cut <= sizeof(bytes); cut++) {
			uint32_t crc = functions[f](0, bytes, cut);

			crc = functions[f](crc, bytes + cut, sizeof(bytes) - cut);
			cr_expect_eq(crc, whole, "function %zu, cut at %zu", f, cut);
		}
	}
}

Test(crc32c, implementations_agree_at_every_length_and_alignment)
{
	uint8_t bytes[8 + 300];
	crc_function functions[3];
	size_t nr_functions = crc_functions(functions);

	fill(bytes, sizeof(bytes));
	for (size_t start = 0; start < 8; start++)
		for (size_t n = 0; n <= 300; n++) {
			uint32_t crc = crc32c_portable((uint32_t)n, bytes + start, n);

			for (size_t f = 0; f < nr_functions; f++)
				cr_assert_eq(functions[f]((uint32_t)n, bytes + start, n), crc,
					     "function %zu, %zu bytes from %zu", f, n, start);
		}
}

/* The instruction goes over long ones in stripes. */
Test(crc32c, implementations_agree_on_long_inputs)
{
	uint8_t bytes[3 * 4096];
	crc_function functions[3];
	size_t nr_functions = crc_functions(functions);

	fill(bytes, sizeof(bytes));
	for (size_t n = 1300; n <= sizeof(bytes); n += 1 + n % 37) {
		uint32_t crc = crc32c_portable((uint32_t)n, bytes, n);

		for (size_t f = 0; f < nr_functions; f++)
			cr_assert_eq(functions[f]((uint32_t)n, bytes, n), crc,
				     "function %zu, %zu bytes", f, n);
	}
}

Test(crc32c, notices_every_flipped_bit_of_a_block)
{
	uint8_t block[4096];
	uint32_t crc;

	fill(block, sizeof(block));
	crc = crc32c(0, block, sizeof(block));
	for (size_t bit = 0; bit < sizeof(block) * 8; bit++) {
		block[bit / 8] ^= (uint8_t)(1 << bit % 8);
		cr_assert_neq(crc32c(0, block, sizeof(block)), crc, "bit %zu", bit);
		block[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

Test(crc32c, table_holds_what_the_polynomial_gives)
{
	for (uint32_t byte = 0; byte < 256; byte++) {
		uint32_t remainder = byte;

		for (size_t k = 0; k < 8; k++) {
			remainder = crc_by_bits(remainder);
			cr_expect_eq(crc32c_table[k][byte], remainder, "[%zu][%u]", k, byte);
		}
	}
}
