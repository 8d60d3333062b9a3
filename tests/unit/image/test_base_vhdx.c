/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "chain.h"
#include "image/base_identity.h"
#include "image/names.h"
#include "vhdx_lies.h"

/* The disk: 6 blocks of 1 MiB, the last one cut. */
enum { VHDX_DISK = (6 << 20) - 4096, MIB_SECTORS = 2048 };

static struct vhdx_image image;
static struct base_identity identity, again;
static bool touched;

TestSuite(base_vhdx, .init = begin, .fini = end);
TestSuite(base_vhdx_identity, .init = begin, .fini = end);

static struct vhdx_recipe vhdx_recipe_of(uint8_t id, const char *parent)
{
	return (struct vhdx_recipe){
		.disk_bytes = VHDX_DISK,
		.block_bytes = MIB,
		.logical_bytes = 512,
		.id = id,
		.relative = parent,
		.parent_id = (uint8_t)(id - 1),
	};
}

static void start_vhdx(const char *name, const struct vhdx_recipe *recipe)
{
	int fd = open(path_of(name), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
	vhdx_begin(&image, fd, recipe);
}

static void finish_vhdx(void)
{
	vhdx_finish(&image);
	close(image.fd);
}

static void fill(uint64_t first_sector, uint64_t nr_sectors, uint8_t byte)
{
	uint8_t sector[SECTOR_BYTES];

	memset(sector, byte, sizeof(sector));
	for (uint64_t i = first_sector; i < first_sector + nr_sectors; i++)
		vhdx_put(&image, i * SECTOR_BYTES, sector, sizeof(sector));
}

/* Blocks 0 to 4 in the states 0, 2, 3, 6, 6; block 5 in state 6, full of @byte. */
static void make_vhdx(const char *name, const struct vhdx_recipe *recipe, uint8_t byte)
{
	start_vhdx(name, recipe);
	vhdx_set_block(&image, 1, VHDX_BLOCK_ZERO);
	vhdx_set_block(&image, 2, VHDX_BLOCK_UNMAPPED);
	for (uint32_t i = 3; i < 6; i++)
		vhdx_set_block(&image, i, VHDX_BLOCK_FULLY_PRESENT);
	fill(3 * MIB_SECTORS, 3 * MIB_SECTORS - 8, byte);
	finish_vhdx();
}

static int open_as(const char *name, enum base_format format)
{
	int fd = open(path_of(name), O_RDONLY | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	problem.text[0] = 0;
	base_close(&base);
	return base_open(&base, fd, path_of(name), format, &base_opener_direct, &problem);
}

static void expect_open(const char *name)
{
	cr_assert_eq(open_as(name, BASE_AUTO), 0, "%s", problem.text);
	cr_assert_eq(base.format, BASE_VHDX);
}

static void expect_refused(const char *name, enum base_format format, int error, const char *text)
{
	cr_expect_eq(open_as(name, format), error);
	cr_expect(strstr(problem.text, text), "%s", problem.text);
	cr_expect(base_is_refused(error));
}

/* The byte that all of sector @sector is made of. */
static uint8_t byte_of(uint64_t sector)
{
	struct base_place place;
	uint8_t bytes[SECTOR_BYTES] = { 0 };

	cr_assert_eq(base_locate(&base, sector, 1, &place), 0);
	cr_assert_eq(place.nr_sectors, 1);
	if (place.stored_bytes > 0)
		cr_assert_eq(pread(place.fd, bytes, place.stored_bytes, (off_t)place.offset_bytes),
			     (ssize_t)place.stored_bytes);
	for (size_t i = 1; i < place.stored_bytes; i++)
		cr_assert_eq(bytes[i], bytes[0]);
	return bytes[0];
}

static void expect_byte(uint64_t sector, uint8_t wanted)
{
	uint8_t byte = byte_of(sector);

	cr_expect_eq(byte, wanted, "sector %lu: %u, not %u", (unsigned long)sector, byte, wanted);
}

Test(base_vhdx, is_recognised_and_in_pieces)
{
	const struct vhdx_recipe recipe = vhdx_recipe_of(1, NULL);
	uint64_t data_bytes;

	make_vhdx("1.vhdx", &recipe, 7);
	expect_open("1.vhdx");
	cr_expect_eq(base.disk_bytes, VHDX_DISK);
	cr_expect_not(base_is_flat(&base, &data_bytes));
	cr_assert_eq(rename(path_of("1.vhdx"), path_of("any")), 0);
	expect_open("any");
	cr_expect_eq(open_as("any", BASE_RAW), 0);
	cr_expect(base_is_flat(&base, &data_bytes), "if asked to, it is taken for raw");
}

Test(base_vhdx, reads_its_blocks)
{
	const struct vhdx_recipe recipe = vhdx_recipe_of(1, NULL);

	make_vhdx("1.vhdx", &recipe, 7);
	expect_open("1.vhdx");
	for (uint64_t block = 0; block < 6; block++) {
		expect_byte(block * MIB_SECTORS, block < 3 ? 0 : 7);
		expect_byte((block + 1) * MIB_SECTORS - 9, block < 3 ? 0 : 7);
	}
	expect_byte(VHDX_DISK / SECTOR_BYTES, 0);
}

Test(base_vhdx, joins_blocks_without_data_to_one_hole)
{
	const struct vhdx_recipe recipe = vhdx_recipe_of(1, NULL);
	uint64_t nr_sectors;
	bool hole;

	make_vhdx("1.vhdx", &recipe, 7);
	expect_open("1.vhdx");
	cr_assert_eq(base_extent(&base, 5, 1 << 20, &hole, &nr_sectors), 0);
	cr_expect(hole);
	cr_expect_eq(nr_sectors, 3 * MIB_SECTORS - 5);
	cr_assert_eq(base_extent(&base, 3 * MIB_SECTORS, 1 << 20, &hole, &nr_sectors), 0);
	cr_expect_not(hole);
	cr_expect_eq(nr_sectors, 3 * MIB_SECTORS - 8);
}

/* ---- chains ---- */

Test(base_vhdx, takes_from_its_parent_what_it_has_not)
{
	const struct vhdx_recipe bottom = vhdx_recipe_of(1, NULL);
	struct vhdx_recipe top = vhdx_recipe_of(2, ".\\1.vhdx");

	make_vhdx("1.vhdx", &bottom, 7);
	top.disk_bytes += 3 * MIB; /* and its parent has nothing there */
	start_vhdx("2.vhdx", &top);
	vhdx_set_block(&image, 0, VHDX_BLOCK_FULLY_PRESENT);
	fill(0, MIB_SECTORS, 8);
	vhdx_set_block(&image, 3, VHDX_BLOCK_ZERO);
	vhdx_set_block(&image, 4, VHDX_BLOCK_PARTIALLY_PRESENT);
	fill(4 * MIB_SECTORS, MIB_SECTORS, 9);
	for (uint64_t i = 100; i < 120; i++)
		vhdx_mark(&image, 4 * MIB_SECTORS + i);
	vhdx_mark(&image, 5 * MIB_SECTORS - 1);
	finish_vhdx();

	expect_open("2.vhdx");
	cr_expect_eq(base.nr_layers, 2);
	expect_byte(5, 8);
	expect_byte(MIB_SECTORS, 0);
	expect_byte(3 * MIB_SECTORS, 0);
	for (uint64_t i = 0; i < MIB_SECTORS; i++)
		expect_byte(4 * MIB_SECTORS + i,
			    (i >= 100 && i < 120) || i == MIB_SECTORS - 1 ? 9 : 7);
	expect_byte(5 * MIB_SECTORS, 7);
	expect_byte(6 * MIB_SECTORS, 0);
	expect_byte(8 * MIB_SECTORS, 0);
}

Test(base_vhdx, has_bitmaps_of_logical_sectors)
{
	struct vhdx_recipe bottom = vhdx_recipe_of(1, NULL), top = vhdx_recipe_of(2, "1.vhdx");

	bottom.logical_bytes = top.logical_bytes = 4096;
	make_vhdx("1.vhdx", &bottom, 7);
	start_vhdx("2.vhdx", &top);
	vhdx_set_block(&image, 5, VHDX_BLOCK_PARTIALLY_PRESENT);
	fill(5 * MIB_SECTORS, MIB_SECTORS - 8, 9);
	vhdx_mark(&image, 5 * MIB_SECTORS / 8 + 3);
	finish_vhdx();
	expect_open("2.vhdx");
	for (uint64_t i = 0; i < 64; i++)
		expect_byte(5 * MIB_SECTORS + i, i / 8 == 3 ? 9 : 7);
}

Test(base_vhdx, that_is_not_the_parent_is_refused)
{
	struct vhdx_recipe bottom = vhdx_recipe_of(1, NULL);
	const struct vhdx_recipe top = vhdx_recipe_of(2, "1.vhdx");

	make_vhdx("2.vhdx", &top, 9);
	expect_refused("2.vhdx", BASE_AUTO, -ENOENT, "/1.vhdx is missing");
	bottom.id = 5;
	make_vhdx("1.vhdx", &bottom, 7);
	expect_refused("2.vhdx", BASE_AUTO, -ESTALE, "its data write id is another");
	bottom.id = 1;
	bottom.logical_bytes = 4096;
	make_vhdx("1.vhdx", &bottom, 7);
	expect_refused("2.vhdx", BASE_AUTO, -EINVAL, "has logical sectors of 4096 bytes");
}

Test(base_vhdx, is_not_its_own_parent)
{
	struct vhdx_recipe recipe = vhdx_recipe_of(2, "2.vhdx");

	recipe.parent_id = 2;
	make_vhdx("2.vhdx", &recipe, 9);
	expect_refused("2.vhdx", BASE_AUTO, -EINVAL, "the chain goes in a circle");
}

Test(base_vhdx, follows_absolute_paths_of_this_system_only)
{
	struct vhdx_recipe bottom = vhdx_recipe_of(1, NULL), top = vhdx_recipe_of(2, NULL);

	make_vhdx("1.vhdx", &bottom, 7);
	top.absolute = path_of("1.vhdx");
	make_vhdx("2.vhdx", &top, 9);
	expect_open("2.vhdx");
	top.absolute = "\\\\?\\c:\\1.vhdx";
	make_vhdx("2.vhdx", &top, 9);
	expect_refused("2.vhdx", BASE_AUTO, -ENOENT, "no locator of its parent can be followed");
}

/* ---- refusals ---- */

Test(base_vhdx, that_lies_is_refused)
{
	const struct vhdx_recipe bottom = vhdx_recipe_of(1, NULL),
				 top = vhdx_recipe_of(2, "1.vhdx");

	make_vhdx("1.vhdx", &bottom, 7);
	for (size_t i = 0; i < sizeof(vhdx_lies) / sizeof(vhdx_lies[0]); i++) {
		start_vhdx("2.vhdx", &top);
		vhdx_set_block(&image, 0, VHDX_BLOCK_FULLY_PRESENT);
		vhdx_set_block(&image, 1, VHDX_BLOCK_FULLY_PRESENT);
		vhdx_lies[i].tell(&image);
		finish_vhdx();
		cr_expect(base_is_refused(open_as("2.vhdx", BASE_VHDX)), "%s: %s",
			  vhdx_lies[i].name, problem.text);
		cr_expect(strstr(problem.text, vhdx_lies[i].why), "%s: %s", vhdx_lies[i].name,
			  problem.text);
		cr_expect(strncmp(problem.text, "base /", 6) == 0 && !strchr(problem.text, '\n'));
	}
}

/* A guest could have written the head of a fixed VHD, or the tail of a VHDX. */
Test(base_vhdx, that_looks_like_a_vhd_too_is_told_by_its_name_or_refused)
{
	const struct vhdx_recipe recipe = vhdx_recipe_of(1, NULL);
	const struct vhd_fixed fixed = { .disk_bytes = MIB };
	struct vhd_footer footer;
	int fd;

	make_vhdx("1.vhdx", &recipe, 7);
	vhd_footer_build(&fixed, &footer);
	fd = open(path_of("1.vhdx"), O_RDWR | O_CLOEXEC);
	cr_assert_eq(lseek(fd, -512, SEEK_END) > 0 && write(fd, &footer, 512) == 512, true);
	close(fd);
	expect_open("1.vhdx");
	cr_assert_eq(link(path_of("1.vhdx"), path_of("any")), 0);
	cr_assert_eq(link(path_of("1.vhdx"), path_of("1.vhd")), 0);
	expect_refused("any", BASE_AUTO, -EINVAL, "say which, with :vhdx or :vhd");
	cr_expect_eq(open_as("any", BASE_VHDX), 0);
	cr_expect_eq(open_as("any", BASE_VHD), 0);
	cr_expect_eq(open_as("1.vhd", BASE_AUTO), 0);
	cr_expect_eq(base.format, BASE_VHD);
}

Test(base_vhdx, that_is_called_so_must_be_one)
{
	struct vhd_layer_recipe recipe = recipe_of(1);

	make("1.vhdx", &recipe, 0, 1, 1);
	expect_refused("1.vhdx", BASE_AUTO, -EINVAL, "there is no VHDX signature (byte 0)");
	cr_expect_eq(open_as("1.vhdx", BASE_VHD), 0);
}

/* ---- identity ---- */

static void take(const char *name)
{
	expect_open(name);
	cr_assert_eq(base_identity_take(&base, path_of(name), path_of("x.seal"), false, &identity,
					&problem),
		     0, "%s", problem.text);
}

static int check(const char *name)
{
	cr_assert_eq(open_as(name, BASE_VHDX), 0, "%s", problem.text);
	return base_identity_check(&identity, &base, path_of(name), &touched, &problem);
}

static void expect_changed(const char *name, const char *text)
{
	cr_expect_eq(check(name), -ESTALE);
	cr_expect(strstr(problem.text, text), "%s", problem.text);
}

Test(base_vhdx_identity, is_the_ids_of_the_disk_and_of_its_content)
{
	const struct vhdx_recipe recipe = vhdx_recipe_of(1, NULL);

	make_vhdx("1.vhdx", &recipe, 7);
	take("1.vhdx");
	cr_expect_eq(identity.format, BASE_VHDX);
	cr_expect_eq(identity.vhdx_disk_id[0], 1);
	cr_expect_eq(identity.vhdx_disk_id[15], 'd');
	cr_expect_eq(identity.vhdx_data_write_id[15], 'w');
	cr_expect_eq(check("1.vhdx"), 0);
	make_vhdx("1.vhdx", &recipe, 6);
	expect_changed("1.vhdx", "content differs");
}

Test(base_vhdx_identity, tells_which_id_differs)
{
	struct vhdx_recipe recipe = vhdx_recipe_of(1, NULL);

	make_vhdx("1.vhdx", &recipe, 7);
	take("1.vhdx");
	recipe.id = 3;
	make_vhdx("1.vhdx", &recipe, 7);
	expect_changed("1.vhdx", "VHDX disk id differs");
	recipe.id = 1;
	start_vhdx("1.vhdx", &recipe);
	image.header.data_write_id[3] ^= 1;
	for (uint32_t i = 3; i < 6; i++)
		vhdx_set_block(&image, i, VHDX_BLOCK_FULLY_PRESENT);
	finish_vhdx();
	expect_changed("1.vhdx", "the disk was written to");
}

Test(base_vhdx_identity, has_all_of_a_chain_and_survives_its_records)
{
	const struct vhdx_recipe bottom = vhdx_recipe_of(1, NULL),
				 top = vhdx_recipe_of(2, "1.vhdx");
	static const uint8_t uuid[SEAL_UUID_BYTES] = { 1 };
	static struct seal_names names;

	make_vhdx("1.vhdx", &bottom, 7);
	make_vhdx("2.vhdx", &top, 9);
	take("2.vhdx");
	cr_expect_eq(identity.nr_parents, 1);
	cr_expect_eq(identity.parents[0].vhdx_disk_id[0], 1);
	names_init(&names, uuid);
	cr_assert_eq(base_identity_encode(&identity, &names), 0);
	cr_assert_eq(base_identity_decode(&names, &again), 0);
	cr_expect_eq(memcmp(&identity, &again, sizeof(identity)), 0);
	cr_expect_eq(check("2.vhdx"), 0);
	make_vhdx("1.vhdx", &bottom, 6);
	expect_changed("2.vhdx", "1.vhdx: has changed: content differs");
}
