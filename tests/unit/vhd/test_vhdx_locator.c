/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>

#include "vhd/vhdx_locator.h"
#include "vhdx_image.h"

static struct vhdx_locator_maker maker;
static struct vhdx_parent parent;
static struct vhdx_problem problem;

static void begin(void)
{
	const struct vhdx_recipe recipe = {
		.relative = ".\\sub\\p.vhdx",
		.absolute = "\\\\?\\c:\\disks\\p.vhdx",
		.parent_id = 7,
	};

	vhdx_make_locator(&maker, &recipe);
}

TestSuite(vhdx_locator, .init = begin);

static int decode_bytes(size_t nr_bytes)
{
	/* A copy of just so many bytes, for the sanitizers to guard. */
	uint8_t *bytes = malloc(nr_bytes + 1);
	int r;

	cr_assert_not_null(bytes);
	memcpy(bytes, maker.bytes, nr_bytes);
	problem.reason = VHDX_FINE;
	r = vhdx_locator_decode(bytes, nr_bytes, 1000, &parent, &problem);
	free(bytes);
	return r;
}

static int decode(void)
{
	return decode_bytes(maker.used);
}

static void expect_refused(int r, enum vhdx_reason reason, uint64_t at_bytes)
{
	cr_expect_eq(r, -EINVAL);
	cr_expect_eq(problem.reason, reason, "reason %d, not %d", (int)problem.reason, (int)reason);
	cr_expect_eq(problem.at_bytes, at_bytes, "at %lu", (unsigned long)problem.at_bytes);
}

static struct vhdx_locator_entry *entry(unsigned int number)
{
	return (struct vhdx_locator_entry *)(maker.bytes + sizeof(struct vhdx_locator)) + number;
}

Test(vhdx_locator, names_the_parent)
{
	uint8_t id[VHDX_GUID_BYTES];

	vhdx_data_write_id(7, id);
	cr_assert_eq(decode(), 0);
	cr_expect(vhdx_guid_is(parent.linkage, id));
	cr_expect_not(parent.has_linkage2);
	cr_expect_str_eq(parent.relative_path, "sub/p.vhdx");
	cr_expect_str_eq(parent.absolute_path, "//?/c:/disks/p.vhdx");
}

Test(vhdx_locator, may_have_a_second_linkage_and_other_keys)
{
	vhdx_add_pair(&maker, "parent_linkage2", "{00000001-0002-0003-0405-060708090a0b}");
	vhdx_add_pair(&maker, "volume_path", "\\\\?\\Volume{x}\\p.vhdx");
	cr_assert_eq(decode(), 0);
	cr_expect(parent.has_linkage2);
	cr_expect_eq(parent.linkage2[0], 1);
	cr_expect_eq(parent.linkage2[15], 11);
}

Test(vhdx_locator, of_another_kind_is_refused)
{
	maker.bytes[3] ^= 1;
	expect_refused(decode(), VHDX_LOCATOR_TYPE, 1000);
}

Test(vhdx_locator, without_a_sound_linkage_is_refused)
{
	entry(0)->key_bytes = le16_of(26);
	expect_refused(decode(), VHDX_LOCATOR_NO_LINKAGE, 1000);
	begin();
	entry(0)->value_bytes = le16_of(74);
	expect_refused(decode(), VHDX_LOCATOR_NO_LINKAGE, 1020);
	begin();
	entry(0)->value_bytes = le16_of((uint16_t)(maker.used - 300) & ~1u);
	expect_refused(decode(), VHDX_LOCATOR_NO_LINKAGE, 1020);
}

Test(vhdx_locator, with_a_path_that_cannot_be_read_has_none)
{
	maker.bytes[le32_get(entry(1)->value_offset) + 4] = 0;
	cr_assert_eq(decode(), 0);
	cr_expect_str_eq(parent.relative_path, "");
	cr_expect_str_eq(parent.absolute_path, "//?/c:/disks/p.vhdx");
}

Test(vhdx_locator, cut_anywhere_is_refused)
{
	for (size_t nr = 0; nr < maker.used; nr++)
		cr_assert_eq(decode_bytes(nr), -EINVAL, "%zu bytes", nr);
	cr_expect_eq(decode(), 0);
}

Test(vhdx_locator, that_points_outside_is_refused)
{
	static const uint32_t offsets[] = { 0, UINT32_MAX, UINT32_MAX - 3, 4096 };

	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		begin();
		entry(1)->key_offset = le32_of(offsets[i]);
		expect_refused(decode(), VHDX_LOCATOR_UNSOUND, 1032);
		begin();
		entry(2)->value_offset = le32_of(offsets[i]);
		expect_refused(decode(), VHDX_LOCATOR_UNSOUND, 1044);
	}
	begin();
	entry(1)->key_bytes = le16_of(0);
	expect_refused(decode(), VHDX_LOCATOR_UNSOUND, 1032);
	entry(1)->key_bytes = le16_of(3);
	expect_refused(decode(), VHDX_LOCATOR_UNSOUND, 1032);
	begin();
	((struct vhdx_locator *)maker.bytes)->nr_entries = le16_of(UINT16_MAX);
	expect_refused(decode(), VHDX_LOCATOR_UNSOUND, 1000);
}
