/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "image/base.h"
#include "sealblk/units.h"
#include "vectors/vhd_footers.h"

enum { DISK = 1 << 20 };

static struct problem problem;
static struct base base;

static int file_of(uint64_t bytes)
{
	int fd = memfd_create("base", MFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

static void put(int fd, uint64_t offset_bytes, const void *bytes, size_t nr_bytes)
{
	cr_assert_eq(pwrite(fd, bytes, nr_bytes, (off_t)offset_bytes), (ssize_t)nr_bytes);
}

static int vhd_of(uint64_t disk_bytes, const char creator[4])
{
	struct vhd_fixed fixed = { .disk_bytes = disk_bytes };
	struct vhd_footer footer;
	int fd = file_of(disk_bytes + VHD_FOOTER_BYTES);

	memcpy(fixed.creator_app, creator, 4);
	vhd_footer_build(&fixed, &footer);
	put(fd, disk_bytes, &footer, sizeof(footer));
	return fd;
}

static void expect_open(int fd, enum base_format wanted)
{
	memset(&base, 0, sizeof(base));
	problem.text[0] = 0;
	cr_assert_eq(base_open(&base, fd, "m.img", wanted, &base_opener_direct, &problem), 0, "%s",
		     problem.text);
}

static void expect_refused(int fd, enum base_format wanted, int rc, const char *text)
{
	memset(&base, 0, sizeof(base));
	cr_expect_eq(base_open(&base, fd, "m.img", wanted, &base_opener_direct, &problem), rc);
	cr_expect_str_eq(problem.text, text);
	cr_expect_not(base_is_open(&base), "the output of a failure is untouched");
	cr_expect(fcntl(fd, F_GETFD) < 0, "the descriptor is closed");
}

Test(base, that_is_a_vhd_is_recognised_by_its_last_sector)
{
	int fd = vhd_of(DISK, VHD_CREATOR_WINDOWS);
	struct vhd_footer footer;

	expect_open(fd, BASE_AUTO);
	cr_expect_eq(base.format, BASE_VHD);
	cr_expect_eq(base.disk_bytes, DISK);
	cr_expect_eq(base.layers[0]->data_bytes, DISK);
	cr_expect_eq(base_store(&base)->bytes, DISK + 512);
	cr_expect_eq(pread(fd, &footer, sizeof(footer), DISK), sizeof(footer));
	cr_expect_arr_eq(base.layers[0]->footer, &footer, sizeof(footer));
	base_close(&base);
	cr_expect(fcntl(fd, F_GETFD) < 0);
}

Test(base, sized_by_geometry_ends_before_its_payload)
{
	expect_open(vhd_of(DISK, VHD_CREATOR_QEMU), BASE_VHD);
	cr_expect(base.layers[0]->vhd.sized_by_geometry);
	cr_expect_lt(base.disk_bytes, DISK);
	cr_expect_eq(base.layers[0]->data_bytes, base.disk_bytes);
	base_close(&base);
}

Test(base, without_a_footer_is_raw)
{
	expect_open(file_of(DISK), BASE_AUTO);
	cr_expect_eq(base.format, BASE_RAW);
	cr_expect_eq(base.disk_bytes, DISK);
	base_close(&base);
}

Test(base, shorter_than_a_sector_is_a_raw_disk_of_one)
{
	expect_open(file_of(1), BASE_AUTO);
	cr_expect_eq(base.disk_bytes, 512);
	cr_expect_eq(base.layers[0]->data_bytes, 1);
	base_close(&base);
}

Test(base, that_is_raw_is_rounded_up_to_sectors)
{
	expect_open(file_of(DISK + 1), BASE_RAW);
	cr_expect_eq(base.disk_bytes, DISK + 512);
	cr_expect_eq(base.layers[0]->data_bytes, DISK + 1);
	base_close(&base);
}

Test(base, with_a_footer_is_raw_when_asked_for)
{
	expect_open(vhd_of(DISK, VHD_CREATOR_WINDOWS), BASE_RAW);
	cr_expect_eq(base.format, BASE_RAW);
	cr_expect_eq(base.disk_bytes, DISK + 512);
	base_close(&base);
}

Test(base, that_is_empty_is_refused)
{
	expect_refused(file_of(0), BASE_AUTO, -EINVAL, "base m.img: the file is empty");
}

Test(base, that_should_be_a_vhd_and_is_not_is_refused)
{
	expect_refused(file_of(DISK), BASE_VHD, -EINVAL,
		       "base m.img: there is no VHD footer in the last 512 bytes");
	expect_refused(file_of(0), BASE_VHD, -EINVAL,
		       "base m.img: there is no VHD footer in the last 512 bytes");
}

Test(base, with_a_damaged_footer_is_refused_in_one_clear_line)
{
	int fd = file_of(5 * GIB + 512);
	uint8_t footer[512];

	memcpy(footer, vhd_footer_azure, sizeof(footer));
	footer[511] = 1;
	put(fd, 5 * GIB, footer, sizeof(footer));
	expect_refused(fd, BASE_AUTO, -EINVAL,
		       "base m.img: footer checksum is wrong (stored ffffe747, computed ffffe746)");
}

Test(base, that_was_cut_is_refused)
{
	int fd = file_of(DISK);

	put(fd, DISK - 512, vhd_footer_azure, 512);
	expect_refused(fd, BASE_AUTO, -EINVAL,
		       "base m.img: footer's disk size does not fit the file, which is cut or not "
		       "fixed (disk bytes: 5368709120, before the footer: 1048064)");
}

Test(base, with_a_footer_of_511_bytes_is_refused)
{
	int fd = file_of(DISK + 511);

	put(fd, DISK, vhd_footer_azure, 511);
	expect_refused(fd, BASE_AUTO, -EINVAL,
		       "base m.img: the footer has 511 bytes (older than Virtual PC 2004)");
}

Test(base, that_is_dynamic_and_was_cut_behind_its_first_sector_is_refused)
{
	static const char text[] = "base m.img: there is no dynamic header where the footer says";
	int whole = file_of(2560);
	int cut = file_of(2048);

	put(whole, 0, vhd_footer_qemu_dynamic, 512);
	put(whole, 2048, vhd_footer_qemu_dynamic, 512);
	put(cut, 0, vhd_footer_qemu_dynamic, 512);
	expect_refused(whole, BASE_AUTO, -EINVAL, text);
	expect_refused(cut, BASE_AUTO, -EINVAL, text);
}

Test(base, with_a_fixed_footer_only_at_its_head_is_refused)
{
	int fd = file_of(6 * GIB);

	put(fd, 0, vhd_footer_azure, 512);
	expect_refused(fd, BASE_AUTO, -EINVAL,
		       "base m.img: there is no VHD footer in the last 512 bytes");
}

Test(base, that_is_too_large_is_refused)
{
	expect_refused(file_of(DISK_BYTES_MAX + 1), BASE_RAW, -EFBIG,
		       "base m.img: size is 70368744177665 bytes, at most 70368744177664");
}

Test(base, read_past_its_file_fails)
{
	uint8_t bytes[2];

	expect_open(file_of(DISK), BASE_RAW);
	cr_expect_eq(layer_read(base_store(&base), DISK - 2, bytes, 2), 0);
	cr_expect_eq(layer_read(base_store(&base), DISK - 1, bytes, 2), -EIO);
	base_close(&base);
}

Test(base, has_formats_by_name)
{
	enum base_format format = BASE_AUTO;

	cr_expect_eq(base_format_of("vhd", &format), 0);
	cr_expect_eq(format, BASE_VHD);
	cr_expect_eq(base_format_of("qcow2", &format), -EINVAL);
	cr_expect_eq(format, BASE_VHD);
	cr_expect_str_eq(base_format_name(BASE_RAW), "raw");
}

/* A store whose file has one hole, [hole_start, hole_end). */
static uint64_t hole_start;
static uint64_t hole_end;

static int fake_extent(const struct store *store, uint64_t offset_bytes, uint64_t limit_bytes,
		       bool *ret_hole, uint64_t *ret_bytes)
{
	bool hole = offset_bytes >= hole_start && offset_bytes < hole_end;
	uint64_t end = hole ? hole_end : offset_bytes < hole_start ? hole_start : store->bytes;

	cr_assert_gt(limit_bytes, 0);
	cr_assert_leq(offset_bytes + limit_bytes, base.layers[0]->data_bytes,
		      "asked for the disk's bytes");
	*ret_hole = hole;
	*ret_bytes = min_u64(end - offset_bytes, limit_bytes);
	return 0;
}

static const struct store_ops fake_ops = { .extent = fake_extent };
static struct layer layer;

static void base_with_hole(uint64_t data_bytes, uint64_t start, uint64_t end)
{
	hole_start = start;
	hole_end = end;
	layer = (struct layer){
		.store = { .ops = &fake_ops, .fd = -1, .bytes = data_bytes },
		.disk_bytes = round_up(data_bytes, 512),
		.data_bytes = data_bytes,
	};
	base = (struct base){ .nr_layers = 1, .layers = { &layer } };
}

static void expect_extent(uint64_t first, uint64_t limit, bool hole, uint64_t sectors)
{
	bool is_hole = !hole;
	uint64_t found = 0;

	cr_assert_eq(base_extent(&base, first, limit, &is_hole, &found), 0);
	cr_expect_eq(is_hole, hole, "sector %lu", (unsigned long)first);
	cr_expect_eq(found, sectors, "sector %lu: %lu", (unsigned long)first, (unsigned long)found);
}

Test(base_extent, counts_only_whole_sectors_of_a_hole)
{
	base_with_hole(64 * 512, 10 * 512 + 100, 20 * 512 + 100);
	expect_extent(0, 64, false, 11);
	expect_extent(11, 64, true, 9);
	expect_extent(20, 44, false, 1);
	expect_extent(21, 43, false, 43);
}

Test(base_extent, of_a_hole_inside_one_sector_is_data)
{
	base_with_hole(64 * 512, 10 * 512, 10 * 512 + 511);
	expect_extent(10, 5, false, 1);
}

Test(base_extent, ends_at_its_limit)
{
	base_with_hole(64 * 512, 8 * 512, 64 * 512);
	expect_extent(0, 3, false, 3);
	expect_extent(8, 5, true, 5);
	expect_extent(63, 1, true, 1);
}

Test(base_extent, past_the_end_is_a_hole)
{
	base_with_hole(64 * 512, 0, 0);
	expect_extent(64, 1000, true, 1000);
	expect_extent(UINT64_MAX >> 9, UINT64_MAX, true, UINT64_MAX);
	expect_extent(60, 1000, false, 4);
}

Test(base_extent, of_a_partial_last_sector_follows_its_bytes)
{
	base_with_hole(10 * 512 + 1, 5 * 512, 10 * 512 + 1);
	expect_extent(5, 100, true, 6);
	expect_extent(5, 5, true, 5);
	expect_extent(10, 100, true, 1);
	base_with_hole(10 * 512 + 1, 5 * 512, 10 * 512);
	expect_extent(5, 100, true, 5);
	expect_extent(10, 100, false, 1);
	expect_extent(11, 100, true, 100);
}

Test(base_extent, never_reports_the_footer_of_a_vhd)
{
	expect_open(vhd_of(DISK, VHD_CREATOR_WINDOWS), BASE_VHD);
	expect_extent(DISK / 512 - 8, 8, true, 8);
	expect_extent(DISK / 512, 8, true, 8);
	base_close(&base);
}

Test(base, that_is_called_vhd_must_have_a_footer)
{
	int fd = file_of(DISK);

	memset(&base, 0, sizeof(base));
	cr_expect_eq(base_open(&base, fd, "cut.VHD", BASE_AUTO, &base_opener_direct, &problem),
		     -EINVAL);
	cr_expect_str_eq(problem.text,
			 "base cut.VHD: there is no VHD footer in the last 512 bytes");
}
