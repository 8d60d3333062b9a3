/* SPDX-License-Identifier: MIT */
#include "map/extents.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static const uint64_t some[] = { 3, 5, 9, 10, 12 };
static const struct extents of_some = { some, 5 };

/* Of @of_some. */
static bool is_data(uint64_t sector)
{
	return sector == 3 || sector == 4 || sector == 9 || sector >= 12;
}

Test(extents, tell_data_from_holes_and_how_far_they_reach)
{
	uint64_t nr;

	for (uint64_t first = 0; first < 16; first++)
		for (uint64_t limit = 1; limit < 16; limit++) {
			uint64_t wanted = 1;

			while (wanted < limit && is_data(first + wanted) == is_data(first))
				wanted++;
			cr_expect_eq(extents_is_hole(&of_some, first, limit, &nr), !is_data(first));
			cr_expect_eq(nr, wanted, "%lu of %lu from %lu", nr, limit, first);
		}
}

Test(extents, count_the_data_of_any_range)
{
	for (uint64_t first = 0; first < 16; first++)
		for (uint64_t nr = 0; nr < 16; nr++) {
			uint64_t wanted = 0;

			for (uint64_t i = 0; i < nr; i++)
				wanted += is_data(first + i);
			cr_expect_eq(extents_count_data(&of_some, first, nr), wanted,
				     "%lu from %lu", nr, first);
		}
}

Test(extents, without_bounds_all_is_a_hole)
{
	const struct extents none = { 0 };
	uint64_t nr;

	cr_expect(extents_is_hole(&none, 0, 100, &nr));
	cr_expect_eq(nr, 100);
	cr_expect_eq(extents_count_data(&none, 7, 100), 0);
}

Test(extents, a_bound_at_sector_0_makes_it_begin_with_data)
{
	static const uint64_t bounds[] = { 0, 8 };
	const struct extents extents = { bounds, 2 };
	uint64_t nr;

	cr_expect_not(extents_is_hole(&extents, 0, 100, &nr));
	cr_expect_eq(nr, 8);
	cr_expect(extents_is_hole(&extents, 8, 100, &nr));
	cr_expect_eq(nr, 100);
}
