/* SPDX-License-Identifier: MIT */
#include "map/extents.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static const uint64_t some[] = { 3, 5, 9, 10, 12 };

enum { END = 32 };

static struct extents of_some(void)
{
	static uint32_t starts[5 + 2];
	struct extents extents = { .bounds = some, .nr_bounds = 5 };

	extents_index(&extents, starts, END);
	return extents;
}

/* Of of_some(). */
static bool is_data(uint64_t sector)
{
	return sector == 3 || sector == 4 || sector == 9 || sector >= 12;
}

Test(extents, tell_data_from_holes_and_how_far_they_reach)
{
	const struct extents extents = of_some();
	uint64_t nr;

	for (uint64_t first = 0; first < 16; first++)
		for (uint64_t limit = 1; limit < 16; limit++) {
			uint64_t wanted = 1;

			while (wanted < limit && is_data(first + wanted) == is_data(first))
				wanted++;
			cr_expect_eq(extents_is_hole(&extents, first, limit, &nr), !is_data(first));
			cr_expect_eq(nr, wanted, "%lu of %lu from %lu", nr, limit, first);
		}
}

Test(extents, count_the_data_of_any_range)
{
	const struct extents extents = of_some();

	for (uint64_t first = 0; first < 16; first++)
		for (uint64_t nr = 0; nr < 16; nr++) {
			uint64_t wanted = 0;

			for (uint64_t i = 0; i < nr; i++)
				wanted += is_data(first + i);
			cr_expect_eq(extents_count_data(&extents, first, nr), wanted,
				     "%lu from %lu", nr, first);
		}
}

Test(extents, without_bounds_all_is_a_hole)
{
	struct extents none = { 0 };
	uint32_t starts[2];
	uint64_t nr;

	extents_index(&none, starts, END);

	cr_expect(extents_is_hole(&none, 0, 100, &nr));
	cr_expect_eq(nr, 100);
	cr_expect_eq(extents_count_data(&none, 7, 100), 0);
}

Test(extents, a_bound_at_sector_0_makes_it_begin_with_data)
{
	static const uint64_t bounds[] = { 0, 8 };
	struct extents extents = { .bounds = bounds, .nr_bounds = 2 };
	uint32_t starts[4];
	uint64_t nr;

	extents_index(&extents, starts, END);

	cr_expect_not(extents_is_hole(&extents, 0, 100, &nr));
	cr_expect_eq(nr, 8);
	cr_expect(extents_is_hole(&extents, 8, 100, &nr));
	cr_expect_eq(nr, 100);
}

/* Bounds crowded, far apart, at either end: against a search from the first one on. */
Test(extents, are_found_wherever_the_bounds_are)
{
	enum { ROUNDS = 2000, BOUNDS_MAX = 40, LAST = 5000 };
	uint64_t bounds[BOUNDS_MAX];
	uint32_t starts[BOUNDS_MAX + 2];

	for (int round = 0; round < ROUNDS; round++) {
		struct extents extents = { .bounds = bounds };
		uint64_t bound = (uint64_t)random() % 3, nr;

		while (extents.nr_bounds < BOUNDS_MAX && bound < LAST) {
			bounds[extents.nr_bounds++] = bound;
			bound += 1 + (uint64_t)random() % (random() % 2 ? 3 : 800);
		}
		extents_index(&extents, starts, LAST);
		for (uint64_t sector = 0; sector < LAST; sector += 1 + (uint64_t)random() % 40) {
			uint32_t below = 0;

			while (below < extents.nr_bounds && bounds[below] <= sector)
				below++;
			cr_assert_eq(extents_is_hole(&extents, sector, LAST, &nr), below % 2 == 0);
			cr_assert_eq(sector + nr,
				     below < extents.nr_bounds ? bounds[below] : sector + LAST);
		}
	}
}
