/* SPDX-License-Identifier: MIT */
/* Superblocks that contradict themselves, with a checksum that does not give them away. */
#include <criterion/criterion.h>
#include <string.h>

#include "crypt/mac.h"
#include "image/superblock.h"
#include "sealblk/units.h"

static struct mac_ctx mac;
static struct seal_superblock good;

static void set_up(void)
{
	static const uint8_t key[MAC_KEY_BYTES] = { 1 };

	cr_assert_eq(mac_init(&mac, key), 0);
	superblock_layout(&good, 100 * MIB);
	good.planes[0].key_id = le64_of(3);
	good.encryption_enabled = 1;
	good.current_plane = SEAL_ENTRY_PLANE_FIRST;
	good.open_state = SEAL_CLEAN;
	good.generation = le64_of(1);
	cr_assert_eq(superblock_finish(&good, &mac), 0);
}

static void tear_down(void)
{
	mac_done(&mac);
}

TestSuite(superblock, .init = set_up, .fini = tear_down);

static enum superblock_verdict verdict_of(struct seal_superblock *super)
{
	cr_assert_eq(superblock_finish(super, &mac), 0);
	return superblock_check(super);
}

Test(superblock, a_new_one_is_good_and_a_changed_one_is_told_by_its_checksum)
{
	struct seal_superblock other = good;

	cr_assert_eq(superblock_check(&good), SUPERBLOCK_GOOD);
	cr_assert_eq(superblock_check_mac(&good, &mac), 0);
	other.uuid[0] ^= 1;
	cr_assert_eq(superblock_check(&other), SUPERBLOCK_BAD_CRC);
	other.magic[0] ^= 1;
	cr_assert_eq(superblock_check(&other), SUPERBLOCK_NO_MAGIC);
}

Test(superblock, versions_and_features_of_the_future_are_told_from_damage)
{
	struct seal_superblock other = good;

	other.version = le32_of(SEAL_VERSION + 1);
	cr_assert_eq(verdict_of(&other), SUPERBLOCK_VERSION);
	other = good;
	other.feature_incompat = le64_of(1);
	cr_assert_eq(verdict_of(&other), SUPERBLOCK_FEATURE);
	other = good;
	other.feature_compat = le64_of(UINT64_MAX);
	cr_assert_eq(verdict_of(&other), SUPERBLOCK_GOOD);
}

#define FIELD(member) #member, offsetof(struct seal_superblock, member), sizeof(good.member)

Test(superblock, no_field_of_its_geometry_may_say_anything_else)
{
	static const struct {
		const char *name;
		size_t offset, nr_bytes;
	} fields[] = {
		{ FIELD(header_bytes) },      { FIELD(disk_bytes) },
		{ FIELD(entry_bits) },	      { FIELD(block_bytes) },
		{ FIELD(block_sectors) },     { FIELD(keyring_bytes) },
		{ FIELD(keyring_offset[0]) }, { FIELD(keyring_offset[1]) },
		{ FIELD(names_offset[0]) },   { FIELD(names_offset[1]) },
		{ FIELD(names_bytes) },	      { FIELD(bitmap_offset) },
		{ FIELD(bitmap_blocks) },     { FIELD(map_offset) },
		{ FIELD(map_blocks) },
	};

	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		for (size_t byte = 0; byte < fields[i].nr_bytes; byte++) {
			struct seal_superblock other = good;

			((uint8_t *)&other)[fields[i].offset + byte] ^= 0x81;
			cr_assert_eq(verdict_of(&other), SUPERBLOCK_GEOMETRY, "%s, byte %zu",
				     fields[i].name, byte);
		}
}

Test(superblock, no_disk_is_empty_too_large_or_ends_within_a_sector)
{
	static const uint64_t sizes[] = { 0, 1, 511, DISK_BYTES_MAX + SECTOR_BYTES, UINT64_MAX };

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct seal_superblock other = good;

		other.disk_bytes = le64_of(sizes[i]);
		cr_assert_eq(verdict_of(&other), SUPERBLOCK_GEOMETRY, "%zu", i);
	}
}

Test(superblock, policies_that_cannot_be_are_refused)
{
	struct seal_superblock rows[14];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		rows[i] = good;
	rows[0].current_plane = SEAL_ENTRY_PLANE_FIRST - 1;
	rows[1].current_plane = SEAL_ENTRY_PLANE_FIRST + PLANES_MAX;
	rows[2].current_plane = SEAL_ENTRY_PLANE_FIRST + 1; /* there is none */
	rows[3].encryption_enabled = 2;
	rows[4].encryption_enabled = 0; /* into a sealed plane */
	rows[5].revoked = 2;
	rows[6].has_base = 2;
	rows[7].open_state = SEAL_UNCLEAN + 1;
	rows[8].open_state = UINT8_MAX;
	rows[9].rewrites = (SEAL_REWRITE_ENCRYPT | SEAL_REWRITE_REKEY) + 1;
	rows[10].rewrites_paused = SEAL_REWRITE_REKEY; /* what is not under way */
	rows[11].open_seq = le64_of(UINT64_MAX);
	rows[12].encryption_enabled = UINT8_MAX;
	rows[13].rewrites = UINT8_MAX;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		cr_assert_eq(verdict_of(&rows[i]), SUPERBLOCK_GEOMETRY, "row %zu", i);
}

Test(superblock, planes_lie_behind_the_map_whole_and_apart)
{
	const uint64_t first = le64_get(good.planes[0].file_offset_bytes);
	const uint64_t next = superblock_plane_offset(&good, 1);
	struct seal_superblock rows[10];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		rows[i] = good;
		rows[i].planes[1] = good.planes[0];
		rows[i].planes[1].file_offset_bytes = le64_of(next);
	}
	cr_assert_eq(verdict_of(&rows[0]), SUPERBLOCK_GOOD);
	rows[1].planes[1].file_offset_bytes = le64_of(first);
	rows[2].planes[1].file_offset_bytes = le64_of(first - (next - first));
	rows[3].planes[1].file_offset_bytes = le64_of(next + 4096);
	rows[4].planes[1].file_offset_bytes = le64_of(first + PLANES_MAX * (next - first));
	rows[5].planes[1].first_sector = le64_of(1);
	rows[6].planes[1].sectors = le64_of(le64_get(good.planes[0].sectors) - 1);
	rows[7].planes[1].kind = SEAL_PLANE_SEALED + 1;
	rows[8].planes[1].key_id = le64_of(0);
	rows[9].planes[1].kind = SEAL_PLANE_PLAIN; /* with a key */
	for (size_t i = 1; i < ARRAY_LEN(rows); i++)
		cr_assert_eq(verdict_of(&rows[i]), SUPERBLOCK_GEOMETRY, "row %zu", i);
}
