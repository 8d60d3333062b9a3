/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: a VHD's footer, dynamic header, BAT, sector bitmaps and parent
 * paths. Input: a byte (bit 0: make the footer's checksum right; bit 1: the
 * header's; bit 2: the file is called *.vhd), then a file: footer, and where the footer says, the header and so on.
 */
#include "fuzz.h"

#include "vhd/dynamic.h"
#include "vhd/footer.h"
#include "vhd/locator.h"
#include "vhd/mend.h"

struct file {
	uint8_t *bytes;
	uint64_t nr_bytes;
};

static void expect_told(const struct vhd_problem *problem)
{
	assert(problem->reason > VHD_FINE && problem->reason < VHD_REASONS);
	assert(vhd_reason_words(problem->reason)->text);
}

static bool is_inside(const struct file *file, uint64_t offset, uint64_t nr_bytes)
{
	return offset <= file->nr_bytes && nr_bytes <= file->nr_bytes - offset;
}

static void judge_blocks(const struct file *file, const struct vhd_dynamic *dynamic,
			 const struct vhd_extent *extent)
{
	const uint64_t bat_bytes = (uint64_t)dynamic->nr_blocks * sizeof(be32);
	struct vhd_problem problem = { 0 };
	uint64_t *scratch;
	be32 *bat;

	assert(dynamic->nr_blocks <= dynamic->max_entries);
	assert(dynamic->block_sectors > 0 && dynamic->bitmap_sectors > 0);
	/* It has been judged to lie in the file. */
	assert(is_inside(file, dynamic->bat_offset_bytes, bat_bytes));
	bat = malloc(bat_bytes ? bat_bytes : 1);
	scratch = calloc(dynamic->nr_blocks + 1, sizeof(*scratch));
	assert(bat && scratch);
	memcpy(bat, file->bytes + dynamic->bat_offset_bytes, bat_bytes);
	if (vhd_bat_check(bat, dynamic, extent, scratch, &problem) < 0)
		expect_told(&problem);
	free(scratch);
	free(bat);
}

static void judge_bitmap(const struct file *file, const struct vhd_dynamic *dynamic)
{
	const uint32_t nr = vhd_bitmap_bytes(dynamic);
	uint32_t at = 0;

	if (nr > file->nr_bytes)
		return;
	while (at < dynamic->block_sectors) {
		bool set;
		uint32_t run = vhd_bitmap_run(file->bytes, at, dynamic->block_sectors, &set);

		assert(run > 0 && run <= dynamic->block_sectors - at);
		at += run;
	}
}

static void judge_dynamic(const struct file *file, const struct vhd_info *info, bool mend)
{
	const struct vhd_extent extent = {
		.file_bytes = file->nr_bytes,
		.data_end_bytes = file->nr_bytes - VHD_FOOTER_BYTES,
	};
	struct vhd_problem problem = { 0 };
	struct vhd_dynamic_header *header;
	struct vhd_dynamic dynamic;
	uint64_t offset;

	if (vhd_dynamic_offset(info, &extent, &offset, &problem) < 0) {
		expect_told(&problem);
		return;
	}
	assert(is_inside(file, offset, VHD_DYNAMIC_HEADER_BYTES));
	header = (struct vhd_dynamic_header *)(file->bytes + offset);
	if (mend)
		header->checksum = be32_of(vhd_dynamic_checksum(header));
	if (vhd_dynamic_decode(file->bytes + offset, info, info->disk_bytes, &extent, &dynamic,
			       &problem) < 0) {
		expect_told(&problem);
		return;
	}
	judge_blocks(file, &dynamic, &extent);
	judge_bitmap(file, &dynamic);
}

static void judge_file(const struct file *file, unsigned int mend)
{
	struct vhd_footer *footer = (struct vhd_footer *)file->bytes;
	struct vhd_problem problem = { 0 };
	struct vhd_info info;

	if (mend & 1)
		footer->checksum = be32_of(vhd_footer_checksum(footer));
	if (vhd_footer_parse(file->bytes, &info, &problem) < 0) {
		expect_told(&problem);
		return;
	}
	assert(info.disk_bytes > 0 && info.disk_bytes % SECTOR_BYTES == 0);
	assert(info.disk_bytes <= DISK_BYTES_MAX);
	if (info.disk_type != VHD_FIXED)
		judge_dynamic(file, &info, mend & 2);
	else if (vhd_footer_check_fixed(&info, file->nr_bytes, &problem) < 0)
		expect_told(&problem);
	else
		assert(info.disk_bytes <= file->nr_bytes - VHD_FOOTER_BYTES);
}

/* The footer that it would get is sound, and lies at its end or its head. */
static void judge_mend(const struct file *file, bool is_called_vhd)
{
	const struct vhd_fixed fresh = { .creator_app = { 'w', 'i', 'n', ' ' } };
	struct vhd_patient patient = {
		.file_bytes = file->nr_bytes,
		.blocks_end_bytes = file->nr_bytes,
		.is_called_vhd = is_called_vhd,
		.fresh = &fresh,
	};
	struct vhd_problem problem;
	struct vhd_mend mend;
	struct vhd_info info;

	memcpy(patient.head, file->bytes, VHD_FOOTER_BYTES);
	memcpy(patient.tail, file->bytes + file->nr_bytes - VHD_FOOTER_BYTES, VHD_FOOTER_BYTES);
	if (!vhd_mend_plan(&patient, &mend))
		return;
	assert(mend.what);
	assert(vhd_footer_parse((const uint8_t *)&mend.footer, &info, &problem) == 0);
	assert(mend.at_bytes == 0 || mend.at_bytes + VHD_FOOTER_BYTES >= file->nr_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr_bytes)
{
	char path[PATH_BYTES_MAX];
	struct file file;

	if (nr_bytes < 1 + VHD_FOOTER_BYTES)
		return 0;
	file.nr_bytes = nr_bytes - 1;
	file.bytes = malloc(file.nr_bytes);
	assert(file.bytes);
	memcpy(file.bytes, bytes + 1, file.nr_bytes);
	judge_file(&file, bytes[0]);
	judge_mend(&file, bytes[0] & 4);
	if (vhd_locator_path(bytes, nr_bytes, path) == 0)
		assert(memchr(path, 0, sizeof(path)) && path[0]);
	free(file.bytes);
	return 0;
}
