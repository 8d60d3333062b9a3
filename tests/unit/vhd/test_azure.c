/* SPDX-License-Identifier: MIT */
/* Azure's five rules, one broken at a time. */
#include <criterion/criterion.h>

#include "sealblk/units.h"
#include "vhd/azure.h"
#include "vhd/footer.h"

static struct vhd_footer footer_of(uint64_t disk_bytes)
{
	const struct vhd_fixed fixed = { .disk_bytes = disk_bytes,
					 .creator_app = { 'w', 'i', 'n', ' ' } };
	struct vhd_footer footer;

	vhd_footer_build(&fixed, &footer);
	return footer;
}

static void finish(struct vhd_footer *footer)
{
	footer->checksum = be32_of(vhd_footer_checksum(footer));
}

/* All rules are kept but those of @broken, a bit each. */
static void expect_broken(const struct vhd_footer *footer, uint64_t file_bytes, unsigned int broken)
{
	bool kept[VHD_AZURE_RULES];

	vhd_azure_judge(footer, file_bytes, kept);
	for (unsigned int i = 0; i < VHD_AZURE_RULES; i++)
		cr_expect_eq(kept[i], !(broken >> i & 1), "%s",
			     vhd_azure_rule_text((enum vhd_azure_rule)i));
}

Test(vhd_azure, the_smallest_and_the_largest_disk_are_accepted)
{
	struct vhd_footer small = footer_of(20 * MIB), large = footer_of(32 * TIB);

	expect_broken(&small, 20 * MIB + 512, 0);
	expect_broken(&large, 32 * TIB + 512, 0);
}

Test(vhd_azure, smaller_and_larger_ones_are_not)
{
	struct vhd_footer small = footer_of(19 * MIB), large = footer_of(32 * TIB + MIB);

	expect_broken(&small, 19 * MIB + 512, 1 << VHD_AZURE_SIZE);
	expect_broken(&large, 32 * TIB + MIB + 512, 1 << VHD_AZURE_SIZE);
}

Test(vhd_azure, a_size_rounded_to_the_geometry_is_no_whole_mib)
{
	struct vhd_footer footer = footer_of(67125248);

	expect_broken(&footer, 67125248 + 512, 1 << VHD_AZURE_WHOLE_MIB);
}

Test(vhd_azure, the_file_must_be_disk_and_footer_to_the_byte)
{
	struct vhd_footer footer = footer_of(64 * MIB);

	expect_broken(&footer, 64 * MIB + 1024, 1 << VHD_AZURE_LENGTH);
	expect_broken(&footer, 64 * MIB, 1 << VHD_AZURE_LENGTH);
	expect_broken(&footer, 100, 1 << VHD_AZURE_LENGTH);
}

Test(vhd_azure, a_dynamic_vhd_is_refused_for_its_type)
{
	struct vhd_footer footer = footer_of(64 * MIB);

	footer.disk_type = be32_of(VHD_DYNAMIC);
	finish(&footer);
	expect_broken(&footer, 64 * MIB + 512, 1 << VHD_AZURE_FIXED);
}

Test(vhd_azure, a_wrong_checksum_breaks_one_rule_and_no_cookie_all_of_them)
{
	struct vhd_footer footer = footer_of(64 * MIB);

	footer.uuid[3] ^= 1;
	expect_broken(&footer, 64 * MIB + 512, 1 << VHD_AZURE_FOOTER);
	footer.cookie[0] = 'C';
	finish(&footer);
	expect_broken(&footer, 64 * MIB + 512, (1 << VHD_AZURE_RULES) - 1);
}

Test(vhd_azure, a_size_near_the_end_of_64_bits_does_not_wrap_around)
{
	struct vhd_footer footer = footer_of(64 * MIB);

	footer.current_bytes = be64_of(UINT64_MAX - 511);
	finish(&footer);
	expect_broken(&footer, 0,
		      1 << VHD_AZURE_SIZE | 1 << VHD_AZURE_WHOLE_MIB | 1 << VHD_AZURE_LENGTH);
}
