/* SPDX-License-Identifier: MIT */
/*
 * The VHD footer as bytes on disk ("Virtual Hard Disk Image Format
 * Specification" 1.0, Microsoft, October 2006). All integers are big-endian.
 *
 * A fixed VHD is the disk's bytes followed by this footer. Dynamic and
 * differencing ones begin with a copy of it. Files older than Virtual PC 2004
 * have a footer without its last byte: 511 bytes.
 */
#ifndef SEALBLK_VHD_FORMAT_H
#define SEALBLK_VHD_FORMAT_H

#include <stddef.h>

#include "sealblk/byteorder.h"

#define VHD_COOKIE "conectix"

/* Creators name themselves in four bytes. The first two size a disk by its geometry. */
#define VHD_CREATOR_VIRTUAL_PC "vpc "
#define VHD_CREATOR_QEMU       "qemu"
#define VHD_CREATOR_QEMU_EXACT "qem2"
#define VHD_CREATOR_WINDOWS    "win "
#define VHD_CREATOR_AZURE      "wa\0\0"
#define VHD_OS_WINDOWS	       "Wi2k"

#define VHD_DATA_OFFSET_FIXED UINT64_MAX

/* Seconds from the Unix epoch to 2000-01-01 00:00 UTC, where VHD times begin. */
#define VHD_EPOCH_S 946684800

enum {
	VHD_FOOTER_BYTES = 512,
	VHD_OLD_FOOTER_BYTES = 511,
	VHD_COOKIE_BYTES = 8,
	VHD_CREATOR_BYTES = 4,
	VHD_UUID_BYTES = 16,
	VHD_VERSION = 0x00010000,
	VHD_FEATURE_RESERVED = 2, /* set in every footer */
};

enum vhd_disk_type {
	VHD_FIXED = 2,
	VHD_DYNAMIC = 3,
	VHD_DIFFERENCING = 4,
};

struct vhd_geometry {
	be16 cylinders;
	uint8_t heads;
	uint8_t sectors; /* per track */
};

struct vhd_footer {
	uint8_t cookie[VHD_COOKIE_BYTES]; /* VHD_COOKIE, no NUL */
	be32 features;
	be32 version;
	be64 data_offset; /* bytes; of the dynamic header, or all ones */
	be32 created_s;	  /* since 2000-01-01 00:00 UTC */
	uint8_t creator_app[VHD_CREATOR_BYTES];
	be32 creator_version; /* major in the high half, minor in the low */
	uint8_t creator_os[VHD_CREATOR_BYTES];
	be64 original_bytes;
	be64 current_bytes; /* of the disk, without this footer */
	struct vhd_geometry geometry;
	be32 disk_type; /* enum vhd_disk_type */
	be32 checksum;	/* ~(sum of all bytes but these four) */
	uint8_t uuid[VHD_UUID_BYTES];
	uint8_t saved_state; /* 1: of a suspended machine */
	uint8_t reserved[427];
};
_Static_assert(sizeof(struct vhd_footer) == VHD_FOOTER_BYTES, "VHD footer is one sector");
_Static_assert(offsetof(struct vhd_footer, current_bytes) == 48, "VHD specification");
_Static_assert(offsetof(struct vhd_footer, checksum) == 64, "VHD specification");
_Static_assert(offsetof(struct vhd_footer, reserved) == 85, "VHD specification");
_Static_assert(_Alignof(struct vhd_footer) == 1, "may lie at any address");

#endif
