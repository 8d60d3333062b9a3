/* SPDX-License-Identifier: MIT */
/*
 * Checking an image whose rules are broken with care: checksums are right, so
 * that what is found is what the test changed. Flipped bytes, files and exit
 * codes are tests/functional/test-cli-check.sh's.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/check.h"
#include "image/create.h"
#include "image/superblock.h"
#include "keys/key_mem.h"
#include "keys/keyring.h"
#include "map/block.h"

/* Three map blocks; the last is cut by the disk's end. */
enum { DISK_SECTORS = 2 * SEAL_BLOCK_SECTORS + 1000, TOLD_MAX = 8, SEALED = 2, NO_PLANE = 9 };

struct fixture {
	char folder[32];
	int fd;
	struct ring *ring;
	struct store store;
	struct key_secret *secret;
	struct seal_superblock super;
	struct seal_keyring keyring;
	struct keyring_keys *keys;
	struct mac_ctx mac;
	struct mac_ctx forger; /* another key: checksums come out right, MACs do not */

	/* What the last check told. */
	struct check_result result;
	struct check_finding told[TOLD_MAX];
	unsigned int nr_told;
};

static void read_at(const struct fixture *f, off_t at, void *bytes, size_t nr_bytes)
{
	cr_assert_eq(pread(f->fd, bytes, nr_bytes, at), (ssize_t)nr_bytes);
}

static void write_at(const struct fixture *f, off_t at, const void *bytes, size_t nr_bytes)
{
	cr_assert_eq(pwrite(f->fd, bytes, nr_bytes, at), (ssize_t)nr_bytes);
}

static void open_keys(struct fixture *f)
{
	const struct key_secret *secret = f->secret;
	static const uint8_t forged[MAC_KEY_BYTES] = { 1 };
	unsigned int slot;

	read_at(f, SEAL_SUPERBLOCK_A, &f->super, sizeof(f->super));
	read_at(f, SEAL_KEYRING_A, &f->keyring, sizeof(f->keyring));
	cr_assert_eq(keyring_unlock(&f->keyring, &secret, 1, &slot, &f->keys), 0);
	cr_assert_eq(
		mac_init(&f->mac, keyring_find_mac_key(f->keys, le64_get(f->super.mac_key_id))), 0);
	cr_assert_eq(mac_init(&f->forger, forged), 0);
}

static struct fixture *set_up(void)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct image_recipe recipe = {
		.disk_bytes = sectors_to_bytes(DISK_SECTORS),
		.encryption = true,
		.now_s = 1700000000,
	};
	struct problem problem;

	cr_assert_not_null(f);
	strcpy(f->folder, "/tmp/sealblk-check-XXXXXX");
	cr_assert_not_null(mkdtemp(f->folder));
	cr_assert_eq(chdir(f->folder), 0);
	cr_assert_eq(ring_sync_new(&f->ring), 0);
	f->secret = key_mem_new(sizeof(*f->secret));
	cr_assert_not_null(f->secret);
	f->secret->kind = KEY_SOURCE_FILE;
	f->secret->nr_bytes = KEY_FILE_BYTES_MIN;
	recipe.secret = f->secret;
	cr_assert_eq(image_create(f->ring, "image", &recipe, &problem), 0, "%s", problem.text);
	f->fd = open("image", O_RDWR | O_CLOEXEC);
	cr_assert_eq(store_file_init(&f->store, f->fd, STORE_LOCK_NONE, 0), 0);
	open_keys(f);
	return f;
}

static void tear_down(struct fixture *f)
{
	mac_done(&f->mac);
	mac_done(&f->forger);
	key_mem_free(f->keys);
	key_mem_free(f->secret);
	store_close(&f->store);
	ring_free(f->ring);
	unlink("image");
	cr_assert_eq(chdir("/"), 0);
	cr_assert_eq(rmdir(f->folder), 0);
	free(f);
}

