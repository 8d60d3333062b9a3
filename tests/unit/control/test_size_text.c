/* SPDX-License-Identifier: MIT */
#include "control/size_text.h"

#include <criterion/criterion.h>

#include "sealblk/units.h"

Test(size_text, is_of_the_largest_unit_that_fits_and_cut)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} rows[] = {
		{ 0, "0 bytes" },	    { 512, "512 bytes" },
		{ 1023, "1023 bytes" },	    { 1024, "1 KiB" },
		{ 1536, "1.5 KiB" },	    { MIB - 1, "1023.9 KiB" },
		{ 64 * MIB, "64 MiB" },	    { 8 * GIB + 512, "8 GiB" },
		{ 3 * TIB / 2, "1.5 TiB" }, { UINT64_MAX, "16777215.9 TiB" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[SIZE_TEXT_BYTES];

		cr_expect_eq(size_text(rows[i].bytes, text), text);
		cr_expect_str_eq(text, rows[i].text);
	}
}
