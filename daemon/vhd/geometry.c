/* SPDX-License-Identifier: MIT */
/* Cylinders, heads and sectors: see geometry.h. */
#include "vhd/geometry.h"

#include "sealblk/units.h"

enum {
	AT_CYLINDERS_MAX = 1024, /* of the AT interface, which the algorithm aims at */
	AT_HEADS_MIN = 4,
	WIDE_TRACKS_FROM = VHD_CYLINDERS_MAX * VHD_HEADS_MAX * 63, /* sectors */
};

/* Tracks as short as the AT interface's limits on heads and cylinders allow. */
static void fit_at_limits(uint32_t sectors, uint32_t *ret_heads, uint32_t *ret_track)
{
	uint32_t track = 17;
	uint32_t tracks = sectors / track;
	uint32_t heads = (tracks + AT_CYLINDERS_MAX - 1) / AT_CYLINDERS_MAX;

	if (heads < AT_HEADS_MIN)
		heads = AT_HEADS_MIN;
	if (heads > VHD_HEADS_MAX || tracks >= heads * AT_CYLINDERS_MAX) {
		heads = VHD_HEADS_MAX;
		track = 31;
		tracks = sectors / track;
	}
	if (tracks >= heads * AT_CYLINDERS_MAX)
		track = 63;

	*ret_heads = heads;
	*ret_track = track;
}

struct vhd_geometry vhd_geometry_of(uint64_t sectors)
{
	const uint32_t most = VHD_CYLINDERS_MAX * VHD_HEADS_MAX * VHD_TRACK_SECTORS_MAX;
	uint32_t bounded = (uint32_t)min_u64(sectors, most);
	uint32_t heads = VHD_HEADS_MAX;
	uint32_t track = VHD_TRACK_SECTORS_MAX;

	if (bounded < WIDE_TRACKS_FROM)
		fit_at_limits(bounded, &heads, &track);

	return (struct vhd_geometry){
		.cylinders = be16_of((uint16_t)(bounded / track / heads)),
		.heads = (uint8_t)heads,
		.sectors = (uint8_t)track,
	};
}

uint64_t vhd_geometry_sectors(struct vhd_geometry geometry)
{
	return (uint64_t)be16_get(geometry.cylinders) * geometry.heads * geometry.sectors;
}

bool vhd_geometry_is_max(struct vhd_geometry geometry)
{
	return be16_get(geometry.cylinders) == VHD_CYLINDERS_MAX &&
	       geometry.heads == VHD_HEADS_MAX && geometry.sectors == VHD_TRACK_SECTORS_MAX;
}
