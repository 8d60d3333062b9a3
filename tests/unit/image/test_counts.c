/* SPDX-License-Identifier: MIT */
/* Counts of sectors across opens: kept by a close, made anew where they must be. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "image/create.h"
#include "image/image.h"
#include "image/superblock.h"
#include "map/entries.h"
#include "unit/keys/fixture.h"

enum {
	SECTORS = 3 * SEAL_BLOCK_SECTORS,
	BASE_DATA_FIRST = 8192, /* data in the middle of the base, holes around it */
	BASE_DATA_SECTORS = 2048,
	BASE_SECTORS = 20000,
	SEALED_PLANE = 2,
};

/* ---- a dirty store of one file ---- */

struct one_file {
	struct dirty_store store;
	uint8_t *bytes;
	uint8_t nonce[SEAL_NONCE_BYTES];
};

static int create_file(struct dirty_store *store, const uint8_t uuid[SEAL_UUID_BYTES],
		       const uint8_t nonce[SEAL_NONCE_BYTES], void **ret_memory)
{
	struct one_file *file = CONTAINER_OF(store, struct one_file, store);

	(void)uuid;
	file->bytes = calloc(1, DIRTY_FILE_BYTES);
	memcpy(file->nonce, nonce, sizeof(file->nonce));
	*ret_memory = file->bytes;
	return 0;
}

static int find_file(struct dirty_store *store, const uint8_t uuid[SEAL_UUID_BYTES],
		     const uint8_t nonce[SEAL_NONCE_BYTES], void **ret_memory)
{
	struct one_file *file = CONTAINER_OF(store, struct one_file, store);

	(void)uuid;
	if (memcmp(file->nonce, nonce, sizeof(file->nonce)) != 0)
		return -ENOENT;
	*ret_memory = file->bytes;
	return 0;
}

static void release_file(struct dirty_store *store, void *memory)
{
	(void)store;
	(void)memory; /* all files of a test live as long as it does */
}

static void keep_only(struct dirty_store *store, const uint8_t uuid[SEAL_UUID_BYTES],
		      uint64_t inode, const uint8_t *nonce)
{
	(void)store;
	(void)uuid;
	(void)inode;
	(void)nonce;
}

static const struct dirty_store_ops one_file_ops = {
	.create = create_file,
	.find = find_file,
	.release = release_file,
	.keep_only = keep_only,
};

/* ---- an image over a base ---- */

struct world {
	char folder[32];
	struct ring *ring;
	struct key_secret *secret;
	struct one_file dirty;
	struct image *image;
	struct problem problem;
};