static void tell(void *arg, const struct check_finding *finding)
{
	struct fixture *f = arg;

	cr_assert_lt(f->nr_told, TOLD_MAX, "also told: %s %s", finding->subject, finding->what);
	f->told[f->nr_told++] = *finding;
}

static int check(struct fixture *f, bool with_key)
{
	const struct check_order order = {
		.path = "image",
		.store = &f->store,
		.ring = f->ring,
		.secret = with_key ? f->secret : NULL,
		.tell = tell,
		.arg = f,
	};
	struct problem problem;

	f->nr_told = 0;
	return check_image(&order, &f->result, &problem);
}

/* Exactly one problem, and of this. */
static void expect_problem(struct fixture *f, bool with_key, const char *subject, const char *what)
{
	cr_assert_eq(check(f, with_key), 0);
	cr_assert_eq(f->result.nr_problems, 1, "%u problems, not 1",
		     (unsigned int)f->result.nr_problems);
	cr_expect_str_eq(f->told[0].subject, subject);
	cr_expect_not_null(strstr(f->told[0].what, what), "told: %s", f->told[0].what);
}

static void expect_sound(struct fixture *f, bool with_key)
{
	cr_assert_eq(check(f, with_key), 0);
	cr_expect_eq(f->result.nr_problems, 0, "%s %s", f->told[0].subject, f->told[0].what);
}

/* ---- breaking rules ---- */

static void write_super(struct fixture *f, struct mac_ctx *mac)
{
	cr_assert_eq(superblock_finish(&f->super, mac), 0);
	write_at(f, SEAL_SUPERBLOCK_A, &f->super, sizeof(f->super));
	write_at(f, SEAL_SUPERBLOCK_B, &f->super, sizeof(f->super));
}

static void set_unclean(struct fixture *f)
{
	f->super.open_state = SEAL_UNCLEAN;
	write_super(f, &f->mac);
}

static void write_keyring(struct fixture *f)
{
	cr_assert_eq(keyring_finish(&f->keyring, f->keys), 0);
	write_at(f, SEAL_KEYRING_A, &f->keyring, sizeof(f->keyring));
	write_at(f, SEAL_KEYRING_B, &f->keyring, sizeof(f->keyring));
}

/* Both slots of a bitmap that says: all map blocks were written. */
static void write_bitmap(struct fixture *f)
{
	struct block_identity id = { .kind = BLOCK_BITMAP,
				     .uuid = f->super.uuid,
				     .mac_key_id = le64_get(f->super.mac_key_id) };
	struct seal_block block = { .body = { 7 } };

	block_begin(&block, &id, 5);
	cr_assert_eq(block_finish(&block, &f->mac), 0);
	write_at(f, SEAL_BITMAP_START, &block, sizeof(block));
	write_at(f, SEAL_BITMAP_START + SEAL_BLOCK_BYTES, &block, sizeof(block));
}

/* One slot of map block @index: entry @sector is @value, all others 0. */
static void write_slot(struct fixture *f, uint64_t index, unsigned int slot, uint64_t generation,
		       uint32_t sector, uint8_t value, struct mac_ctx *mac)
{
	struct block_identity id = { .kind = BLOCK_MAP,
				     .index = index,
				     .uuid = f->super.uuid,
				     .mac_key_id = le64_get(f->super.mac_key_id) };
	struct seal_block block = { 0 };
	uint64_t at = le64_get(f->super.map_offset) + index * SEAL_PAIR_BYTES +
		      (uint64_t)slot * SEAL_BLOCK_BYTES;

	block.body[sector / 2] = (uint8_t)(value << (sector % 2 * 4));
	block_begin(&block, &id, generation);
	cr_assert_eq(block_finish(&block, mac), 0);
	write_at(f, (off_t)at, &block, sizeof(block));
}

static void write_pair(struct fixture *f, uint64_t index, uint32_t sector, uint8_t value,
		       struct mac_ctx *mac)
{
	for (unsigned int slot = 0; slot < 2; slot++)
		write_slot(f, index, slot, 5, sector, value, mac);
}

