/* SPDX-License-Identifier: MIT */
/* The VHD footer: see footer.h. */
#include "vhd/footer.h"

#include <string.h>

#include "sealblk/limits.h"
#include "sealblk/units.h"
#include "vhd/checksum.h"
#include "vhd/geometry.h"

enum {
	BUILT_CREATOR_VERSION = 0x000a0000, /* what Windows 10's Hyper-V writes */
};

uint32_t vhd_footer_checksum(const struct vhd_footer *footer)
{
	return vhd_checksum(footer, sizeof(*footer), footer->checksum);
}

bool vhd_footer_has_cookie(const void *bytes, uint64_t nr_bytes)
{
	return nr_bytes >= VHD_COOKIE_BYTES && memcmp(bytes, VHD_COOKIE, VHD_COOKIE_BYTES) == 0;
}

/* The two creators whose current_bytes may lie: their disks end where the geometry ends. */
static bool creator_means_geometry(const uint8_t creator[VHD_CREATOR_BYTES])
{
	return memcmp(creator, VHD_CREATOR_VIRTUAL_PC, VHD_CREATOR_BYTES) == 0 ||
	       memcmp(creator, VHD_CREATOR_QEMU, VHD_CREATOR_BYTES) == 0;
}

static struct vhd_info read_fields(const struct vhd_footer *footer)
{
	struct vhd_info info = {
		.disk_type = (enum vhd_disk_type)be32_get(footer->disk_type),
		.current_bytes = be64_get(footer->current_bytes),
		.original_bytes = be64_get(footer->original_bytes),
		.data_offset = be64_get(footer->data_offset),
		.geometry = footer->geometry,
		.created_s = be32_get(footer->created_s),
		.creator_version = be32_get(footer->creator_version),
		.saved_state = footer->saved_state != 0,
	};

	memcpy(info.creator_app, footer->creator_app, sizeof(info.creator_app));
	memcpy(info.creator_os, footer->creator_os, sizeof(info.creator_os));
	memcpy(info.uuid, footer->uuid, sizeof(info.uuid));
	info.sized_by_geometry = creator_means_geometry(info.creator_app) &&
				 !vhd_geometry_is_max(info.geometry);
	info.disk_bytes = info.sized_by_geometry
				  ? sectors_to_bytes(vhd_geometry_sectors(info.geometry))
				  : info.current_bytes;
	return info;
}

static int check_size(uint64_t disk_bytes, struct vhd_problem *ret_problem)
{
	if (disk_bytes == 0)
		return vhd_refuse(ret_problem, VHD_SIZE_ZERO, 0, 0);
	if (disk_bytes > DISK_BYTES_MAX)
		return vhd_refuse(ret_problem, VHD_SIZE_TOO_LARGE, disk_bytes, DISK_BYTES_MAX);
	if (disk_bytes % SECTOR_BYTES != 0)
		return vhd_refuse(ret_problem, VHD_SIZE_NOT_SECTORS, disk_bytes, 0);
	return 0;
}

int vhd_footer_parse(const uint8_t bytes[VHD_FOOTER_BYTES], struct vhd_info *ret_info,
		     struct vhd_problem *ret_problem)
{
	struct vhd_footer footer;
	struct vhd_info info;
	uint32_t computed;
	int rc;

	memcpy(&footer, bytes, sizeof(footer));
	if (!vhd_footer_has_cookie(&footer, sizeof(footer)))
		return vhd_refuse(ret_problem, VHD_NO_COOKIE, 0, 0);
	computed = vhd_footer_checksum(&footer);
	if (be32_get(footer.checksum) != computed)
		return vhd_refuse(ret_problem, VHD_BAD_CHECKSUM, be32_get(footer.checksum),
				  computed);
	if (be32_get(footer.version) != VHD_VERSION)
		return vhd_refuse(ret_problem, VHD_BAD_VERSION, be32_get(footer.version),
				  VHD_VERSION);
	if (be32_get(footer.disk_type) < VHD_FIXED || be32_get(footer.disk_type) > VHD_DIFFERENCING)
		return vhd_refuse(ret_problem, VHD_BAD_TYPE, be32_get(footer.disk_type), 0);