static void write_base(uint64_t sector, uint64_t nr_sectors, uint8_t value)
{
	uint8_t *bytes = malloc(sectors_to_bytes(nr_sectors));
	int fd = open("base", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	memset(bytes, value, sectors_to_bytes(nr_sectors));
	cr_assert_eq(pwrite(fd, bytes, sectors_to_bytes(nr_sectors),
			    (off_t)sectors_to_bytes(sector)),
		     (ssize_t)sectors_to_bytes(nr_sectors));
	cr_assert_eq(ftruncate(fd, BASE_SECTORS * SECTOR_BYTES), 0);
	close(fd);
	free(bytes);
}

static void create(struct world *world)
{
	struct base_identity *identity = calloc(1, sizeof(*identity));
	struct image_recipe recipe = {
		.disk_bytes = sectors_to_bytes(SECTORS),
		.encryption = true,
		.now_s = 1700000000,
		.secret = world->secret,
		.base = identity,
	};
	struct base base;

	cr_assert_eq(base_open(&base, open("base", O_RDONLY | O_CLOEXEC), "base", BASE_RAW,
			       &base_opener_direct, &world->problem),
		     0);
	cr_assert_eq(base_identity_take(&base, "base", "image", true, identity, &world->problem),
		     0);
	cr_assert_eq(image_create(world->ring, "image", &recipe, &world->problem), 0, "%s",
		     world->problem.text);
	base_close(&base);
	free(identity);
}

static void load(struct world *world)
{
	const struct key_secret *secret = world->secret;
	struct store store;

	cr_assert_eq(store_file_init(&store, open("image", O_RDWR | O_CLOEXEC), STORE_LOCK_NONE, 0),
		     0);
	cr_assert_eq(image_load(&store, "image", world->ring, true, &world->image, &world->problem),
		     0, "%s", world->problem.text);
	cr_assert_eq(image_unlock(world->image, &secret, 1, &world->problem), 0);
}

static void start(struct world *world)
{
	const struct image_session session = { .dirty_store = &world->dirty.store,
					       .xts = &xts_openssl_ops };

	cr_assert_eq(image_start(world->image, &session, &world->problem), 0, "%s",
		     world->problem.text);
}

static void open_image(struct world *world)
{
	load(world);
	cr_assert_eq(image_attach_base(world->image, open("base", O_RDONLY | O_CLOEXEC), "base",
				       &base_opener_direct, &world->problem),
		     0, "%s", world->problem.text);
	start(world);
}

static void abandon(struct world *world)
{
	world->image = image_free(world->image);
}

static void close_image(struct world *world)
{
	cr_assert_eq(image_stop(world->image, &world->problem), 0, "%s", world->problem.text);
	abandon(world);
}

static struct world *world_new(void)
{
	struct world *world = calloc(1, sizeof(*world));

	enter_folder(world->folder);
	world->dirty.store.ops = &one_file_ops;
	cr_assert_eq(ring_sync_new(&world->ring), 0);
	world->secret = secret_of(KEY_SOURCE_FILE, "a key, of more than thirty-two bytes");
	write_base(BASE_DATA_FIRST, BASE_DATA_SECTORS, 'x');
	create(world);
	open_image(world);
	return world;
}

static void world_free(struct world *world)
{
	static const char *const names[] = { "image", "base", NULL };

	abandon(world);
	ring_free(world->ring);
	key_mem_free(world->secret);
	leave_folder(world->folder, names);
	free(world);
}

static void woken(struct waiter *waiter)
{
	(void)waiter;
}

/* Only the entries move: what the sectors hold is not looked at. */
static void write_sectors(struct world *world, uint64_t first, uint64_t nr)
{
	struct map *map = &world->image->disk.map;
	struct waiter waiter = { .wake = woken };
	unsigned int parity;
	uint8_t entry;

	while (map_write_begin(map, &world->image->lane, first, nr, &waiter, &entry, &parity) == 1)
		cr_assert_eq(image_flush(world->image), 0);
	map_write_end(map, &world->image->lane, first, nr, entry, parity, 0);
}

static void expect_counts(const struct world *world, uint64_t sealed, uint64_t base_data)
{
	const struct map_counts *counts = &world->image->disk.map.counts;

	cr_expect(counts->known);
	cr_expect(counts->base_known);
	cr_expect_eq(counts->sectors[SEALED_PLANE], sealed);
	cr_expect_eq(counts->sectors[SEAL_ENTRY_BASE], SECTORS - sealed);
	cr_expect_eq(counts->base_data, base_data);
}

/* As another program may leave it: whole, with a good MAC, in both copies. */
static void rewrite_super(struct world *world, void (*change)(struct seal_superblock *super))
{
	int fd = open("image", O_RDWR | O_CLOEXEC);
	struct seal_superblock super;

	load(world);
	super = world->image->super;
	change(&super);
	cr_assert_eq(superblock_finish(&super, &world->image->lane.mac), 0);
	cr_assert_eq(pwrite(fd, &super, sizeof(super), SEAL_SUPERBLOCK_A), (ssize_t)sizeof(super));
	cr_assert_eq(pwrite(fd, &super, sizeof(super), SEAL_SUPERBLOCK_B), (ssize_t)sizeof(super));
	close(fd);
	abandon(world);
}

/* ---- tests ---- */

Test(image_counts, are_there_from_the_first_open_on)
{
	struct world *world = world_new();

	expect_counts(world, 0, BASE_DATA_SECTORS);
	write_sectors(world, BASE_DATA_FIRST - 10, 30);
	expect_counts(world, 30, BASE_DATA_SECTORS - 20);
	world_free(world);
}

Test(image_counts, are_kept_by_a_clean_close)
{
	struct world *world = world_new();

	write_sectors(world, BASE_DATA_FIRST - 10, 30);
	close_image(world);
	load(world);
	expect_counts(world, 30, BASE_DATA_SECTORS - 20);
	cr_expect(image_has_counts(world->image));
	abandon(world);
	open_image(world);
	cr_expect_not(image_has_counts(world->image), "unclean: they are in memory only");
	expect_counts(world, 30, BASE_DATA_SECTORS - 20);
	world_free(world);
}

Test(image_counts, are_made_anew_after_a_crash)
{
	struct world *world = world_new();

	write_sectors(world, 0, 5);
	cr_assert_eq(image_flush(world->image), 0);
	write_sectors(world, BASE_DATA_FIRST - 10, 30); /* only in the dirty file */
	abandon(world);
	load(world);
	cr_expect_not(world->image->disk.map.counts.known);
	abandon(world);
	open_image(world);
	cr_expect_eq(world->image->nr_recovered_records, 1);
	expect_counts(world, 35, BASE_DATA_SECTORS - 20);
	close_image(world);
	load(world);
	expect_counts(world, 35, BASE_DATA_SECTORS - 20);
	world_free(world);
}

static void write_once_more(struct seal_superblock *super)
{
	super->generation = le64_of(le64_get(super->generation) + 1);
	super->counts[0] = le64_of(le64_get(super->counts[0]) - 7);
	super->counts[1] = le64_of(7);
}

static void lose_a_sector(struct seal_superblock *super)
{
	super->counts[0] = le64_of(le64_get(super->counts[0]) - 1);
}

static void count_in_no_plane(struct seal_superblock *super)
{
	super->counts[9] = super->counts[0];
	super->counts[0] = le64_of(0);
}

static void overflow(struct seal_superblock *super)
{
	super->counts[0] = le64_of(le64_get(super->counts[0]) + 1);
	super->counts[1] = le64_of(UINT64_MAX);
}

static void count_too_much_of_the_base(struct seal_superblock *super)
{
	super->counts_base_data = le64_of(SECTORS + 1);
}

Test(image_counts, that_are_not_of_this_superblock_or_contradict_it_are_made_anew)
{
	static void (*const changes[])(struct seal_superblock * super) = {
		write_once_more,
		lose_a_sector,
		count_in_no_plane,
		overflow,
		count_too_much_of_the_base,
	};
	struct world *world = world_new();

	write_sectors(world, BASE_DATA_FIRST - 10, 30);
	close_image(world);
	for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
		rewrite_super(world, changes[i]);
		load(world);
		cr_expect_not(world->image->disk.map.counts.known, "change %zu", i);
		abandon(world);
		open_image(world);
		expect_counts(world, 30, BASE_DATA_SECTORS - 20);
		close_image(world);
	}
	load(world);
	expect_counts(world, 30, BASE_DATA_SECTORS - 20);
	world_free(world);
}

