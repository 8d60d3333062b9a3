/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "sealblk/limits.h"
#include "vectors/vhd_footers.h"
#include "vhd/footer.h"
#include "vhd/geometry.h"

static const struct vhd_fixed one_gib = {
	.disk_bytes = GIB,
	.created_s = 0x12345678,
	.creator_app = { 'w', 'i', 'n', ' ' },
	.uuid = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 },
};

/* A footer made to lie is summed again, so that only the lie can be its fault. */
static void sum_again(struct vhd_footer *footer)
{
	footer->checksum = be32_of(vhd_footer_checksum(footer));
}

static const uint8_t *bytes_of(const struct vhd_footer *footer)
{
	return (const uint8_t *)footer;
}

static struct vhd_footer created_by(const char creator[4], uint64_t disk_bytes)
{
	struct vhd_fixed fixed = one_gib;
	struct vhd_footer footer;

	fixed.disk_bytes = disk_bytes;
	memcpy(fixed.creator_app, creator, 4);
	vhd_footer_build(&fixed, &footer);
	return footer;
}

/* As the last sector of a file of @file_bytes, if it is a fixed VHD's. */
static int judge(const uint8_t *footer, uint64_t file_bytes, struct vhd_info *ret_info,
		 struct vhd_problem *ret_problem)
{
	struct vhd_info info = { 0 };
	int rc = vhd_footer_parse(footer, &info, ret_problem);

	if (rc == 0)
		rc = vhd_footer_check_fixed(&info, file_bytes, ret_problem);
	if (rc == 0)
		*ret_info = info;
	return rc;
}

static struct vhd_problem refused(const struct vhd_footer *footer, uint64_t file_bytes, int rc)
{
	struct vhd_problem problem = { VHD_FINE, 0, 0 };
	struct vhd_info untouched;
	struct vhd_info info;

	memset(&info, 0x5a, sizeof(info));
	memset(&untouched, 0x5a, sizeof(untouched));
	cr_expect_eq(judge(bytes_of(footer), file_bytes, &info, &problem), rc);
	cr_expect_arr_eq(&info, &untouched, sizeof(info), "the output of a failure is untouched");
	return problem;
}

static struct vhd_info accepted(const uint8_t *footer, uint64_t file_bytes)
{
	struct vhd_problem problem;
	struct vhd_info info = { 0 };

	cr_assert_eq(judge(footer, file_bytes, &info, &problem), 0);
	return info;
}

Test(vhd_footer, of_azure_is_sized_by_its_current_size)
{
	static const uint8_t uuid[16] = { 0x8c, 0x54, 0xdf, 0x94, 0xbd, 0x35, 0x71, 0x4c,
					  0x94, 0x5f, 0xe5, 0x44, 0x44, 0x53, 0x92, 0x1a };
	struct vhd_info info = accepted(vhd_footer_azure, 5 * GIB + 512);

	cr_expect_eq(info.disk_bytes, 5 * GIB);
	cr_expect_not(info.sized_by_geometry);
	cr_expect_eq(info.original_bytes, 5 * GIB);
	cr_expect_eq(info.disk_type, VHD_FIXED);
	cr_expect_eq(info.data_offset, VHD_DATA_OFFSET_FIXED);
	cr_expect_eq(info.creator_version, 0x00070000);
	cr_expect_eq(info.created_s, 0x2ec79b96);
	cr_expect_arr_eq(info.creator_app, VHD_CREATOR_AZURE, 4);
	cr_expect_arr_eq(info.creator_os, VHD_OS_WINDOWS, 4);
	cr_expect_arr_eq(info.uuid, uuid, 16);
	cr_expect_eq(vhd_geometry_sectors(info.geometry) * 512, 5368430592);
}

Test(vhd_footer, of_qemu_is_sized_by_geometry_unless_exact)
{
	struct vhd_info rounded = accepted(vhd_footer_qemu, 104865792 + 512);
	struct vhd_info exact = accepted(vhd_footer_qemu_exact, GIB + 512);

	cr_expect_eq(rounded.disk_bytes, 104865792);
	cr_expect(rounded.sized_by_geometry);
	cr_expect_eq(exact.disk_bytes, GIB);
	cr_expect_not(exact.sized_by_geometry);
}

Test(vhd_footer, has_a_size_rule_per_creator)
{
	static const struct {
		const char *creator;
		bool by_geometry;
	} rules[] = {
		{ "vpc ", true },  { "qemu", true },  { "qem2", false },     { "win ", false },
		{ "d2v ", false }, { "CTXS", false }, { "tap\0", false },    { "wa\0\0", false },
		{ "vs  ", false }, { "vbox", false }, { "\0\0\0\0", false },
	};

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		struct vhd_footer footer = created_by(rules[i].creator, GIB);
		struct vhd_info info = accepted(bytes_of(&footer), GIB + 512);

		cr_expect_eq(info.sized_by_geometry, rules[i].by_geometry, "row %zu", i);
		cr_expect_eq(info.disk_bytes, rules[i].by_geometry ? GIB - 256 * KIB : GIB,
			     "row %zu", i);
	}
}

