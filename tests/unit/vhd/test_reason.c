/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>

#include "vhd/reason.h"

Test(vhd_reason, has_a_text_of_its_own)
{
	for (unsigned int i = 0; i < VHD_REASONS; i++) {
		const char *text = vhd_reason_words((enum vhd_reason)i)->text;

		cr_assert_not_null(text, "reason %u", i);
		for (unsigned int k = 0; k < i; k++)
			cr_expect_str_neq(text, vhd_reason_words((enum vhd_reason)k)->text);
	}
}

Test(vhd_reason, comes_with_its_numbers)
{
	struct vhd_problem problem;

	cr_expect_eq(vhd_refuse(&problem, VHD_BLOCKS_OVERLAP, 3, 7), -EINVAL);
	cr_expect_eq(problem.reason, VHD_BLOCKS_OVERLAP);
	cr_expect_eq(problem.stored, 3);
	cr_expect_eq(problem.computed, 7);
}