Test(image_counts, of_the_base_are_made_anew_when_its_holes_have_moved)
{
	struct world *world = world_new();

	write_sectors(world, BASE_DATA_FIRST - 10, 30);
	close_image(world);
	write_base(0, 80, 0); /* as a copy may: the same content, stored */
	open_image(world);
	expect_counts(world, 30, BASE_DATA_SECTORS - 20 + 80);
	world_free(world);
}

Test(image_counts, of_the_base_stay_while_it_is_not_open_and_nothing_is_written)
{
	struct world *world = world_new();

	write_sectors(world, BASE_DATA_FIRST - 10, 30);
	close_image(world);
	load(world);
	start(world); /* as `sealblk encryption` does */
	close_image(world);
	load(world);
	expect_counts(world, 30, BASE_DATA_SECTORS - 20);
	start(world);
	write_sectors(world, 0, 1);
	cr_expect_not(world->image->disk.map.counts.base_known);
	close_image(world);
	load(world);
	cr_expect(world->image->disk.map.counts.known);
	cr_expect_not(world->image->disk.map.counts.base_known);
	abandon(world);
	open_image(world);
	expect_counts(world, 31, BASE_DATA_SECTORS - 20);
	world_free(world);
}

static int cannot_tell(void *base, uint64_t first_sector, uint64_t limit_sectors, bool *ret_hole,
		       uint64_t *ret_sectors)
{
	(void)base;
	(void)first_sector;
	(void)limit_sectors;
	(void)ret_hole;
	(void)ret_sectors;
	return -EIO;
}

/* Data and holes in turn, a sector each. */
static int flutter(void *base, uint64_t first_sector, uint64_t limit_sectors, bool *ret_hole,
		   uint64_t *ret_sectors)
{
	(void)base;
	(void)limit_sectors;
	*ret_hole = first_sector % 2;
	*ret_sectors = 1;
	return 0;
}

Test(image_counts, of_a_base_that_cannot_tell_its_extents_are_unknown)
{
	struct world *world = world_new();
	struct map *map;

	close_image(world);
	load(world);
	map = &world->image->disk.map;
	map->config.base_extent = cannot_tell;
	image_find_base_extents(world->image);
	cr_expect_null(map->config.base_extents);

	map->config.base_extent = flutter;
	map->config.disk_sectors = BASE_BOUNDS_MAX + 1;
	image_find_base_extents(world->image);
	cr_expect_null(map->config.base_extents, "too many");
	map->config.disk_sectors = 1000;
	image_find_base_extents(world->image);
	cr_assert_not_null(map->config.base_extents);
	cr_expect_eq(extents_count_data(map->config.base_extents, 0, 1000), 500);
	world_free(world);
}

Test(image_counts, are_unknown_while_a_map_block_is_damaged)
{
	struct world *world = world_new();
	off_t at = (off_t)le64_get(world->image->super.map_offset) + 500;
	int fd = open("image", O_RDWR | O_CLOEXEC);
	uint8_t byte;

	write_sectors(world, 0, 30);
	close_image(world);
	cr_assert_eq(pread(fd, &byte, 1, at), 1);
	byte ^= 1;
	cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
	open_image(world);
	expect_counts(world, 30, BASE_DATA_SECTORS);
	abandon(world); /* so that they must be made anew */
	open_image(world);
	expect_counts(world, 30, BASE_DATA_SECTORS);
	close_image(world);

	cr_assert_eq(pwrite(fd, "rot", 3, at), 3);
	cr_assert_eq(pwrite(fd, "rot", 3, at + SEAL_BLOCK_BYTES), 3);
	close(fd);
	rewrite_super(world, write_once_more);
	open_image(world);
	cr_expect_not(world->image->disk.map.counts.known);
	close_image(world);
	load(world);
	cr_expect_not(image_has_counts(world->image));
	world_free(world);
}
