/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "sealblk/units.h"
#include "vhd/geometry.h"

static const struct {
	uint64_t disk_bytes;
	unsigned int cylinders, heads, sectors;
} known[] = {
	{ 512, 0, 4, 17 },
	{ 8 * MIB, 240, 4, 17 },
	{ 104865792, 1004, 12, 17 },   /* qemu-img's 100 MiB, exact by design */
	{ 507904 * 512, 503, 16, 63 }, /* 16 heads of 1024 tracks are one too many */
	{ 1073741824, 2080, 16, 63 },  /* 1073479680 bytes: 256 KiB short */
	{ 5368709120, 10402, 16, 63 }, /* Azure's own footer of 5 GiB */
	{ 136899993600, 65535, 16, 255 },
	{ 2 * TIB, 65535, 16, 255 },
	{ UINT64_MAX & ~(uint64_t)511, 65535, 16, 255 },
};

Test(vhd_geometry, is_what_other_tools_write)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		struct vhd_geometry g = vhd_geometry_of(bytes_to_sectors(known[i].disk_bytes));

		cr_expect_eq(be16_get(g.cylinders), known[i].cylinders, "row %zu: %u", i,
			     be16_get(g.cylinders));
		cr_expect_eq(g.heads, known[i].heads, "row %zu: %u", i, g.heads);
		cr_expect_eq(g.sectors, known[i].sectors, "row %zu: %u", i, g.sectors);
	}
}

Test(vhd_geometry, rounds_one_gib_down_by_256_kib)
{
	struct vhd_geometry g = vhd_geometry_of(bytes_to_sectors(GIB));

	cr_expect_eq(sectors_to_bytes(vhd_geometry_sectors(g)), GIB - 256 * KIB);
}

Test(vhd_geometry, never_describes_more_than_the_disk)
{
	for (uint64_t sectors = 1; sectors < 300000000; sectors += sectors / 7 + 1) {
		uint64_t described = vhd_geometry_sectors(vhd_geometry_of(sectors));

		cr_expect_leq(described, sectors);
		cr_expect_geq(described + 16 * 255, min_u64(sectors, 65535 * 16 * 255),
			      "%lu sectors", (unsigned long)sectors);
	}
}

Test(vhd_geometry, knows_the_largest_one)
{
	cr_expect(vhd_geometry_is_max(vhd_geometry_of(UINT64_MAX)));
	cr_expect_not(vhd_geometry_is_max(vhd_geometry_of(65535ull * 16 * 255 - 16 * 255)));
}
