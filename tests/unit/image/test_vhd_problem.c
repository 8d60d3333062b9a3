/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "image/vhd_problem.h"

Test(vhd_problem, has_a_text_of_its_own)
{
	for (unsigned int i = 0; i < VHD_REASONS; i++) {
		char text[VHD_PROBLEM_TEXT_BYTES];

		vhd_problem_text(&(struct vhd_problem){ .reason = (enum vhd_reason)i }, text);
		cr_expect_neq(text[0], 0);
		for (unsigned int k = 0; k < i; k++) {
			char other[VHD_PROBLEM_TEXT_BYTES];

			vhd_problem_text(&(struct vhd_problem){ .reason = (enum vhd_reason)k },
					 other);
			cr_expect_str_neq(text, other);
		}
	}
}

Test(vhd_problem, fits_with_the_largest_numbers)
{
	for (unsigned int i = 0; i < VHD_REASONS; i++) {
		const struct vhd_problem problem = { (enum vhd_reason)i, UINT64_MAX, UINT64_MAX };
		char text[VHD_PROBLEM_TEXT_BYTES];

		vhd_problem_text(&problem, text);
		cr_expect_lt(strlen(text), VHD_PROBLEM_TEXT_BYTES - 1, "%s", text);
	}
}

Test(vhd_problem, is_told_with_its_numbers)
{
	static const struct {
		struct vhd_problem problem;
		const char *text;
	} rows[] = {
		{ { VHD_SIZE_ZERO, 1, 2 }, "footer says the disk is empty" },
		{ { VHD_BAD_TYPE, 9, 2 }, "footer has an unknown disk type (type 9)" },
		{ { VHD_BAD_CHECKSUM, 0xab, 0xcd },
		  "footer checksum is wrong (stored 000000ab, computed 000000cd)" },
		{ { VHD_BLOCKS_OVERLAP, 3, 7 }, "two blocks overlap (block 3, and block 7)" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[VHD_PROBLEM_TEXT_BYTES];

		vhd_problem_text(&rows[i].problem, text);
		cr_expect_str_eq(text, rows[i].text);
	}
}

Test(vhd_problem, comes_with_its_numbers)
{
	struct vhd_problem problem;

	cr_expect_eq(vhd_refuse(&problem, VHD_BLOCKS_OVERLAP, 3, 7), -EINVAL);
	cr_expect_eq(problem.reason, VHD_BLOCKS_OVERLAP);
	cr_expect_eq(problem.stored, 3);
	cr_expect_eq(problem.computed, 7);
}

Test(vhdx_problem, says_where_it_stands_and_what_it_is)
{
	char text[VHD_PROBLEM_TEXT_BYTES];

	vhdx_problem_text(&(struct vhdx_problem){ VHDX_BAD_DISK_SIZE, 2162696, 511 }, text);
	cr_expect_str_eq(text, "VHDX disk size is 0, above 64 TiB or not in logical sectors (byte "
			       "2162696; bytes: 511)");
	vhdx_problem_text(&(struct vhdx_problem){ VHDX_NO_HEADER, 65536, 9 }, text);
	cr_expect_str_eq(text, "neither VHDX header is sound (byte 65536)");
}

Test(vhdx_problem, of_each_reason_has_a_text_that_fits)
{
	for (unsigned int i = 0; i < VHDX_REASONS; i++) {
		const struct vhdx_problem problem = { (enum vhdx_reason)i, UINT64_MAX, UINT64_MAX };
		char text[VHD_PROBLEM_TEXT_BYTES];

		cr_assert_not_null(vhdx_reason_words(problem.reason)->text, "reason %u", i);
		vhdx_problem_text(&problem, text);
		cr_expect_eq(text[strlen(text) - 1], ')', "reason %u: %s", i, text);
	}
}
