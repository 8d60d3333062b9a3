/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>

#include "vhd/vhdx_metadata.h"
#include "vhdx_image.h"

static const struct vhdx_place region = { VHDX_TEST_METADATA, VHDX_TEST_METADATA_BYTES };
static struct vhdx_image image;
static struct vhdx_problem problem;
static struct vhdx_items items;
static struct vhdx_metadata metadata;

static void begin(void)
{
	const struct vhdx_recipe recipe = {
		.disk_bytes = 9 * MIB + 512,
		.block_bytes = 2 * MIB,
		.logical_bytes = 512,
		.id = 5,
		.is_fixed = true,
	};

	vhdx_begin(&image, -1, &recipe);
}

TestSuite(vhdx_metadata, .init = begin);

static int find(void)
{
	problem.reason = VHDX_FINE;
	return vhdx_metadata_find(image.metadata, &region, &items, &problem);
}

static int decode(void)
{
	struct vhdx_short_items bytes = { 0 };

	cr_assert_eq(find(), 0);
	for (unsigned int i = 0; i < VHDX_PARENT_LOCATOR; i++)
		memcpy(bytes.bytes[i],
		       image.metadata + (items.of[i].offset_bytes - region.offset_bytes),
		       items.of[i].nr_bytes);
	return vhdx_metadata_decode(&items, &bytes, &metadata, &problem);
}

static void expect_refused(int r, enum vhdx_reason reason, uint64_t at_bytes)
{
	cr_expect_eq(r, -EINVAL);
	cr_expect_eq(problem.reason, reason, "reason %d, not %d", (int)problem.reason, (int)reason);
	cr_expect_eq(problem.at_bytes, VHDX_TEST_METADATA + at_bytes, "at %lu",
		     (unsigned long)problem.at_bytes);
}

static struct vhdx_metadata_entry *add_foreign(uint32_t flags)
{
	static const uint8_t id[VHDX_GUID_BYTES] = { 9 };
	unsigned int number = le16_get(vhdx_table(&image)->nr_entries);

	vhdx_add_item(&image, id, VHDX_TEST_ITEMS + 1000, "xyz", 3);
	vhdx_item(&image, number)->flags = le32_of(flags);
	return vhdx_item(&image, number);
}

enum { FOREIGN_AT = 32 + 5 * 32 };

Test(vhdx_metadata, is_read)
{
	cr_assert_eq(decode(), 0);
	cr_expect_eq(metadata.disk_bytes, 9 * MIB + 512);
	cr_expect_eq(metadata.block_bytes, 2 * MIB);
	cr_expect_eq(metadata.logical_bytes, 512);
	cr_expect_eq(metadata.physical_bytes, 4096);
	cr_expect(metadata.is_fixed);
	cr_expect_not(metadata.has_parent);
	cr_expect_eq(metadata.disk_id[0], 5);
}

Test(vhdx_metadata, of_others_is_let_be)
{
	add_foreign(VHDX_METADATA_USER);
	cr_expect_eq(decode(), 0);
	/* A user's item with the id of a known one is another. */
	memcpy(vhdx_item(&image, 5)->id, vhdx_item(&image, 1)->id, VHDX_GUID_BYTES);
	cr_assert_eq(decode(), 0);
	cr_expect_eq(metadata.disk_bytes, 9 * MIB + 512);
}

Test(vhdx_metadata, that_is_required_and_not_known_is_refused)
{
	add_foreign(VHDX_METADATA_REQUIRED);
	expect_refused(find(), VHDX_ITEM_UNKNOWN, FOREIGN_AT);
	begin();
	add_foreign(VHDX_METADATA_REQUIRED | VHDX_METADATA_USER);
	expect_refused(find(), VHDX_ITEM_UNKNOWN, FOREIGN_AT);
}

Test(vhdx_metadata, item_may_be_empty)
{
	struct vhdx_metadata_entry *entry = add_foreign(0);

	entry->offset = le32_of(0);
	entry->nr_bytes = le32_of(0);
	cr_expect_eq(find(), 0);
	entry->offset = le32_of(VHDX_TEST_ITEMS);
	expect_refused(find(), VHDX_ITEM_PLACE, FOREIGN_AT);
}

Test(vhdx_metadata, item_outside_its_region_is_refused)
{
	static const struct {
		uint32_t offset, nr_bytes;
	} places[] = {
		{ 65535, 4 },	    { 0, 4 },
		{ MIB - 3, 4 },	    { MIB, 1 },
		{ UINT32_MAX, 4 },  { UINT32_MAX, UINT32_MAX },
		{ 65536, MIB + 1 }, { 65536, UINT32_MAX },
	};
	struct vhdx_metadata_entry *entry = add_foreign(0);

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		entry->offset = le32_of(places[i].offset);
		entry->nr_bytes = le32_of(places[i].nr_bytes);
		expect_refused(find(), VHDX_ITEM_PLACE, FOREIGN_AT);
	}
	entry->offset = le32_of(MIB - 4);
	entry->nr_bytes = le32_of(4);
	cr_expect_eq(find(), 0);
}

Test(vhdx_metadata, items_that_overlap_are_refused)
{
	struct vhdx_metadata_entry *entry = add_foreign(0);

	entry->offset = le32_of(VHDX_TEST_ITEMS + 39);
	expect_refused(find(), VHDX_ITEMS_OVERLAP, FOREIGN_AT);
	entry->offset = le32_of(VHDX_TEST_ITEMS + 40);
	cr_expect_eq(find(), 0);
}