Test(vhd_footer, takes_the_current_size_when_the_geometry_is_the_largest)
{
	struct vhd_footer footer = created_by("vpc ", 200 * GIB);
	struct vhd_info info = accepted(bytes_of(&footer), 200 * GIB + 512);

	cr_expect_eq(info.disk_bytes, 200 * GIB);
	cr_expect_not(info.sized_by_geometry);
}

Test(vhd_footer, is_built_as_it_is_read)
{
	struct vhd_footer footer;
	struct vhd_info info;

	vhd_footer_build(&one_gib, &footer);
	info = accepted(bytes_of(&footer), GIB + 512);
	cr_expect_eq(info.disk_bytes, one_gib.disk_bytes);
	cr_expect_eq(info.created_s, one_gib.created_s);
	cr_expect_arr_eq(info.uuid, one_gib.uuid, 16);
	cr_expect_arr_eq(info.creator_app, VHD_CREATOR_WINDOWS, 4);
	cr_expect_eq(be32_get(footer.features), VHD_FEATURE_RESERVED);
	cr_expect_eq(be64_get(footer.data_offset), UINT64_MAX);
	cr_expect_not(info.saved_state);
}

Test(vhd_footer, of_azure_is_rebuilt_but_for_the_creator_version)
{
	struct vhd_fixed fixed = { .disk_bytes = 5 * GIB, .created_s = 0x2ec79b96 };
	struct vhd_footer azure;
	struct vhd_footer built;

	memcpy(&azure, vhd_footer_azure, sizeof(azure));
	memcpy(fixed.creator_app, azure.creator_app, 4);
	memcpy(fixed.uuid, azure.uuid, 16);
	vhd_footer_build(&fixed, &built);
	built.creator_version = azure.creator_version;
	sum_again(&built);
	cr_expect_arr_eq(&built, vhd_footer_azure, sizeof(built));
}

Test(vhd_footer, with_any_byte_changed_is_refused)
{
	struct vhd_footer footer;

	for (size_t i = 0; i < sizeof(footer); i++) {
		for (unsigned int change = 1; change < 256; change += 1 + change / 2) {
			enum vhd_reason reason;

			memcpy(&footer, vhd_footer_azure, sizeof(footer));
			((uint8_t *)&footer)[i] ^= (uint8_t)change;
			reason = refused(&footer, 5 * GIB + 512, -EINVAL).reason;
			cr_expect_eq(reason, i < 8 ? VHD_NO_COOKIE : VHD_BAD_CHECKSUM, "byte %zu",
				     i);
		}
	}
}

Test(vhd_footer, says_which_checksum_was_stored_and_computed)
{
	struct vhd_footer footer;
	struct vhd_problem problem;

	memcpy(&footer, vhd_footer_azure, sizeof(footer));
	footer.reserved[426] = 1;
	problem = refused(&footer, 5 * GIB + 512, -EINVAL);
	cr_expect_eq(problem.stored, 0xffffe747);
	cr_expect_eq(problem.computed, 0xffffe746);
}

Test(vhd_footer, of_an_unknown_version_is_refused)
{
	struct vhd_footer footer = created_by("win ", GIB);

	footer.version = be32_of(0x00020000);
	sum_again(&footer);
	cr_expect_eq(refused(&footer, GIB + 512, -EINVAL).reason, VHD_BAD_VERSION);
}

Test(vhd_footer, of_an_unknown_type_is_refused)
{
	static const uint32_t types[] = { 0, 1, 5, 6, 0x02000000, UINT32_MAX };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct vhd_footer footer = created_by("win ", GIB);
		struct vhd_problem problem;

		footer.disk_type = be32_of(types[i]);
		sum_again(&footer);
		problem = refused(&footer, GIB + 512, -EINVAL);
		cr_expect_eq(problem.reason, VHD_BAD_TYPE);
		cr_expect_eq(problem.stored, types[i]);
	}
}

Test(vhd_footer, of_a_dynamic_vhd_can_be_read_in_itself)
{
	struct vhd_problem problem;
	struct vhd_info info;

	cr_assert_eq(vhd_footer_parse(vhd_footer_qemu_dynamic, &info, &problem), 0);
	cr_expect_eq(info.disk_type, VHD_DYNAMIC);
	cr_expect_eq(info.data_offset, 512);
	cr_expect_eq(info.disk_bytes, 0x800800);
}

Test(vhd_footer, that_lies_about_the_size_is_refused)
{
	static const struct {
		uint64_t current_bytes;
		enum vhd_reason reason;
	} lies[] = {
		{ 0, VHD_SIZE_ZERO },
		{ GIB + 512, VHD_SIZE_BEYOND_FILE },
		{ GIB - 1, VHD_SIZE_NOT_SECTORS },
		{ DISK_BYTES_MAX + 512, VHD_SIZE_TOO_LARGE },
		{ UINT64_MAX, VHD_SIZE_TOO_LARGE },
		{ UINT64_MAX - 511, VHD_SIZE_TOO_LARGE },
		{ DISK_BYTES_MAX, VHD_SIZE_BEYOND_FILE },
	};

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct vhd_footer footer = created_by("win ", GIB);

		footer.current_bytes = be64_of(lies[i].current_bytes);
		sum_again(&footer);
		cr_expect_eq(refused(&footer, GIB + 512, -EINVAL).reason, lies[i].reason, "row %zu",
			     i);
	}
}

