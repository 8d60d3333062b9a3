/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "sealblk/units.h"
#include "vhd/mend.h"

static const struct vhd_fixed fresh = { .creator_app = { 'w', 'i', 'n', ' ' }, .uuid = { 9 } };

static struct vhd_footer footer_of(uint64_t disk_bytes)
{
	struct vhd_fixed fixed = { .disk_bytes = disk_bytes,
				   .created_s = 1000,
				   .creator_app = { 'w', 'i', 'n', ' ' },
				   .uuid = { 1, 2, 3 } };
	struct vhd_footer footer;

	vhd_footer_build(&fixed, &footer);
	return footer;
}

static struct vhd_patient fixed_of(const struct vhd_footer *footer, uint64_t payload_bytes)
{
	struct vhd_patient patient = { .file_bytes = payload_bytes + VHD_FOOTER_BYTES,
				       .is_called_vhd = true,
				       .fresh = &fresh };

	memcpy(patient.tail, footer, sizeof(*footer));
	return patient;
}

static struct vhd_patient dynamic_of(uint64_t file_bytes)
{
	struct vhd_footer footer = footer_of(32 * MIB);
	struct vhd_patient patient = { .file_bytes = file_bytes,
				       .blocks_end_bytes = 3 * MIB,
				       .is_called_vhd = true,
				       .fresh = &fresh };

	vhd_footer_make_dynamic(&footer);
	memcpy(patient.head, &footer, sizeof(footer));
	memcpy(patient.tail, &footer, sizeof(footer));
	return patient;
}

/* What is written is sound, and the disk it tells of is this. */
static struct vhd_mend mended(const struct vhd_patient *patient, uint64_t disk_bytes)
{
	struct vhd_mend mend = { 0 };
	struct vhd_problem problem;
	struct vhd_info info;

	cr_assert(vhd_mend_plan(patient, &mend));
	cr_assert_eq(vhd_footer_parse((const uint8_t *)&mend.footer, &info, &problem), 0);
	cr_expect_eq(info.disk_bytes, disk_bytes);
	cr_expect_neq(mend.what, NULL);
	return mend;
}

static void left_alone(const struct vhd_patient *patient)
{
	struct vhd_mend mend;

	cr_expect_not(vhd_mend_plan(patient, &mend));
}

Test(vhd_mend, leaves_what_is_sound)
{
	struct vhd_footer footer = footer_of(32 * MIB);
	struct vhd_patient fixed = fixed_of(&footer, 32 * MIB);
	struct vhd_patient dynamic = dynamic_of(3 * MIB + 512);

	left_alone(&fixed);
	left_alone(&dynamic);
}

Test(vhd_mend, sums_a_damaged_footer_again)
{
	struct vhd_footer footer = footer_of(32 * MIB);
	struct vhd_patient patient;
	struct vhd_mend mend;

	footer.checksum.b[0] ^= 1;
	patient = fixed_of(&footer, 32 * MIB);
	mend = mended(&patient, 32 * MIB);
	cr_expect_eq(mend.at_bytes, 32 * MIB);
	footer.checksum.b[0] ^= 1;
	cr_expect_arr_eq(&mend.footer, &footer, sizeof(footer), "but for the sum all stays");
}

Test(vhd_mend, of_a_damaged_size_believes_the_file)
{
	struct vhd_footer footer = footer_of(32 * MIB);
	struct vhd_patient patient;
	struct vhd_mend mend;

	footer.current_bytes.b[7] ^= 1;
	patient = fixed_of(&footer, 32 * MIB);
	mend = mended(&patient, 32 * MIB);
	cr_expect_arr_eq(mend.footer.uuid, footer.uuid, sizeof(footer.uuid));
}

Test(vhd_mend, gives_the_disk_all_that_lies_before_its_footer)
{
	struct vhd_footer footer = footer_of(31 * MIB);
	struct vhd_patient patient = fixed_of(&footer, 32 * MIB);

	cr_expect_eq(mended(&patient, 32 * MIB).at_bytes, 32 * MIB);
	patient = fixed_of(&footer, 31 * MIB + 512);
	left_alone(&patient);
}

Test(vhd_mend, does_not_call_a_cut_file_whole)
{
	struct vhd_footer footer = footer_of(33 * MIB);
	struct vhd_patient patient = fixed_of(&footer, 32 * MIB);

	left_alone(&patient);
}

Test(vhd_mend, completes_a_footer_of_511_bytes)
{
	struct vhd_footer footer = footer_of(32 * MIB);
	struct vhd_patient patient = { .file_bytes = 32 * MIB + 511, .fresh = &fresh };

	memcpy(patient.tail + 1, &footer, VHD_OLD_FOOTER_BYTES);
	cr_expect_eq(mended(&patient, 32 * MIB).at_bytes, 32 * MIB);
}

Test(vhd_mend, puts_a_lost_footer_where_no_data_is)
{
	struct vhd_patient patient = { .file_bytes = 32 * MIB + 512,
				       .is_called_vhd = true,
				       .fresh = &fresh };

	cr_expect_eq(mended(&patient, 32 * MIB).at_bytes, 32 * MIB);
	patient.file_bytes = 32 * MIB;
	patient.tail[100] = 1;
	cr_expect_eq(mended(&patient, 32 * MIB).at_bytes, 32 * MIB);
	patient.file_bytes = 32 * MIB + 512;
	left_alone(&patient);
	patient.file_bytes = 32 * MIB + 1024;
	left_alone(&patient);
}

Test(vhd_mend, makes_no_vhd_of_another_file)
{
	struct vhd_patient patient = { .file_bytes = 32 * MIB, .fresh = &fresh };

	left_alone(&patient);
	cr_expect(vhd_mend_is_foreign(&patient));
	patient.is_called_vhd = true;
	cr_expect_not(vhd_mend_is_foreign(&patient));
	memcpy(patient.head, "vhdxfile", 8);
	left_alone(&patient);
	cr_expect(vhd_mend_is_foreign(&patient));
}

Test(vhd_mend, writes_the_lost_footer_of_a_dynamic_vhd_from_its_copy)
{
	struct vhd_patient patient = dynamic_of(3 * MIB + 512);

	patient.tail[70] ^= 1;
	cr_expect_eq(mended(&patient, 32 * MIB).at_bytes, 3 * MIB);
	/* The last sector is a block's. */
	patient = dynamic_of(3 * MIB);
	memset(patient.tail, 7, sizeof(patient.tail));
	cr_expect_eq(mended(&patient, 32 * MIB).at_bytes, 3 * MIB);
	patient.blocks_end_bytes = 0;
	left_alone(&patient);
}

Test(vhd_mend, writes_the_lost_copy_of_a_dynamic_vhd_from_its_footer)
{
	struct vhd_patient patient = dynamic_of(3 * MIB + 512);
	struct vhd_mend mend;

	memset(patient.head, 0, sizeof(patient.head));
	mend = mended(&patient, 32 * MIB);
	cr_expect_eq(mend.at_bytes, 0);
	cr_expect(mend.in_copy);
}

Test(vhd_mend, of_a_dynamic_vhd_without_both_makes_no_fixed_one)
{
	struct vhd_patient patient = dynamic_of(3 * MIB + 512);

	patient.head[70] ^= 1;
	patient.tail[70] ^= 1;
	left_alone(&patient);
	memset(patient.head, 0, sizeof(patient.head));
	left_alone(&patient);
}
