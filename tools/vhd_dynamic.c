/* SPDX-License-Identifier: MIT */
/* sealblk vhd info: the header, the BAT and the parent of a dynamic or differencing VHD. */
#include <errno.h>
#include <stdlib.h>

#include "vhd.h"
#include "vhd/locator.h"

/* The first thing that is wrong is the one to tell. */
static int note(struct vhd_findings *found, const struct vhd_problem *problem)
{
	if (found->why.reason == VHD_FINE)
		found->why = *problem;
	return 0;
}

static int examine_bat(int fd, struct vhd_findings *found, const struct vhd_extent *extent,
		       be32 *bat, uint64_t *scratch)
{
	const struct vhd_dynamic *dynamic = &found->dynamic;
	struct vhd_problem problem;
	int r = vhd_read_at(fd, dynamic->bat_offset_bytes, bat, dynamic->nr_blocks * sizeof(*bat));

	if (r < 0)
		return r;
	if (vhd_bat_check(bat, dynamic, extent, scratch, &problem) < 0)
		return note(found, &problem);
	for (uint32_t i = 0; i < dynamic->nr_blocks; i++)
		found->nr_stored += be32_get(bat[i]) != VHD_BLOCK_UNUSED;
	found->has_bat = true;
	return 0;
}

static int examine_blocks(int fd, struct vhd_findings *found, const struct vhd_extent *extent)
{
	uint32_t nr = found->dynamic.nr_blocks;
	be32 *bat = calloc(nr, sizeof(*bat));
	uint64_t *scratch = calloc(nr, sizeof(*scratch));
	int r = bat && scratch ? examine_bat(fd, found, extent, bat, scratch) : -ENOMEM;

	free(scratch);
	free(bat);
	return r;
}

/* A locator that leads nowhere is left out: the next one may do. */
static void read_locator(int fd, struct vhd_findings *found, const struct vhd_locator *locator)
{
	uint32_t platform = be32_get(locator->platform);
	uint32_t nr_bytes = be32_get(locator->data_bytes);
	uint8_t bytes[VHD_LOCATOR_BYTES_MAX];
	char *path = platform == VHD_PLATFORM_RELATIVE	 ? found->parent_relative
		     : platform == VHD_PLATFORM_ABSOLUTE ? found->parent_absolute
							 : NULL;

	if (!path || path[0] || nr_bytes > sizeof(bytes) ||
	    vhd_read_at(fd, be64_get(locator->data_offset), bytes, nr_bytes) < 0)
		return;
	if (vhd_locator_path(bytes, nr_bytes, path) < 0)
		path[0] = '\0';
}

int vhd_examine_dynamic(int fd, struct vhd_findings *found)
{
	const struct vhd_extent extent = { found->file_bytes, found->data_end_bytes };
	uint8_t header[VHD_DYNAMIC_HEADER_BYTES];
	struct vhd_problem problem;
	uint64_t offset;
	int r;

	if (!found->readable || found->info.disk_type == VHD_FIXED)
		return 0;
	if (vhd_dynamic_offset(&found->info, &extent, &offset, &problem) < 0)
		return note(found, &problem);
	r = vhd_read_at(fd, offset, header, sizeof(header));
	if (r < 0)
		return r;
	if (vhd_dynamic_decode(header, &found->info, found->info.disk_bytes, &extent,
			       &found->dynamic, &problem) < 0)
		return note(found, &problem);
	found->has_header = true;
	for (int i = 0; i < VHD_LOCATORS && found->info.disk_type == VHD_DIFFERENCING; i++)
		read_locator(fd, found, &found->dynamic.locators[i]);
	return examine_blocks(fd, found, &extent);
}