/* A map of three written blocks: two of zeros, and one that names a sector there is. */
static void write_map(struct fixture *f)
{
	static const uint8_t sector[SECTOR_BYTES] = { 1 };
	uint64_t plane = le64_get(f->super.planes[0].file_offset_bytes);

	f->super.counts_generation = le64_of(0);
	write_super(f, &f->mac);
	write_bitmap(f);
	write_pair(f, 0, 0, 0, &f->mac);
	write_pair(f, 1, 7, SEALED, &f->mac);
	write_pair(f, 2, 0, 0, &f->mac);
	write_at(f, (off_t)(plane + sectors_to_bytes(SEAL_BLOCK_SECTORS + 7)), sector,
		 sizeof(sector));
}

/* ---- tests ---- */

Test(check, a_new_image_is_sound)
{
	struct fixture *f = set_up();

	expect_sound(f, true);
	cr_expect(f->result.has_macs && f->result.has_map && f->result.has_places);
	cr_expect_eq(f->result.nr_bitmap_blocks, 1);
	cr_expect_eq(f->result.nr_map_blocks, 0);
	cr_expect_eq(f->result.nr_planes, 1);
	expect_sound(f, false);
	cr_expect_not(f->result.has_macs);
	tear_down(f);
}

Test(check, an_image_with_a_map_is_sound)
{
	struct fixture *f = set_up();

	write_map(f);
	expect_sound(f, true);
	cr_expect_eq(f->result.nr_map_blocks, 3);
	cr_expect_eq(f->nr_told, 0);
	tear_down(f);
}

/* Counts for write_map(), and for as many sectors more. */
static void write_counts(struct fixture *f, uint64_t too_many)
{
	f->super.counts[0] = le64_of(DISK_SECTORS - 1);
	f->super.counts[SEALED] = le64_of(1 + too_many);
	f->super.counts_generation = f->super.generation;
	write_super(f, &f->mac);
}

Test(check, counts_are_held_against_the_map)
{
	struct fixture *f = set_up();

	write_map(f);
	write_counts(f, 0);
	expect_sound(f, true);
	write_counts(f, 5);
	expect_problem(f, true, "superblock", "counts 6 sectors of map value 2, but the map has 1");
	expect_problem(f, false, "superblock", "counts 6 sectors");
	f->super.generation = le64_of(le64_get(f->super.generation) + 1);
	write_super(f, &f->mac);
	expect_sound(f, true);
	tear_down(f);
}

Test(check, counts_of_an_image_with_a_damaged_block_are_not_judged)
{
	struct fixture *f = set_up();

	write_map(f);
	write_counts(f, 5);
	write_slot(f, 0, 1, 6, 0, SEAL_ENTRY_ZERO, &f->mac);
	expect_problem(f, true, "map block 0", "though the image was closed");
	set_unclean(f);
	expect_sound(f, true);
	tear_down(f);
}

Test(check, a_wrong_key_ends_it)
{
	struct fixture *f = set_up();

	f->secret->bytes[0] ^= 1;
	cr_expect_eq(check(f, true), -EKEYREJECTED);
	tear_down(f);
}

Test(check, revoked_keys_are_not_used_and_the_rest_is_checked_without)
{
	struct fixture *f = set_up();

	f->super.revoked = 1;
	write_super(f, &f->mac);
	cr_expect_eq(check(f, true), -EKEYREJECTED);
	expect_sound(f, false);
	tear_down(f);
}

Test(check, a_forged_map_block_is_found_with_a_key_only)
{
	struct fixture *f = set_up();

	write_map(f);
	write_pair(f, 0, 0, SEAL_ENTRY_ZERO, &f->forger);
	expect_sound(f, false);
	cr_assert_eq(check(f, true), 0);
	cr_assert_eq(f->result.nr_problems, 2, "each slot");
	cr_expect_str_eq(f->told[1].subject, "map block 0, slot 1");
	cr_expect_not_null(strstr(f->told[1].what, "wrong MAC"));
	cr_expect_eq(f->told[1].offset_bytes, le64_get(f->super.map_offset) + SEAL_BLOCK_BYTES);
	cr_expect_not_null(strstr(f->told[1].means, "bytes 0 to 4063231 of the disk"));
	tear_down(f);
}

