/* SPDX-License-Identifier: MIT */
/* Data and holes of a base: see extents.h. */
#include "map/extents.h"

#include "sealblk/units.h"

void extents_index(struct extents *extents, uint32_t *starts, uint64_t end_sector)
{
	uint32_t bound = 0;
	uint64_t last;

	extents->shift = 0;
	while (end_sector >> extents->shift > extents->nr_bounds)
		extents->shift++;
	last = end_sector >> extents->shift;
	for (uint64_t i = 0; i <= last; i++) {
		while (bound < extents->nr_bounds && extents->bounds[bound] < i << extents->shift)
			bound++;
		starts[i] = bound;
	}
	starts[last + 1] = extents->nr_bounds;
	extents->starts = starts;
}

/* How many bounds there are up to @sector, including it: odd, and it is data. */
static uint32_t bounds_up_to(const struct extents *extents, uint64_t sector)
{
	uint32_t first = extents->starts[sector >> extents->shift];
	uint32_t end = extents->starts[(sector >> extents->shift) + 1];

	while (first < end) {
		uint32_t middle = first + (end - first) / 2;

		if (extents->bounds[middle] <= sector)
			first = middle + 1;
		else
			end = middle;
	}
	return first;
}

/* Where what @nr bounds lead to ends, before @end_sector. */
static uint64_t end_of(const struct extents *extents, uint32_t nr, uint64_t end_sector)
{
	return nr < extents->nr_bounds ? min_u64(extents->bounds[nr], end_sector) : end_sector;
}

bool extents_is_hole(const struct extents *extents, uint64_t first_sector, uint64_t limit_sectors,
		     uint64_t *ret_sectors)
{
	uint32_t nr = bounds_up_to(extents, first_sector);

	*ret_sectors = end_of(extents, nr, first_sector + limit_sectors) - first_sector;
	return nr % 2 == 0;
}

uint64_t extents_count_data(const struct extents *extents, uint64_t first_sector,
			    uint64_t nr_sectors)
{
	uint64_t end_sector = first_sector + nr_sectors;
	uint64_t nr_data = 0;

	for (uint32_t nr = bounds_up_to(extents, first_sector); first_sector < end_sector; nr++) {
		uint64_t stop = end_of(extents, nr, end_sector);

		if (nr % 2 == 1)
			nr_data += stop - first_sector;
		first_sector = stop;
	}
	return nr_data;
}