	info = read_fields(&footer);
	rc = check_size(info.disk_bytes, ret_problem);
	if (rc < 0)
		return rc;
	*ret_info = info;
	return 0;
}

int vhd_footer_check_fixed(const struct vhd_info *info, uint64_t file_bytes,
			   struct vhd_problem *ret_problem)
{
	uint64_t payload_bytes = file_bytes - min_u64(file_bytes, VHD_FOOTER_BYTES);

	if (info->disk_bytes > payload_bytes)
		return vhd_refuse(ret_problem, VHD_SIZE_BEYOND_FILE, info->disk_bytes,
				  payload_bytes);
	return 0;
}

void vhd_footer_build(const struct vhd_fixed *fixed, struct vhd_footer *ret_footer)
{
	struct vhd_footer footer = {
		.features = be32_of(VHD_FEATURE_RESERVED),
		.version = be32_of(VHD_VERSION),
		.data_offset = be64_of(VHD_DATA_OFFSET_FIXED),
		.created_s = be32_of(fixed->created_s),
		.creator_version = be32_of(BUILT_CREATOR_VERSION),
		.original_bytes = be64_of(fixed->disk_bytes),
		.current_bytes = be64_of(fixed->disk_bytes),
		.geometry = vhd_geometry_of(bytes_to_sectors(fixed->disk_bytes)),
		.disk_type = be32_of(VHD_FIXED),
	};

	memcpy(footer.cookie, VHD_COOKIE, sizeof(footer.cookie));
	memcpy(footer.creator_app, fixed->creator_app, sizeof(footer.creator_app));
	memcpy(footer.creator_os, VHD_OS_WINDOWS, sizeof(footer.creator_os));
	memcpy(footer.uuid, fixed->uuid, sizeof(footer.uuid));
	footer.checksum = be32_of(vhd_footer_checksum(&footer));
	*ret_footer = footer;
}

void vhd_footer_make_dynamic(struct vhd_footer *footer)
{
	footer->disk_type = be32_of(VHD_DYNAMIC);
	footer->data_offset = be64_of(VHD_FOOTER_BYTES);
	footer->checksum = be32_of(vhd_footer_checksum(footer));
}

void vhd_footer_renew(const uint8_t bytes[VHD_FOOTER_BYTES], uint64_t disk_bytes,
		      struct vhd_footer *ret_footer)
{
	struct vhd_fixed fixed = { .disk_bytes = disk_bytes };
	struct vhd_footer was;

	memcpy(&was, bytes, sizeof(was));
	fixed.created_s = be32_get(was.created_s);
	memcpy(fixed.creator_app, VHD_CREATOR_WINDOWS, sizeof(fixed.creator_app));
	memcpy(fixed.uuid, was.uuid, sizeof(fixed.uuid));
	vhd_footer_build(&fixed, ret_footer);
	ret_footer->original_bytes = was.original_bytes;
	ret_footer->saved_state = was.saved_state;
	ret_footer->checksum = be32_of(vhd_footer_checksum(ret_footer));
}

bool vhd_footer_is_owned(const uint8_t bytes[VHD_FOOTER_BYTES])
{
	struct vhd_footer footer;

	memcpy(&footer, bytes, sizeof(footer));
	return vhd_footer_has_cookie(&footer, sizeof(footer)) &&
	       memcmp(footer.reserved + VHD_OWNED_MARK_AT, VHD_OWNED_MARK,
		      sizeof(VHD_OWNED_MARK)) == 0;
}

void vhd_footer_own(const uint8_t bytes[VHD_FOOTER_BYTES], const uint8_t uuid[VHD_UUID_BYTES],
		    uint8_t ret_bytes[VHD_FOOTER_BYTES])
{
	struct vhd_footer footer;

	memcpy(&footer, bytes, sizeof(footer));
	memcpy(footer.uuid, uuid, sizeof(footer.uuid));
	memcpy(footer.reserved + VHD_OWNED_MARK_AT, VHD_OWNED_MARK, sizeof(VHD_OWNED_MARK));
	footer.checksum = be32_of(vhd_footer_checksum(&footer));
	memcpy(ret_bytes, &footer, sizeof(footer));
}