Test(check, a_forged_superblock_is_found_with_a_key_only)
{
	struct fixture *f = set_up();

	f->super.created_s = le64_of(1);
	write_super(f, &f->forger);
	expect_sound(f, false);
	cr_assert_eq(check(f, true), 0);
	cr_assert_eq(f->result.nr_problems, 2, "each copy");
	cr_expect_str_eq(f->told[0].subject, "superblock A");
	cr_expect_not_null(strstr(f->told[0].what, "wrong MAC"));
	tear_down(f);
}

Test(check, a_block_may_name_only_planes_that_are_there)
{
	struct fixture *f = set_up();

	write_map(f);
	write_pair(f, 0, 3, NO_PLANE, &f->mac);
	cr_assert_eq(check(f, false), 0);
	cr_assert_eq(f->result.nr_problems, 2, "each slot");
	cr_expect_not_null(strstr(f->told[0].what, "names a plane that does not exist"));
	tear_down(f);
}

Test(check, a_block_may_not_be_older_than_a_plane_it_names)
{
	struct fixture *f = set_up();

	write_map(f);
	f->super.planes[0].born_generation = le64_of(6);
	write_super(f, &f->mac);
	cr_assert_eq(check(f, true), 0);
	cr_assert_eq(f->result.nr_problems, 2, "each slot of block 1");
	cr_expect_str_eq(f->told[0].subject, "map block 1, slot 0");
	tear_down(f);
}

Test(check, entries_behind_the_disks_end_are_zero)
{
	struct fixture *f = set_up();

	write_map(f);
	write_pair(f, 2, 1000, SEAL_ENTRY_ZERO, &f->mac);
	expect_problem(f, true, "map block 2", "behind the disk's end");
	write_pair(f, 2, 999, SEAL_ENTRY_ZERO, &f->mac);
	expect_sound(f, true);
	tear_down(f);
}

Test(check, slots_that_differ_are_damage_when_clean_and_a_crash_when_not)
{
	struct fixture *f = set_up();

	write_map(f);
	write_slot(f, 0, 1, 6, 0, SEAL_ENTRY_ZERO, &f->mac);
	expect_problem(f, true, "map block 0", "though the image was closed");
	set_unclean(f);
	expect_sound(f, true);
	cr_expect(f->result.unclean);
	cr_assert_eq(f->nr_told, 1, "the note");
	cr_expect_eq(f->told[0].level, CHECK_NOTE);
	cr_expect_not_null(strstr(f->told[0].what, "in 1 pairs one slot is stale"));
	tear_down(f);
}

Test(check, two_slots_of_one_generation_that_differ_are_damage_always)
{
	struct fixture *f = set_up();

	write_map(f);
	write_slot(f, 0, 1, 5, 0, SEAL_ENTRY_ZERO, &f->mac);
	set_unclean(f);
	expect_problem(f, true, "map block 0", "of the same generation");
	tear_down(f);
}

Test(check, a_superblock_that_lags_is_a_problem_unless_a_crash_explains_it)
{
	struct fixture *f = set_up();
	struct seal_superblock older = f->super;

	f->super.generation = le64_of(2);
	write_super(f, &f->mac);
	write_at(f, SEAL_SUPERBLOCK_B, &older, sizeof(older));
	expect_problem(f, true, "superblock B", "older than its twin: generation 1, not 2");
	set_unclean(f);
	write_at(f, SEAL_SUPERBLOCK_B, &older, sizeof(older));
	expect_sound(f, true);
	cr_expect_eq(f->result.nr_notes, 2, "that, and that it is unclean");
	tear_down(f);
}