Test(vhd_footer, whose_geometry_does_not_fit_is_refused)
{
	struct vhd_footer footer = created_by("qemu", GIB);

	footer.geometry.cylinders = be16_of(2081); /* 252 KiB more than the file has */
	sum_again(&footer);
	cr_expect_eq(refused(&footer, GIB + 512, -EINVAL).reason, VHD_SIZE_BEYOND_FILE);
	footer.geometry.heads = 0;
	sum_again(&footer);
	cr_expect_eq(refused(&footer, GIB + 512, -EINVAL).reason, VHD_SIZE_ZERO);
}

Test(vhd_footer, of_a_file_cut_short_is_refused)
{
	static const uint64_t cut[] = { 0, 1, 511, 512, 1024, GIB, GIB + 511 };

	for (size_t i = 0; i < sizeof(cut) / sizeof(cut[0]); i++) {
		struct vhd_footer footer = created_by("win ", GIB);
		struct vhd_problem problem = refused(&footer, cut[i], -EINVAL);

		cr_expect_eq(problem.reason, VHD_SIZE_BEYOND_FILE, "%zu", i);
		cr_expect_eq(problem.stored, GIB);
		cr_expect_eq(problem.computed, cut[i] < 512 ? 0 : cut[i] - 512);
	}
}

Test(vhd_footer, may_follow_a_longer_payload)
{
	struct vhd_footer footer = created_by("win ", GIB);

	cr_expect_eq(accepted(bytes_of(&footer), GIB + 4096 + 512).disk_bytes, GIB);
}

Test(vhd_footer, of_an_owned_file_differs_in_id_mark_and_checksum_alone)
{
	static const uint8_t owner[VHD_UUID_BYTES] = { 99 };
	struct vhd_footer footer = created_by("qemu", GIB), owned;
	struct vhd_info info;
	struct vhd_problem problem;

	cr_expect_not(vhd_footer_is_owned(bytes_of(&footer)));
	vhd_footer_own(bytes_of(&footer), owner, (uint8_t *)&owned);
	cr_expect(vhd_footer_is_owned(bytes_of(&owned)));
	cr_assert_eq(vhd_footer_parse(bytes_of(&owned), &info, &problem), 0);
	cr_expect_arr_eq(info.uuid, owner, VHD_UUID_BYTES);
	memcpy(footer.uuid, owner, sizeof(footer.uuid));
	memcpy((uint8_t *)&footer + 88, "SEALOWN", 8);
	sum_again(&footer);
	cr_expect_arr_eq(&owned, &footer, VHD_FOOTER_BYTES);
	owned.cookie[0] ^= 1;
	cr_expect_not(vhd_footer_is_owned(bytes_of(&owned)), "no footer, no owner");
}

Test(vhd_footer, of_a_dynamic_vhd_is_rebuilt_as_qemu_writes_it_but_for_the_creator)
{
	struct vhd_fixed fixed = { .disk_bytes = 0x800800, .created_s = 0x3297bb77 };
	struct vhd_footer built, theirs;

	memcpy(&theirs, vhd_footer_qemu_dynamic, sizeof(theirs));
	memcpy(fixed.creator_app, VHD_CREATOR_QEMU, sizeof(fixed.creator_app));
	memcpy(fixed.uuid, theirs.uuid, sizeof(fixed.uuid));
	vhd_footer_build(&fixed, &built);
	vhd_footer_make_dynamic(&built);
	cr_expect_eq(be32_get(built.checksum), vhd_footer_checksum(&built));
	built.creator_version = theirs.creator_version;
	built.checksum = be32_of(vhd_footer_checksum(&built));
	cr_expect_arr_eq(&built, vhd_footer_qemu_dynamic, VHD_FOOTER_BYTES);
}

Test(vhd_footer, that_is_renewed_keeps_the_disks_identity_and_is_sized_alike_by_everybody)
{
	struct vhd_footer was, footer;
	struct vhd_info info;

	memcpy(&was, vhd_footer_azure, sizeof(was));
	vhd_footer_renew(vhd_footer_azure, 6 * GIB, &footer);
	info = accepted(bytes_of(&footer), 6 * GIB + 512);
	cr_expect_arr_eq(info.uuid, was.uuid, sizeof(was.uuid));
	cr_expect_eq(info.created_s, be32_get(was.created_s));
	cr_expect_eq(info.original_bytes, 5 * GIB);
	cr_expect_eq(info.disk_bytes, 6 * GIB);
	cr_expect_arr_eq(info.creator_app, VHD_CREATOR_WINDOWS, VHD_CREATOR_BYTES);
	cr_expect_eq(info.disk_type, VHD_FIXED);
}
