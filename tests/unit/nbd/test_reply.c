/* SPDX-License-Identifier: MIT */
/* Reply headers, byte by byte as proto.md draws them. */
#include "nbd/reply.h"

#include <criterion/criterion.h>
#include <string.h>

#include "sealblk/limits.h"

static const struct nbds_request compact = {
	.cookie = 0xa1a2a3a4a5a6a7a8,
	.offset_bytes = 0xb1b2b3b4b5b6b7b8,
};
static const struct nbds_request extended = {
	.cookie = 0xa1a2a3a4a5a6a7a8,
	.offset_bytes = 0xb1b2b3b4b5b6b7b8,
	.extended = true,
};
#define COOKIE "\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8"
#define OFFSET "\xb1\xb2\xb3\xb4\xb5\xb6\xb7\xb8"

static uint8_t out[NBDS_HEADER_BYTES_MAX + 8];

static void expect(size_t got_bytes, const char *wanted, size_t wanted_bytes)
{
	cr_assert_eq(got_bytes, wanted_bytes);
	cr_assert_arr_eq(out, wanted, wanted_bytes);
}
#define EXPECT(encoded, literal) expect(encoded, literal, sizeof(literal) - 1)

Test(nbds_reply, simple_reply_is_magic_error_cookie)
{
	EXPECT(nbds_encode_simple(out, &compact, NBD_OK), "\x67\x44\x66\x98\0\0\0\0" COOKIE);
	EXPECT(nbds_encode_simple(out, &compact, NBD_ESHUTDOWN),
	       "\x67\x44\x66\x98\0\0\0\x6c" COOKIE);
}

Test(nbds_reply, none_is_always_the_last_chunk)
{
	EXPECT(nbds_encode_none(out, &compact), "\x66\x8e\x33\xef\0\1\0\0" COOKIE "\0\0\0\0");
}

Test(nbds_reply, data_counts_its_offset_into_the_length)
{
	EXPECT(nbds_encode_data(out, &compact, false, 0x0102030405060708, 512),
	       "\x66\x8e\x33\xef\0\0\0\1" COOKIE "\0\0\2\x08\1\2\3\4\5\6\7\x08");
	EXPECT(nbds_encode_data(out, &compact, true, 0, REQ_BYTES_MAX),
	       "\x66\x8e\x33\xef\0\1\0\1" COOKIE "\2\0\0\x08\0\0\0\0\0\0\0\0");
}

Test(nbds_reply, hole_is_twelve_bytes)
{
	EXPECT(nbds_encode_hole(out, &compact, true, 1 << 20, 0xfffffe00),
	       "\x66\x8e\x33\xef\0\1\0\2" COOKIE "\0\0\0\x0c\0\0\0\0\0\x10\0\0\xff\xff\xfe\0");
	EXPECT(nbds_encode_hole(out, &compact, false, 0, 512),
	       "\x66\x8e\x33\xef\0\0\0\2" COOKIE "\0\0\0\x0c\0\0\0\0\0\0\0\0\0\0\2\0");
}

Test(nbds_reply, status_counts_its_extents_into_the_length)
{
	EXPECT(nbds_encode_status(out, &compact, false, 1, 1),
	       "\x66\x8e\x33\xef\0\0\0\5" COOKIE "\0\0\0\x0c\0\0\0\1");
	EXPECT(nbds_encode_status(out, &compact, true, 2, REQ_EXTENTS_MAX),
	       "\x66\x8e\x33\xef\0\1\0\5" COOKIE "\0\0\x20\4\0\0\0\2");
	EXPECT(nbds_encode_extent(out, false, 0xfffffe00, 3), "\xff\xff\xfe\0\0\0\0\3");
}

Test(nbds_reply, error_carries_its_text)
{
	EXPECT(nbds_encode_error(out, &compact, NBD_EPERM, "no"),
	       "\x66\x8e\x33\xef\0\1\x80\1" COOKIE "\0\0\0\x08\0\0\0\1\0\2no");
	EXPECT(nbds_encode_error(out, &compact, NBD_EINVAL, NULL),
	       "\x66\x8e\x33\xef\0\1\x80\1" COOKIE "\0\0\0\6\0\0\0\x16\0\0");
}

Test(nbds_reply, a_text_that_is_too_long_is_cut_and_nothing_else_is_touched)
{
	char text[5000];
	size_t got_bytes;

	memset(text, 't', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	memset(out, 0xee, sizeof(out));
	got_bytes = nbds_encode_error(out, &compact, NBD_EIO, text);
	cr_assert_eq(got_bytes, 20 + 6 + NBDS_ERROR_TEXT_BYTES_MAX);
	cr_assert_eq(out[19], 6 + NBDS_ERROR_TEXT_BYTES_MAX);
	cr_assert_eq(out[25], NBDS_ERROR_TEXT_BYTES_MAX);
	cr_assert_eq(out[got_bytes - 1], 't');
	cr_assert_eq(out[got_bytes], 0xee);

	memset(out, 0xee, sizeof(out));
	cr_assert_eq(nbds_encode_error(out, &extended, NBD_EIO, text), NBDS_ERROR_BYTES_MAX);
	cr_assert_eq(out[31], 6 + NBDS_ERROR_TEXT_BYTES_MAX);
	cr_assert_eq(out[37], NBDS_ERROR_TEXT_BYTES_MAX);
	cr_assert_eq(out[NBDS_ERROR_BYTES_MAX - 1], 't');
	cr_assert_eq(out[NBDS_ERROR_BYTES_MAX], 0xee);
}

/* The request's offset in every header, and 64 bits for the length. */
Test(nbds_reply, extended_requests_get_extended_chunks)
{
	EXPECT(nbds_encode_none(out, &extended),
	       "\x6e\x8a\x27\x8c\0\1\0\0" COOKIE OFFSET "\0\0\0\0\0\0\0\0");
	EXPECT(nbds_encode_data(out, &extended, false, 0x0102030405060708, 512),
	       "\x6e\x8a\x27\x8c\0\0\0\1" COOKIE OFFSET "\0\0\0\0\0\0\2\x08\1\2\3\4\5\6\7\x08");
	EXPECT(nbds_encode_hole(out, &extended, true, 1 << 20, 512),
	       "\x6e\x8a\x27\x8c\0\1\0\2" COOKIE OFFSET
	       "\0\0\0\0\0\0\0\x0c\0\0\0\0\0\x10\0\0\0\0\2\0");
	EXPECT(nbds_encode_error(out, &extended, NBD_EPERM, "no"),
	       "\x6e\x8a\x27\x8c\0\1\x80\1" COOKIE OFFSET "\0\0\0\0\0\0\0\x08\0\0\0\1\0\2no");
}

Test(nbds_reply, extended_status_counts_its_extents_twice)
{
	EXPECT(nbds_encode_status(out, &extended, false, 1, 1),
	       "\x6e\x8a\x27\x8c\0\0\0\6" COOKIE OFFSET "\0\0\0\0\0\0\0\x18\0\0\0\1\0\0\0\1");
	EXPECT(nbds_encode_status(out, &extended, true, 2, REQ_EXTENTS_MAX),
	       "\x6e\x8a\x27\x8c\0\1\0\6" COOKIE OFFSET "\0\0\0\0\0\0\x40\x08\0\0\0\2\0\0\4\0");
	EXPECT(nbds_encode_extent(out, true, 0x0102030405060800, 3),
	       "\1\2\3\4\5\6\x08\0\0\0\0\0\0\0\0\3");
}