Test(check, a_wrapped_key_that_does_not_unwrap_is_named)
{
	struct fixture *f = set_up();

	f->keyring.plane_keys[0].wrapped[5] ^= 1;
	write_keyring(f);
	expect_sound(f, false);
	expect_problem(f, true, "plane key row 0", "does not unwrap");
	cr_expect_eq(f->told[0].offset_bytes,
		     SEAL_KEYRING_A + offsetof(struct seal_keyring, plane_keys));
	tear_down(f);
}

Test(check, a_forged_keyring_is_found)
{
	struct fixture *f = set_up();
	struct keyring_keys *keys = key_mem_new(sizeof(*keys));

	cr_assert_not_null(keys);
	*keys = *f->keys;
	keys->mac[0].key[0] ^= 1;
	f->keyring.slots[0].created_s = le64_of(1);
	cr_assert_eq(keyring_finish(&f->keyring, keys), 0);
	key_mem_free(keys);
	write_at(f, SEAL_KEYRING_A, &f->keyring, sizeof(f->keyring));
	write_at(f, SEAL_KEYRING_B, &f->keyring, sizeof(f->keyring));
	expect_problem(f, true, "keyring A", "has a wrong MAC");
	tear_down(f);
}

Test(check, a_key_that_the_superblock_names_must_be_there)
{
	struct fixture *f = set_up();

	f->super.planes[0].key_id = le64_of(77);
	write_super(f, &f->mac);
	expect_problem(f, false, "keyring A", "lacks plane key 77, which the superblock names");
	tear_down(f);
}

Test(check, ids_that_were_never_given_out_are_found_without_a_key)
{
	struct fixture *f = set_up();

	f->keyring.slots[0].key_id = le64_of(1000);
	write_keyring(f);
	expect_problem(f, false, "key slot 0", "never given out");
	tear_down(f);
}

Test(check, a_newer_format_is_not_judged)
{
	struct fixture *f = set_up();

	f->super.feature_incompat = le64_of(1);
	write_super(f, &f->mac);
	cr_assert_eq(check(f, true), 0);
	cr_expect_eq(f->result.nr_problems, 2, "each copy");
	cr_expect_not_null(strstr(f->told[0].what, "newer sealblk"));
	cr_expect_not(f->result.has_map);
	tear_down(f);
}

Test(check, without_a_bitmap_nothing_is_said_of_the_planes)
{
	static const uint8_t zeros[SEAL_PAIR_BYTES];
	struct fixture *f = set_up();

	write_map(f);
	write_at(f, SEAL_BITMAP_START, zeros, sizeof(zeros));
	cr_assert_eq(check(f, true), 0);
	cr_expect_eq(f->result.nr_problems, 2, "each slot");
	cr_expect_not(f->result.has_places);
	tear_down(f);
}

Test(check, superseded_data_is_counted_and_recoverys_business_when_unclean)
{
	static const uint8_t left[3 * SECTOR_BYTES] = { [0] = 1, [2 * SECTOR_BYTES] = 1 };
	struct fixture *f = set_up();
	uint64_t plane = le64_get(f->super.planes[0].file_offset_bytes);

	write_map(f);
	write_at(f, (off_t)(plane + sectors_to_bytes(100)), left, sizeof(left));
	expect_problem(f, true, "plane 2", "holds 2 sectors of ciphertext that no entry names");
	cr_expect_eq(f->told[0].offset_bytes, plane + sectors_to_bytes(100));
	cr_expect_eq(f->told[0].nr_bytes, sectors_to_bytes(2));
	set_unclean(f);
	expect_sound(f, true);
	tear_down(f);
}

Test(check, nothing_is_written)
{
	struct fixture *f = set_up();
	int fd = open("image", O_RDONLY | O_CLOEXEC);

	store_close(&f->store);
	cr_assert_eq(store_file_init(&f->store, fd, STORE_LOCK_SHARED, 0), 0);
	expect_sound(f, true);
	tear_down(f);
}
