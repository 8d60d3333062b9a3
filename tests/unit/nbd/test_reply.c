/* SPDX-License-Identifier: MIT */
/* Reply headers, byte by byte as proto.md draws them. */
#include "nbd/reply.h"

#include <criterion/criterion.h>
#include <string.h>

#include "sealblk/limits.h"

static const uint64_t cookie = 0xa1a2a3a4a5a6a7a8;
#define COOKIE "\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8"

static uint8_t out[NBDS_HEADER_BYTES_MAX + 8];

static void expect(size_t got_bytes, const char *wanted, size_t wanted_bytes)
{
	cr_assert_eq(got_bytes, wanted_bytes);
	cr_assert_arr_eq(out, wanted, wanted_bytes);
}
#define EXPECT(encoded, literal) expect(encoded, literal, sizeof(literal) - 1)

Test(nbds_reply, simple_reply_is_magic_error_cookie)
{
	EXPECT(nbds_encode_simple(out, cookie, NBD_OK), "\x67\x44\x66\x98\0\0\0\0" COOKIE);
	EXPECT(nbds_encode_simple(out, cookie, NBD_ESHUTDOWN), "\x67\x44\x66\x98\0\0\0\x6c" COOKIE);
}

Test(nbds_reply, none_is_always_the_last_chunk)
{
	EXPECT(nbds_encode_none(out, cookie), "\x66\x8e\x33\xef\0\1\0\0" COOKIE "\0\0\0\0");
}

Test(nbds_reply, data_counts_its_offset_into_the_length)
{
	EXPECT(nbds_encode_data(out, cookie, false, 0x0102030405060708, 512),
	       "\x66\x8e\x33\xef\0\0\0\1" COOKIE "\0\0\2\x08\1\2\3\4\5\6\7\x08");
	EXPECT(nbds_encode_data(out, cookie, true, 0, REQ_BYTES_MAX),
	       "\x66\x8e\x33\xef\0\1\0\1" COOKIE "\2\0\0\x08\0\0\0\0\0\0\0\0");
}

Test(nbds_reply, hole_is_twelve_bytes)
{
	EXPECT(nbds_encode_hole(out, cookie, true, 1 << 20, 0xfffffe00),
	       "\x66\x8e\x33\xef\0\1\0\2" COOKIE "\0\0\0\x0c\0\0\0\0\0\x10\0\0\xff\xff\xfe\0");
	EXPECT(nbds_encode_hole(out, cookie, false, 0, 512),
	       "\x66\x8e\x33\xef\0\0\0\2" COOKIE "\0\0\0\x0c\0\0\0\0\0\0\0\0\0\0\2\0");
}

Test(nbds_reply, status_counts_its_extents_into_the_length)
{
	EXPECT(nbds_encode_status(out, cookie, false, 1, 1),
	       "\x66\x8e\x33\xef\0\0\0\5" COOKIE "\0\0\0\x0c\0\0\0\1");
	EXPECT(nbds_encode_status(out, cookie, true, 2, REQ_EXTENTS_MAX),
	       "\x66\x8e\x33\xef\0\1\0\5" COOKIE "\0\0\x20\4\0\0\0\2");
	EXPECT(nbds_encode_extent(out, 0xfffffe00, 3), "\xff\xff\xfe\0\0\0\0\3");
}

Test(nbds_reply, error_carries_its_text)
{
	EXPECT(nbds_encode_error(out, cookie, NBD_EPERM, "no"),
	       "\x66\x8e\x33\xef\0\1\x80\1" COOKIE "\0\0\0\x08\0\0\0\1\0\2no");
	EXPECT(nbds_encode_error(out, cookie, NBD_EINVAL, NULL),
	       "\x66\x8e\x33\xef\0\1\x80\1" COOKIE "\0\0\0\6\0\0\0\x16\0\0");
}

Test(nbds_reply, a_text_that_is_too_long_is_cut_and_nothing_else_is_touched)
{
	char text[5000];
	size_t got_bytes;

	memset(text, 't', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	memset(out, 0xee, sizeof(out));
	got_bytes = nbds_encode_error(out, cookie, NBD_EIO, text);
	cr_assert_eq(got_bytes, NBDS_ERROR_BYTES_MAX);
	cr_assert_eq(out[19], 6 + NBDS_ERROR_TEXT_BYTES_MAX);
	cr_assert_eq(out[25], NBDS_ERROR_TEXT_BYTES_MAX);
	cr_assert_eq(out[NBDS_ERROR_BYTES_MAX - 1], 't');
	cr_assert_eq(out[NBDS_ERROR_BYTES_MAX], 0xee);
}
