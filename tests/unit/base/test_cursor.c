/* SPDX-License-Identifier: MIT */
/* The cursor over untrusted bytes, and the integers it and byteorder.h read. */
#include "base/cursor.h"

#include <criterion/criterion.h>
#include <string.h>

static const uint8_t counting[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };

Test(cursor, reads_integers_of_both_byte_orders)
{
	struct cursor c = cursor_of(counting, 8);

	cr_expect_eq(cursor_be64(&c), 0x0102030405060708);
	c = cursor_of(counting, 8);
	cr_expect_eq(cursor_le64(&c), 0x0807060504030201);
	c = cursor_of(counting, 8);
	cr_expect_eq(cursor_be32(&c), 0x01020304);
	cr_expect_eq(cursor_le32(&c), 0x08070605);
	c = cursor_of(counting, 8);
	cr_expect_eq(cursor_be16(&c), 0x0102);
	cr_expect_eq(cursor_le16(&c), 0x0403);
	cr_expect_eq(cursor_u8(&c), 5);
	cr_expect_eq(c.left_bytes, 3u);
	cr_expect_not(c.overrun);
}

Test(cursor, keeps_the_top_bit_of_every_width)
{
	static const uint8_t ones[8] = { 255, 255, 255, 255, 255, 255, 255, 255 };
	struct cursor c = cursor_of(ones, 8);

	cr_expect_eq(cursor_be64(&c), UINT64_MAX);
	c = cursor_of(ones, 8);
	cr_expect_eq(cursor_le64(&c), UINT64_MAX);
	c = cursor_of(ones, 8);
	cr_expect_eq(cursor_be32(&c), UINT32_MAX);
	cr_expect_eq(cursor_le32(&c), UINT32_MAX);
}

Test(cursor, may_be_emptied_exactly)
{
	struct cursor c = cursor_of(counting, 8);

	cr_expect_eq(cursor_take(&c, 8), counting);
	cr_expect_not(c.overrun);
	cr_expect_not_null(cursor_take(&c, 0));
	cr_expect_not(c.overrun);
}

Test(cursor, yields_zeros_for_good_after_reading_past_the_end)
{
	struct cursor c = cursor_of(counting, 3);

	cr_expect_eq(cursor_be32(&c), 0x01020000, "the half that is there is read");
	cr_expect(c.overrun);
	cr_expect_eq(cursor_u8(&c), 0, "one byte is left, but the cursor is spent");
	cr_expect_null(cursor_take(&c, 0));
	cr_expect_eq(cursor_le64(&c), 0u);
	cr_expect(c.overrun);
}

Test(cursor, refuses_a_length_that_would_wrap_a_pointer)
{
	struct cursor c = cursor_of(counting, 8);

	cr_expect_null(cursor_take(&c, SIZE_MAX));
	cr_expect(c.overrun);
	cr_expect_eq(c.left_bytes, 8u);
}

Test(cursor, of_nothing_has_nothing)
{
	struct cursor c = cursor_of(NULL, 0);

	cr_expect_eq(cursor_u8(&c), 0);
	cr_expect(c.overrun);
}

Test(byteorder, writes_bytes_in_the_order_its_name_says)
{
	be64 big = be64_of(0x0102030405060708);
	le64 little = le64_of(0x0807060504030201);
	be32 big32 = be32_of(0x01020304);
	le32 little32 = le32_of(0x04030201);
	be16 big16 = be16_of(0x0102);
	le16 little16 = le16_of(0x0201);

	cr_expect_arr_eq(big.b, counting, 8);
	cr_expect_arr_eq(little.b, counting, 8);
	cr_expect_arr_eq(big32.b, counting, 4);
	cr_expect_arr_eq(little32.b, counting, 4);
	cr_expect_arr_eq(big16.b, counting, 2);
	cr_expect_arr_eq(little16.b, counting, 2);
}

Test(byteorder, reads_back_what_it_wrote)
{
	static const uint64_t values[] = {
		0, 1, 0x80, 0x8000, 0x80000000, 0x8000000000000000, UINT64_MAX, 0x0123456789abcdef
	};

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		cr_expect_eq(be64_get(be64_of(values[i])), values[i]);
		cr_expect_eq(le64_get(le64_of(values[i])), values[i]);
		cr_expect_eq(be32_get(be32_of((uint32_t)values[i])), (uint32_t)values[i]);
		cr_expect_eq(le32_get(le32_of((uint32_t)values[i])), (uint32_t)values[i]);
		cr_expect_eq(be16_get(be16_of((uint16_t)values[i])), (uint16_t)values[i]);
		cr_expect_eq(le16_get(le16_of((uint16_t)values[i])), (uint16_t)values[i]);
	}
}
