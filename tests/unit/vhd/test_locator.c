/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vhd/locator.h"

static char path[PATH_BYTES_MAX];

/* UTF-16, little-endian, from units. */
static int decode(const uint16_t *units, size_t nr_units)
{
	uint8_t bytes[2 * PATH_BYTES_MAX + 2];

	cr_assert_leq(2 * nr_units, sizeof(bytes));
	for (size_t i = 0; i < nr_units; i++) {
		bytes[2 * i] = (uint8_t)units[i];
		bytes[2 * i + 1] = (uint8_t)(units[i] >> 8);
	}
	strcpy(path, "untouched");
	return vhd_locator_path(bytes, 2 * nr_units, path);
}

static int decode_ascii(const char *text)
{
	uint16_t units[PATH_BYTES_MAX + 1];

	for (size_t i = 0; text[i]; i++)
		units[i] = (uint16_t)text[i];
	return decode(units, strlen(text));
}

Test(vhd_locator, becomes_a_path_of_this_system)
{
	static const struct {
		const char *stored, *path;
	} rows[] = {
		{ ".\\parent.vhd", "parent.vhd" },
		{ "..\\a b\\parent.vhd", "../a b/parent.vhd" },
		{ "parent.vhd", "parent.vhd" },
		{ "./parent.vhd", "parent.vhd" },
		{ "/srv/parent.vhd", "/srv/parent.vhd" },
		{ "c:\\disks\\parent.vhd", "c:/disks/parent.vhd" },
		{ "\\\\server\\share\\p.vhd", "//server/share/p.vhd" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		cr_expect_eq(decode_ascii(rows[i].stored), 0, "row %zu", i);
		cr_expect_str_eq(path, rows[i].path);
	}
}

Test(vhd_locator, keeps_every_character_of_unicode)
{
	static const uint16_t units[] = { 'a', 0xe9, 0x20ac, 0xd83d, 0xde00, 0xffff };

	cr_assert_eq(decode(units, ARRAY_LEN(units)), 0);
	cr_expect_str_eq(path, "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xef\xbf\xbf");
}

Test(vhd_locator, may_begin_with_a_byte_order_mark_and_end_in_nuls)
{
	static const uint16_t units[] = { 0xfeff, '.', '\\', 'p', 0, 0 };

	cr_assert_eq(decode(units, ARRAY_LEN(units)), 0);
	cr_expect_str_eq(path, "p");
}

Test(vhd_locator, that_is_no_path_is_refused)
{
	static const uint16_t lone_high[] = { 'a', 0xd83d, 'b' };
	static const uint16_t last_high[] = { 'a', 0xd83d };
	static const uint16_t lone_low[] = { 0xde00, 'a' };
	static const uint16_t nul_inside[] = { 'a', 0, 'b' };
	static const uint16_t only_nul[] = { 0, 0 };
	static const uint16_t only_here[] = { '.', '\\' };

	cr_expect_eq(decode(lone_high, 3), -EINVAL);
	cr_expect_eq(decode(last_high, 2), -EINVAL);
	cr_expect_eq(decode(lone_low, 2), -EINVAL);
	cr_expect_eq(decode(nul_inside, 3), -EINVAL);
	cr_expect_eq(decode(only_nul, 2), -EINVAL);
	cr_expect_eq(decode(only_here, 2), -EINVAL);
	cr_expect_eq(decode(NULL, 0), -EINVAL);
	cr_expect_eq(vhd_locator_path((const uint8_t *)"a\0b", 3, path), -EINVAL, "odd");
	cr_expect_str_eq(path, "untouched");
}

Test(vhd_locator, has_the_length_of_a_path_at_most)
{
	char text[PATH_BYTES_MAX + 1];

	memset(text, 'x', sizeof(text));
	text[PATH_BYTES_MAX - 4] = 0;
	cr_expect_eq(decode_ascii(text), 0);
	cr_expect_eq(strlen(path), PATH_BYTES_MAX - 4);
	text[PATH_BYTES_MAX - 4] = 'x';
	text[PATH_BYTES_MAX] = 0;
	cr_expect_eq(decode_ascii(text), -EINVAL);
}
