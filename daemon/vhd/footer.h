/* SPDX-License-Identifier: MIT */
/*
 * The VHD footer: judged, read and built. Pure: bytes in, numbers out.
 */
#ifndef VHD_FOOTER_H
#define VHD_FOOTER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "sealblk/vhd_format.h"
#include "vhd/reason.h"

/* What a footer says, checked. */
struct vhd_info {
	enum vhd_disk_type disk_type;
	uint64_t disk_bytes;	/* the size to use, see vhd_footer_parse() */
	bool sized_by_geometry; /* @disk_bytes is the geometry's, not @current_bytes */
	uint64_t current_bytes;
	uint64_t original_bytes;
	uint64_t data_offset; /* dynamic and differencing: of their header */
	struct vhd_geometry geometry;
	uint32_t created_s; /* since VHD_EPOCH_S */
	uint32_t creator_version;
	uint8_t creator_app[VHD_CREATOR_BYTES];
	uint8_t creator_os[VHD_CREATOR_BYTES];
	uint8_t uuid[VHD_UUID_BYTES];
	bool saved_state;
};

/*
 * Read a footer, or the copy at the head of a dynamic or differencing VHD, and
 * check it in itself: cookie, checksum, version, type, size. Reserved bytes,
 * features and the data offset of fixed VHDs differ between writers and are
 * not judged.
 *
 * The size is current_bytes, but for the creators "vpc " and "qemu" what the
 * geometry says, unless that is the largest one (127.5 GiB). This is what QEMU
 * 10.0 and later does; Azure's own files ("wa") are 256 KiB short by geometry.
 *
 * Returns 0; -EINVAL with *ret_problem when the bytes are no sound footer.
 */
int MUST_CHECK vhd_footer_parse(const uint8_t bytes[VHD_FOOTER_BYTES], struct vhd_info *ret_info,
				struct vhd_problem *ret_problem);

/*
 * Does the disk of a fixed VHD whose footer vhd_footer_parse() has read lie in
 * its file of @file_bytes before the footer? A longer payload is accepted, since
 * geometries round down and some writers pad; the bytes between the disk's end
 * and the footer are not the disk's. Returns 0; -EINVAL with *ret_problem.
 */
int MUST_CHECK vhd_footer_check_fixed(const struct vhd_info *info, uint64_t file_bytes,
				      struct vhd_problem *ret_problem);

/*
 * Do these bytes begin with the cookie? The answer for the last 512 bytes tells
 * a VHD from a raw disk; for the last 511, a VHD from before 2004.
 */
bool vhd_footer_has_cookie(const void *bytes, uint64_t nr_bytes);

/* What a new fixed VHD's footer says. */
struct vhd_fixed {
	uint64_t disk_bytes; /* a multiple of 512, not 0 */
	uint32_t created_s;  /* since VHD_EPOCH_S */
	/*
	 * VHD_CREATOR_WINDOWS unless a test needs another: readers of all ages then
	 * take the size from current_bytes.
	 */
	uint8_t creator_app[VHD_CREATOR_BYTES];
	uint8_t uuid[VHD_UUID_BYTES];
};

/* Cannot fail. The geometry is vhd_geometry_of() the size. */
void vhd_footer_build(const struct vhd_fixed *fixed, struct vhd_footer *ret_footer);

/* Turn the footer of a fixed VHD into that of a dynamic one with its header behind the copy. */
void vhd_footer_make_dynamic(struct vhd_footer *footer);

/*
 * The footer of a fixed VHD that goes on as the disk whose footer @bytes was, of
 * @disk_bytes by now: unique id, timestamp, original size and saved state are
 * kept; the rest is as vhd_footer_build() has it, so that a size that only the
 * geometry told does not cut the disk.
 */
void vhd_footer_renew(const uint8_t bytes[VHD_FOOTER_BYTES], uint64_t disk_bytes,
		      struct vhd_footer *ret_footer);

/* Is the disk's file marked as owned by the image whose UUID is the footer's unique id? */
bool vhd_footer_is_owned(const uint8_t bytes[VHD_FOOTER_BYTES]);

/* The footer that @bytes becomes when the image @uuid adopts the file; its checksum is right. */
void vhd_footer_own(const uint8_t bytes[VHD_FOOTER_BYTES], const uint8_t uuid[VHD_UUID_BYTES],
		    uint8_t ret_bytes[VHD_FOOTER_BYTES]);

/* ~(sum of the bytes of the footer but the checksum's own), as stored in .checksum. */
uint32_t vhd_footer_checksum(const struct vhd_footer *footer);

#endif
