/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "vhd/vhdx_overlay.h"

static uint8_t ones[16] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };
static struct vhdx_update updates[] = {
	{ 100, 16, ones },
	{ 108, 4, NULL },
};
static const struct vhdx_overlay overlay = { .updates = updates, .nr_updates = 2 };

/* What byte @offset is when it was 9. */
static uint8_t wanted(uint64_t offset)
{
	if (offset >= 108 && offset < 112)
		return 0;
	return offset >= 100 && offset < 116 ? 1 : 9;
}

Test(vhdx_overlay, replaces_what_it_covers_of_any_read)
{
	for (uint64_t first = 90; first < 120; first++) {
		for (size_t nr = 0; nr < 40; nr++) {
			uint8_t bytes[40];

			memset(bytes, 9, sizeof(bytes));
			vhdx_overlay_patch(&overlay, first, bytes, nr);
			for (size_t i = 0; i < sizeof(bytes); i++)
				cr_assert_eq(bytes[i], i < nr ? wanted(first + i) : 9,
					     "byte %zu of %zu from %lu", i, nr,
					     (unsigned long)first);
		}
	}
}

Test(vhdx_overlay, that_is_empty_replaces_nothing)
{
	static struct vhdx_overlay none;
	uint8_t byte = 5;

	vhdx_overlay_patch(&none, 0, &byte, 1);
	cr_expect_eq(byte, 5);
	vhdx_overlay_done(&none);
}