Test(vhdx_metadata, that_is_there_twice_is_refused)
{
	memcpy(add_foreign(0)->id, vhdx_item(&image, 2)->id, VHDX_GUID_BYTES);
	expect_refused(find(), VHDX_ITEM_TWICE, FOREIGN_AT);
}

Test(vhdx_metadata, that_lacks_an_item_is_refused)
{
	static const enum vhdx_reason reasons[] = { VHDX_NO_FILE_PARAMETERS, VHDX_NO_DISK_SIZE,
						    VHDX_NO_DISK_ID, VHDX_NO_LOGICAL_SECTOR,
						    VHDX_NO_PHYSICAL_SECTOR };

	for (unsigned int i = 0; i < 5; i++) {
		begin();
		vhdx_item(&image, i)->id[3] ^= 1;
		vhdx_item(&image, i)->flags = le32_of(0);
		expect_refused(find(), reasons[i], 0);
	}
}

Test(vhdx_metadata, item_of_the_wrong_length_is_refused)
{
	for (unsigned int i = 0; i < 5; i++) {
		struct vhdx_metadata_entry *entry = vhdx_item(&image, i);
		const uint32_t was = le32_get(entry->nr_bytes);

		entry->nr_bytes = le32_of(was - 1);
		expect_refused(find(), VHDX_ITEM_LENGTH, 32 + i * 32);
		entry->nr_bytes = le32_of(was);
	}
}

Test(vhdx_metadata, table_that_is_none_is_refused)
{
	vhdx_table(&image)->nr_entries = le16_of(2048);
	expect_refused(find(), VHDX_TOO_MANY_ITEMS, 10);
	vhdx_table(&image)->signature[7] = 'b';
	expect_refused(find(), VHDX_NO_TABLE, 0);
}

/* 2047 entries that are all alike but for their ids, and empty. */
Test(vhdx_metadata, table_may_be_full, .timeout = 5)
{
	for (unsigned int i = 5; i < VHDX_METADATA_ENTRIES_MAX; i++) {
		struct vhdx_metadata_entry *entry = vhdx_item(&image, i);

		if ((uint8_t *)(entry + 1) > image.metadata + VHDX_METADATA_TABLE_BYTES)
			break;
		memset(entry, 0, sizeof(*entry));
		entry->id[0] = (uint8_t)i;
		entry->id[1] = (uint8_t)(i >> 8);
	}
	vhdx_table(&image)->nr_entries = le16_of(VHDX_METADATA_ENTRIES_MAX);
	cr_expect_eq(decode(), 0);
}

/* ---- what the items say ---- */

static void expect_lie(unsigned int item, const void *lie, size_t nr_bytes, enum vhdx_reason reason)
{
	const uint32_t at = le32_get(vhdx_item(&image, item)->offset);
	uint8_t was[16];

	memcpy(was, image.metadata + at, nr_bytes);
	memcpy(image.metadata + at, lie, nr_bytes);
	expect_refused(decode(), reason, at);
	memcpy(image.metadata + at, was, nr_bytes);
}

Test(vhdx_metadata, sizes_that_cannot_be_are_refused)
{
	static const uint32_t blocks[] = {
		0, 512, MIB / 2, 3 << 20, 512 << 20, UINT32_MAX, 1u << 31
	};
	static const uint32_t sectors[] = { 0, 1, 1024, 2048, 8192, UINT32_MAX };
	static const uint64_t disks[] = { 0, 511, MIB + 1, 64 * TIB + 512, UINT64_MAX };

	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
		const le32 lie = le32_of(blocks[i]);

		expect_lie(0, &lie, sizeof(lie), VHDX_BAD_BLOCK_SIZE);
	}
	for (size_t i = 0; i < sizeof(sectors) / sizeof(sectors[0]); i++) {
		const le32 lie = le32_of(sectors[i]);

		expect_lie(3, &lie, sizeof(lie), VHDX_BAD_LOGICAL_SECTOR);
		expect_lie(4, &lie, sizeof(lie), VHDX_BAD_PHYSICAL_SECTOR);
	}
	for (size_t i = 0; i < sizeof(disks) / sizeof(disks[0]); i++) {
		const le64 lie = le64_of(disks[i]);

		expect_lie(1, &lie, sizeof(lie), VHDX_BAD_DISK_SIZE);
	}
	cr_expect_eq(decode(), 0);
}

Test(vhdx_metadata, disk_is_whole_in_its_logical_sectors)
{
	const le32 sector = le32_of(4096);

	memcpy(vhdx_item_bytes(&image, 3), &sector, sizeof(sector));
	expect_refused(decode(), VHDX_BAD_DISK_SIZE, VHDX_TEST_ITEMS + 8);
}

Test(vhdx_metadata, with_a_parent_has_a_locator)
{
	const le32 flags = le32_of(VHDX_HAS_PARENT | VHDX_LEAVE_ALLOCATED);

	memcpy(vhdx_item_bytes(&image, 0) + 4, &flags, sizeof(flags));
	expect_refused(decode(), VHDX_NO_PARENT_LOCATOR, VHDX_TEST_ITEMS);
}
