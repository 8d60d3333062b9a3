/* SPDX-License-Identifier: MIT */
/* Dynamic and differencing bases: opening chains, and finding sectors in them. */
#include <errno.h>
#include <pthread.h>

#include "chain.h"
#include "sealblk/limits.h"

TestSuite(base_chain, .init = begin, .fini = end);

static int try_open(const char *name)
{
	int fd = open(path_of(name), O_RDONLY | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	problem.text[0] = 0;
	return base_open(&base, fd, path_of(name), BASE_VHD, &base_opener_direct, &problem);
}

static void expect_open(const char *name)
{
	cr_assert_eq(try_open(name), 0, "%s", problem.text);
}

/* @why: what the line says, behind "base <folder>/<file>". */
static void expect_refused(const char *name, int rc, const char *file, const char *why)
{
	char text[sizeof(problem.text)];

	snprintf(text, sizeof(text), "base %s/%s%s", folder, file, why);
	cr_expect_eq(try_open(name), rc);
	cr_expect_eq(strncmp(problem.text, text, strlen(text)), 0, "%s, not %s", problem.text,
		     text);
	cr_expect_not(base_is_open(&base));
}

/* What sector @sector holds by base_locate(): its byte; 0 of a hole. */
static uint8_t byte_at(uint64_t sector)
{
	struct base_place place;
	uint8_t bytes[SECTOR_BYTES];

	cr_assert_eq(base_locate(&base, sector, 1, &place), 0);
	cr_assert_eq(place.nr_sectors, 1);
	if (base_place_is_hole(&place))
		return 0;
	cr_assert_eq(place.stored_bytes, SECTOR_BYTES);
	cr_assert_eq(pread(place.fd, bytes, sizeof(bytes), (off_t)place.offset_bytes),
		     SECTOR_BYTES);
	cr_assert_eq(memcmp(bytes, bytes + 1, sizeof(bytes) - 1), 0);
	return bytes[0];
}

static void expect_bytes(uint64_t first, uint64_t nr, uint8_t byte)
{
	for (uint64_t i = first; i < first + nr; i++)
		cr_assert_eq(byte_at(i), byte, "sector %lu", (unsigned long)i);
}

/* ---- dynamic ---- */

Test(base_chain, dynamic_is_holes_and_blocks)
{
	struct vhd_layer_recipe recipe = recipe_of(1);
	struct base_place place;

	make("d.vhd", &recipe, SECTORS_PER_BLOCK + 5, 10, 'd');
	expect_open("d.vhd");
	cr_expect_eq(base.nr_layers, 1);
	cr_expect_eq(base.disk_bytes, DISK_SECTORS * SECTOR_BYTES);
	expect_bytes(0, SECTORS_PER_BLOCK + 5, 0);
	expect_bytes(SECTORS_PER_BLOCK + 5, 10, 'd');
	expect_bytes(SECTORS_PER_BLOCK + 15, DISK_SECTORS - SECTORS_PER_BLOCK, 0);

	/* Runs end where blocks do; blocks that are not there make one hole. */
	cr_assert_eq(base_locate(&base, 3, UINT64_MAX >> 9, &place), 0);
	cr_expect(base_place_is_hole(&place));
	cr_expect_eq(place.nr_sectors, SECTORS_PER_BLOCK - 3);
	cr_assert_eq(base_locate(&base, SECTORS_PER_BLOCK + 1, UINT64_MAX >> 9, &place), 0);
	cr_expect_not(base_place_is_hole(&place));
	cr_expect_eq(place.nr_sectors, SECTORS_PER_BLOCK - 1);
	cr_assert_eq(base_locate(&base, 2 * SECTORS_PER_BLOCK + 7, UINT64_MAX >> 9, &place), 0);
	cr_expect(base_place_is_hole(&place));
	cr_expect_eq(place.nr_sectors, DISK_SECTORS - 2 * SECTORS_PER_BLOCK - 7);
	cr_assert_eq(base_locate(&base, DISK_SECTORS, 9, &place), 0);
	cr_expect(base_place_is_hole(&place));
	cr_expect_eq(place.nr_sectors, 9);
}

Test(base_chain, dynamic_has_extents_that_join_blocks)
{
	struct vhd_layer_recipe recipe = recipe_of(1);
	struct vhd_layer layer;
	uint64_t sectors;
	bool hole;

	start(&layer, "d.vhd", &recipe);
	put(&layer, 4 * SECTORS_PER_BLOCK, SECTORS_PER_BLOCK, 'b');
	put(&layer, 3 * SECTORS_PER_BLOCK, SECTORS_PER_BLOCK, 'a');
	finish(&layer);
	expect_open("d.vhd");
	cr_assert_eq(base_extent(&base, 1, 10000, &hole, &sectors), 0);
	cr_expect(hole);
	cr_expect_eq(sectors, 3 * SECTORS_PER_BLOCK - 1);
	cr_assert_eq(base_extent(&base, 3 * SECTORS_PER_BLOCK + 1, 10000, &hole, &sectors), 0);
	cr_expect_not(hole);
	cr_expect_eq(sectors, 2 * SECTORS_PER_BLOCK - 1);
	cr_assert_eq(base_extent(&base, 3 * SECTORS_PER_BLOCK + 1, 200, &hole, &sectors), 0);
	cr_expect_eq(sectors, 200);
	cr_assert_eq(base_extent(&base, 5 * SECTORS_PER_BLOCK, 10000, &hole, &sectors), 0);
	cr_expect(hole);
	cr_expect_eq(sectors, 10000, "past the end too");
}

Test(base_chain, falls_back_to_the_footer_copy)
{
	struct vhd_layer_recipe recipe = recipe_of(1);
	struct vhd_layer layer;

	start(&layer, "d.vhd", &recipe);
	put(&layer, 7, 1, 'x');
	layer.break_last_footer = true;
	finish(&layer);
	expect_open("d.vhd");
	expect_bytes(7, 1, 'x');
	base_close(&base);

	/* Lost altogether, as when a block was being added. */
	cr_assert_eq(truncate(path_of("d.vhd"), (off_t)sectors_to_bytes(layer.end_sector)), 0);
	expect_open("d.vhd");
	expect_bytes(7, 1, 'x');
	base_close(&base);

	cr_assert_eq(truncate(path_of("d.vhd"), (off_t)sectors_to_bytes(layer.end_sector) - 1), 0);
	expect_refused("d.vhd", -EINVAL, "d.vhd", ": a block reaches past the end of the file");
}

Test(base_chain, refuses_both_footers_damaged)
{
	struct vhd_layer_recipe recipe = recipe_of(1);
	struct vhd_layer layer;
	int fd;

	start(&layer, "d.vhd", &recipe);
	layer.break_last_footer = true;
	finish(&layer);
	fd = open(path_of("d.vhd"), O_WRONLY | O_CLOEXEC);
	cr_assert_eq(pwrite(fd, "!", 1, 100), 1);
	close(fd);
	expect_refused("d.vhd", -EINVAL, "d.vhd", ": footer checksum is wrong (stored ");
}

Test(base_chain, refuses_a_lying_bat_in_one_line)
{
	struct vhd_layer_recipe recipe = recipe_of(1);
	struct vhd_layer layer;

	start(&layer, "d.vhd", &recipe);
	put(&layer, 0, 1, 'x');
	layer.bat[5] = layer.bat[0];
	finish(&layer);
	expect_refused("d.vhd", -EINVAL, "d.vhd", ": two blocks overlap (block 0, and block 5)");
}

/* ---- chains ---- */

Test(base_chain, of_three_reads_each_sector_from_the_topmost_that_has_it)
{
	struct vhd_layer_recipe bottom = recipe_of(1);
	struct vhd_layer_recipe middle = child_recipe(2, ".\\1.vhd");
	struct vhd_layer_recipe top = child_recipe(3, "2.vhd");
	struct base_place place;

	make("1.vhd", &bottom, 0, 300, '1');
	make("2.vhd", &middle, 13, 200, '2');
	make("3.vhd", &top, 100, 31, '3');
	expect_open("3.vhd");
	cr_expect_eq(base.nr_layers, 3);
	expect_bytes(0, 13, '1');
	expect_bytes(13, 87, '2');
	expect_bytes(100, 31, '3');
	expect_bytes(131, 82, '2');
	expect_bytes(213, 87, '1');
	expect_bytes(300, DISK_SECTORS - 300, 0);

	cr_assert_eq(base_locate(&base, 100, 1000, &place), 0);
	cr_expect_eq(place.nr_sectors, SECTORS_PER_BLOCK - 100, "cut by the block's end");
	cr_assert_eq(base_locate(&base, 14, 1000, &place), 0);
	cr_expect_eq(place.nr_sectors, 86, "cut by the layer above");
}

Test(base_chain, may_end_in_a_fixed_vhd_and_mix_block_sizes)
{
	struct vhd_fixed fixed = {
		.disk_bytes = DISK_SECTORS * SECTOR_BYTES,
		.created_s = 1001,
		.creator_app = { 'w', 'i', 'n', ' ' },
		.uuid = { 1 },
	};
	struct vhd_layer_recipe top = child_recipe(2, ".\\1.vhd");
	struct vhd_footer footer;
	uint8_t sector[SECTOR_BYTES];
	int fd = open(path_of("1.vhd"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	vhd_footer_build(&fixed, &footer);
	memset(sector, 'f', sizeof(sector));
	cr_assert_eq(pwrite(fd, sector, sizeof(sector), 77 * SECTOR_BYTES), SECTOR_BYTES);
	cr_assert_eq(pwrite(fd, &footer, sizeof(footer), DISK_SECTORS * SECTOR_BYTES), 512);
	close(fd);
	top.block_bytes = SECTOR_BYTES;
	make("2.vhd", &top, 78, 2, 't');
	expect_open("2.vhd");
	expect_bytes(76, 1, 0);
	expect_bytes(77, 1, 'f');
	expect_bytes(78, 2, 't');
	expect_bytes(DISK_SECTORS, 3, 0);
}

Test(base_chain, finds_the_parent_beside_the_file_that_a_link_names)
{
	struct vhd_layer_recipe parent = recipe_of(1);
	struct vhd_layer_recipe child = child_recipe(2, "..\\1.vhd");

	cr_assert_eq(mkdir(path_of("sub"), 0700), 0);
	make("1.vhd", &parent, 0, 1, '1');
	make("sub/2.vhd", &child, 1, 1, '2');
	cr_assert_eq(symlink("sub/2.vhd", path_of("link.vhd")), 0);
	expect_open("link.vhd");
	expect_bytes(0, 1, '1');
	expect_bytes(1, 1, '2');
}

Test(base_chain, tries_the_relative_locator_then_the_absolute_one)
{
	struct vhd_layer_recipe parent = recipe_of(1);
	struct vhd_layer_recipe child = child_recipe(2, "1.vhd");
	char absolute[128];

	snprintf(absolute, sizeof(absolute), "%s/away.vhd", folder);
	child.absolute = absolute;
	make("1.vhd", &parent, 0, 1, 'r');
	make("away.vhd", &parent, 0, 1, 'a');
	make("2.vhd", &child, 1, 1, '2');
	expect_open("2.vhd");
	expect_bytes(0, 1, 'r');
	base_close(&base);

	cr_assert_eq(unlink(path_of("1.vhd")), 0);
	expect_open("2.vhd");
	expect_bytes(0, 1, 'a');
	base_close(&base);

	/* Another file by the relative path does not hide the parent. */
	parent.uuid[0] = 9;
	make("1.vhd", &parent, 0, 1, 'x');
	expect_open("2.vhd");
	expect_bytes(0, 1, 'a');
}

Test(base_chain, refuses_a_missing_parent)
{
	struct vhd_layer_recipe child = child_recipe(2, "gone.vhd");
	char why[256];

	make("2.vhd", &child, 1, 1, '2');
	snprintf(why, sizeof(why), ": its parent %s/gone.vhd is missing", folder);
	expect_refused("2.vhd", -ENOENT, "2.vhd", why);

	child.relative = NULL;
	child.absolute = "c:\\disks\\gone.vhd";
	make("2.vhd", &child, 1, 1, '2');
	expect_refused("2.vhd", -ENOENT, "2.vhd",
		       ": no locator of its parent can be followed here");
}

Test(base_chain, refuses_another_file_in_the_parents_place)
{
	struct vhd_layer_recipe parent = recipe_of(1);
	struct vhd_layer_recipe child = child_recipe(2, "1.vhd");
	char why[256];

	parent.uuid[15] = 1;
	make("1.vhd", &parent, 0, 1, '1');
	make("2.vhd", &child, 1, 1, '2');
	snprintf(why, sizeof(why), ": is not the parent of %s/2.vhd: its unique id is another",
		 folder);
	expect_refused("2.vhd", -ESTALE, "1.vhd", why);
}

Test(base_chain, refuses_a_parent_that_is_no_vhd)
{
	struct vhd_layer_recipe child = child_recipe(2, "raw");
	int fd = open(path_of("raw"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	cr_assert_eq(ftruncate(fd, DISK_SECTORS * SECTOR_BYTES), 0);
	close(fd);
	make("2.vhd", &child, 1, 1, '2');
	expect_refused("2.vhd", -EINVAL, "raw", ": there is no VHD footer in the last 512 bytes");
}

Test(base_chain, refuses_a_parent_changed_since)
{
	struct vhd_layer_recipe parent = recipe_of(1);
	struct vhd_layer_recipe child = child_recipe(2, "1.vhd");
	char why[256];

	parent.created_s = 5555;
	make("1.vhd", &parent, 0, 1, '1');
	make("2.vhd", &child, 1, 1, '2');
	snprintf(why, sizeof(why),
		 ": has changed since %s/2.vhd was made from it: timestamp is 5555 (of the file: ",
		 folder);
	expect_refused("2.vhd", -ESTALE, "1.vhd", why);
	cr_expect_not_null(strstr(problem.text, "), was 1001"));
}

/* Some writers record when the parent's file was modified, as the specification has it. */
Test(base_chain, takes_the_files_modification_time_for_its_timestamp_too)
{
	const struct timespec times[2] = { { .tv_sec = VHD_EPOCH_S + 1001 },
					   { .tv_sec = VHD_EPOCH_S + 1001 } };
	struct vhd_layer_recipe parent = recipe_of(1);
	struct vhd_layer_recipe child = child_recipe(2, "1.vhd");

	parent.created_s = 5555;
	make("1.vhd", &parent, 0, 1, '1');
	make("2.vhd", &child, 1, 1, '2');
	cr_assert_eq(utimensat(AT_FDCWD, path_of("1.vhd"), times, 0), 0);
	expect_open("2.vhd");
}

Test(base_chain, refuses_a_parent_of_another_size)
{
	struct vhd_layer_recipe parent = recipe_of(1);
	struct vhd_layer_recipe child = child_recipe(2, "1.vhd");
	char why[256];

	make("2.vhd", &child, 1, 1, '2');
	parent.disk_bytes -= SECTOR_BYTES;
	make("1.vhd", &parent, 0, 1, '1');
	snprintf(why, sizeof(why), ": is smaller than its child %s/2.vhd: %u bytes of disk, not %u",
		 folder, (DISK_SECTORS - 1) * SECTOR_BYTES, DISK_SECTORS * SECTOR_BYTES);
	expect_refused("2.vhd", -EINVAL, "1.vhd", why);
	parent.disk_bytes += 2 * SECTOR_BYTES;
	make("1.vhd", &parent, 0, 1, '1');
	snprintf(why, sizeof(why), ": is larger than its child %s/2.vhd: ", folder);
	expect_refused("2.vhd", -EINVAL, "1.vhd", why);
}

Test(base_chain, refuses_a_circle)
{
	struct vhd_layer_recipe first = child_recipe(2, "b.vhd");
	struct vhd_layer_recipe second = child_recipe(3, "a.vhd");
	struct vhd_layer_recipe self = child_recipe(2, "self.vhd");

	first.parent_uuid[0] = 3;
	first.parent_modified_s = second.created_s;
	make("a.vhd", &first, 1, 1, '2');
	make("b.vhd", &second, 1, 1, '3');
	expect_refused("a.vhd", -EINVAL, "a.vhd",
		       ": is its own parent: the chain goes in a circle");
	self.parent_uuid[0] = 2;
	self.parent_modified_s = self.created_s;
	make("self.vhd", &self, 1, 1, 's');
	expect_refused("self.vhd", -EINVAL, "self.vhd", ": is its own parent");
}

static void make_chain(unsigned int nr)
{
	for (unsigned int i = 1; i <= nr; i++) {
		char name[16], parent[16];
		struct vhd_layer_recipe recipe;

		snprintf(name, sizeof(name), "%u.vhd", i);
		snprintf(parent, sizeof(parent), "%u.vhd", i - 1);
		recipe = i == 1 ? recipe_of(1) : child_recipe((uint8_t)i, parent);
		make(name, &recipe, i, 1, (uint8_t)i);
	}
}

Test(base_chain, is_as_long_as_the_limit_at_most)
{
	make_chain(100);
	expect_open("32.vhd");
	cr_expect_eq(base.nr_layers, BASE_LAYERS_MAX);
	for (unsigned int i = 0; i <= 33; i++)
		cr_expect_eq(byte_at(i), i <= 32 ? i : 0);
	base_close(&base);
	expect_refused("33.vhd", -EINVAL, "33.vhd",
		       ": its chain of parents is longer than 32 files");
	expect_refused("100.vhd", -EINVAL, "100.vhd",
		       ": its chain of parents is longer than 32 files");
}

Test(base_chain, passes_on_why_a_parent_cannot_be_opened)
{
	struct vhd_layer_recipe child = child_recipe(2, "pipe");
	char why[256];

	/* A pipe nobody writes must not be waited for. */
	make("2.vhd", &child, 1, 1, '2');
	cr_assert_eq(mkfifo(path_of("pipe"), 0600), 0);
	expect_refused("2.vhd", -EINVAL, "pipe", ": neither a file nor a disk");
	cr_assert_eq(unlink(path_of("pipe")), 0);
	cr_assert_eq(symlink("pipe", path_of("pipe")), 0);
	snprintf(why, sizeof(why), ": cannot be opened: %s", strerror(ELOOP));
	expect_refused("2.vhd", -ELOOP, "pipe", why);
}

/* ---- bitmaps ---- */

Test(base_chain, reads_a_bitmap_once_and_forgets_a_failure)
{
	struct vhd_layer_recipe parent = recipe_of(1);
	struct vhd_layer_recipe child = child_recipe(2, "1.vhd");
	struct base_place place;
	struct stat st;
	int fd;

	make("1.vhd", &parent, 0, 4, '1');
	make("2.vhd", &child, 1, 1, '2');
	expect_open("2.vhd");
	cr_assert_eq(stat(path_of("2.vhd"), &st), 0);

	/* A file cut below us stands for a medium that fails. */
	cr_assert_eq(truncate(path_of("2.vhd"), 2048), 0);
	cr_expect_eq(base_locate(&base, 0, 4, &place), -EIO);
	cr_assert_eq(truncate(path_of("2.vhd"), st.st_size), 0);
	fd = open(path_of("2.vhd"), O_WRONLY | O_CLOEXEC);
	cr_assert_eq(pwrite(fd, "\x20", 1,
			    (off_t)sectors_to_bytes(be32_get(base.layers[0]->bat[0]))),
		     1);
	cr_assert_eq(base_locate(&base, 2, 4, &place), 0);
	cr_expect_eq(place.fd, base.layers[0]->store.fd, "sector 2 by the bitmap of now");

	/* From here on the bitmap is the one that was read. */
	cr_assert_eq(pwrite(fd, "\x80", 1,
			    (off_t)sectors_to_bytes(be32_get(base.layers[0]->bat[0]))),
		     1);
	close(fd);
	cr_assert_eq(base_locate(&base, 0, 1, &place), 0);
	cr_expect_eq(place.fd, base.layers[1]->store.fd);
}

/* Returns NULL, or @arg when a sector was found in the wrong file. */
static void *locate_all(void *arg)
{
	struct base_place place;

	for (uint64_t i = 0; i < DISK_SECTORS; i++) {
		bool in_child = i % 5 == 0;

		if (base_locate(arg, i, 1, &place) < 0 ||
		    (place.fd == base.layers[0]->store.fd) != in_child)
			return arg;
	}
	return NULL;
}

Test(base_chain, may_be_asked_by_many_threads_at_once)
{
	struct vhd_layer_recipe parent = recipe_of(1);
	struct vhd_layer_recipe child = child_recipe(2, "1.vhd");
	struct vhd_layer layer;
	pthread_t threads[4];
	void *wrong;

	make("1.vhd", &parent, 0, DISK_SECTORS, '1');
	start(&layer, "2.vhd", &child);
	for (uint64_t i = 0; i < DISK_SECTORS; i += 5)
		put(&layer, i, 1, '2');
	finish(&layer);
	expect_open("2.vhd");
	for (unsigned int i = 0; i < ARRAY_LEN(threads); i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, locate_all, &base), 0);
	for (unsigned int i = 0; i < ARRAY_LEN(threads); i++) {
		pthread_join(threads[i], &wrong);
		cr_expect_null(wrong);
	}
}
