/* SPDX-License-Identifier: MIT */
/* Cylinders, heads and sectors of a VHD (specification 1.0, appendix "CHS Calculation"). */
#ifndef VHD_GEOMETRY_H
#define VHD_GEOMETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "sealblk/vhd_format.h"

enum {
	VHD_CYLINDERS_MAX = 65535,
	VHD_HEADS_MAX = 16,
	VHD_TRACK_SECTORS_MAX = 255,
};

/*
 * The geometry the specification gives a disk of @sectors. It rounds down: its
 * product may be smaller than @sectors. From 65535 * 16 * 255 sectors (127.5
 * GiB) on it is the largest geometry and says nothing about the size.
 */
struct vhd_geometry vhd_geometry_of(uint64_t sectors);

/* The product: sectors of the disk that the geometry describes. */
uint64_t vhd_geometry_sectors(struct vhd_geometry geometry);

/* Is this the largest geometry, which says nothing about the size? */
bool vhd_geometry_is_max(struct vhd_geometry geometry);

#endif
