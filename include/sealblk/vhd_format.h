/* SPDX-License-Identifier: MIT */
/*
 * A VHD as bytes on disk ("Virtual Hard Disk Image Format Specification" 1.0,
 * Microsoft, October 2006). All integers are big-endian.
 *
 * A fixed VHD is the disk's bytes followed by a footer. Dynamic and
 * differencing ones begin with a copy of it, which names the place of a dynamic
 * header, which names the place of the BAT: a be32 per block of the disk, the
 * sector of the file where the block begins, or VHD_BLOCK_UNUSED. A block is a
 * bitmap, padded to whole sectors, with a bit per sector of the block, the most
 * significant bit of each byte first; then the sectors. Files older than
 * Virtual PC 2004 have a footer without its last byte: 511 bytes.
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

/*
 * With its NUL, at VHD_OWNED_MARK_AT of the reserved bytes of a fixed VHD's footer: an
 * image owns the file; that one's UUID is the unique id (docs/format.md 11).
 */
#define VHD_OWNED_MARK "SEALOWN"

#define VHD_DATA_OFFSET_FIXED UINT64_MAX

#define VHD_DYNAMIC_COOKIE "cxsparse"
#define VHD_BLOCK_UNUSED   UINT32_MAX

/* What a parent locator holds: "W2ru", "W2ku"; paths in UTF-16, little-endian. */
#define VHD_PLATFORM_RELATIVE 0x57327275u
#define VHD_PLATFORM_ABSOLUTE 0x57326b75u

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
	VHD_OWNED_MARK_AT = 3,
	VHD_DYNAMIC_HEADER_BYTES = 1024,
	VHD_LOCATORS = 8,
	VHD_PARENT_NAME_BYTES = 512,
	VHD_BLOCK_BYTES_DEFAULT = 2 << 20,
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

/* Where the path of a differencing VHD's parent is. */
struct vhd_locator {
	be32 platform;	 /* VHD_PLATFORM_..., or 0: unused */
	be32 data_space; /* sectors set aside; some writers put bytes */
	be32 data_bytes;
	uint8_t reserved[4];
	be64 data_offset; /* bytes */
};
_Static_assert(sizeof(struct vhd_locator) == 24, "VHD specification");

struct vhd_dynamic_header {
	uint8_t cookie[VHD_COOKIE_BYTES]; /* VHD_DYNAMIC_COOKIE, no NUL */
	be64 data_offset;		  /* all ones */
	be64 bat_offset;		  /* bytes */
	be32 version;
	be32 max_entries; /* of the BAT */
	be32 block_bytes; /* without the bitmap */
	be32 checksum;	  /* as the footer's */
	uint8_t parent_uuid[VHD_UUID_BYTES];
	be32 parent_modified_s; /* since 2000-01-01 00:00 UTC */
	uint8_t reserved[4];
	uint8_t parent_name[VHD_PARENT_NAME_BYTES]; /* UTF-16, big-endian */
	struct vhd_locator locators[VHD_LOCATORS];
	uint8_t reserved2[256];
};
_Static_assert(sizeof(struct vhd_dynamic_header) == VHD_DYNAMIC_HEADER_BYTES, "two sectors");
_Static_assert(offsetof(struct vhd_dynamic_header, checksum) == 36, "VHD specification");
_Static_assert(offsetof(struct vhd_dynamic_header, parent_name) == 64, "VHD specification");
_Static_assert(offsetof(struct vhd_dynamic_header, locators) == 576, "VHD specification");
_Static_assert(offsetof(struct vhd_dynamic_header, reserved2) == 768, "VHD specification");
_Static_assert(_Alignof(struct vhd_dynamic_header) == 1, "may lie at any address");

#endif
