/* SPDX-License-Identifier: MIT */
/* What footer a VHD is to get: see mend.h. */
#include "vhd/mend.h"

#include <string.h>

#include "sealblk/limits.h"
#include "sealblk/units.h"

static bool is_sound(const uint8_t bytes[VHD_FOOTER_BYTES], struct vhd_info *ret_info)
{
	struct vhd_problem problem;

	return vhd_footer_parse(bytes, ret_info, &problem) == 0;
}

static bool is_zero(const uint8_t bytes[VHD_FOOTER_BYTES])
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, VHD_FOOTER_BYTES - 1) == 0;
}

static bool has_cookie(const uint8_t bytes[VHD_FOOTER_BYTES])
{
	return vhd_footer_has_cookie(bytes, VHD_FOOTER_BYTES);
}

bool vhd_mend_source(const struct vhd_patient *patient, struct vhd_info *ret_info, bool *ret_copy)
{
	*ret_copy = !is_sound(patient->tail, ret_info);
	if (!*ret_copy)
		return true;
	/* A fixed VHD has no copy: this would be one inside a disk. */
	return is_sound(patient->head, ret_info) && ret_info->disk_type != VHD_FIXED;
}

static bool is_vhdx(const struct vhd_patient *patient)
{
	static const char signature[] = "vhdxfile";

	return memcmp(patient->head, signature, sizeof(signature) - 1) == 0;
}

bool vhd_mend_is_foreign(const struct vhd_patient *patient)
{
	return is_vhdx(patient) ||
	       (!patient->is_called_vhd && !has_cookie(patient->head) &&
		!has_cookie(patient->tail) &&
		!vhd_footer_has_cookie(patient->tail + 1, VHD_OLD_FOOTER_BYTES));
}

static bool put(struct vhd_mend *ret_mend, const uint8_t footer[VHD_FOOTER_BYTES],
		uint64_t at_bytes, const char *what)
{
	*ret_mend = (struct vhd_mend){ .at_bytes = at_bytes, .what = what };
	memcpy(&ret_mend->footer, footer, VHD_FOOTER_BYTES);
	return true;
}

/* ---- dynamic and differencing: one of two ---- */

/* The footer's copy counts; its place is what no block has, else behind all. */
static bool mend_tail(const struct vhd_patient *patient, struct vhd_mend *ret_mend)
{
	const uint64_t last = patient->file_bytes - VHD_FOOTER_BYTES;
	const bool has_place = patient->file_bytes % SECTOR_BYTES == 0 &&
			       last >= patient->blocks_end_bytes;

	return put(ret_mend, patient->head,
		   has_place ? last : round_up(patient->file_bytes, SECTOR_BYTES),
		   "the footer is lost, its copy is not");
}

static bool mend_sparse(const struct vhd_patient *patient, bool by_copy, struct vhd_mend *ret_mend)
{
	if (patient->blocks_end_bytes == 0)
		return false;
	if (by_copy)
		return mend_tail(patient, ret_mend);
	if (memcmp(patient->head, patient->tail, VHD_FOOTER_BYTES) == 0)
		return false;
	(void)put(ret_mend, patient->tail, 0, "the footer's copy at the start differs from it");
	ret_mend->in_copy = true;
	return true;
}

/* ---- fixed: the file's length tells ---- */

/* Its size is another than its file's. One that is cut stays so. */
static bool mend_size(const struct vhd_patient *patient, const struct vhd_info *info,
		      struct vhd_mend *ret_mend)
{
	const uint64_t payload = patient->file_bytes - VHD_FOOTER_BYTES;
	struct vhd_footer footer;

	if (info->current_bytes >= payload || payload % MIB != 0 || payload > DISK_BYTES_MAX)
		return false;
	vhd_footer_renew(patient->tail, payload, &footer);
	return put(ret_mend, (const uint8_t *)&footer, payload,
		   "the footer says less than there is before it");
}

/* The cookie is there, the rest is not sound: is it only the sum? */
static bool mend_fields(const struct vhd_patient *patient, struct vhd_mend *ret_mend)
{
	const uint64_t payload = patient->file_bytes - VHD_FOOTER_BYTES;
	struct vhd_footer footer;
	struct vhd_info info;
	uint32_t type;

	memcpy(&footer, patient->tail, sizeof(footer));
	type = be32_get(footer.disk_type);
	footer.checksum = be32_of(vhd_footer_checksum(&footer));
	if (type == VHD_DYNAMIC || type == VHD_DIFFERENCING || payload == 0 ||
	    payload % SECTOR_BYTES != 0 || payload > DISK_BYTES_MAX)
		return false;
	if (!is_sound((const uint8_t *)&footer, &info) || info.current_bytes != payload)
		vhd_footer_renew(patient->tail, payload, &footer);
	return put(ret_mend, (const uint8_t *)&footer, payload, "the footer is damaged");
}

/* A footer of Virtual PC before 2004 lacks its last byte, which is 0. */
static bool mend_old(const struct vhd_patient *patient, struct vhd_mend *ret_mend)
{
	uint8_t footer[VHD_FOOTER_BYTES] = { 0 };
	struct vhd_info info;

	memcpy(footer, patient->tail + 1, VHD_OLD_FOOTER_BYTES);
	return is_sound(footer, &info) && info.disk_type == VHD_FIXED &&
	       put(ret_mend, footer, patient->file_bytes - VHD_OLD_FOOTER_BYTES,
		   "the footer has 511 bytes");
}

/*
 * Nothing is left of it. Zeros where it was, behind a disk of whole MiB, make room
 * for one; a disk of whole MiB gets it behind itself. No byte of data is touched.
 */
static bool mend_lost(const struct vhd_patient *patient, struct vhd_mend *ret_mend)
{
	const uint64_t behind = patient->file_bytes % MIB;
	struct vhd_fixed fixed = *patient->fresh;
	struct vhd_footer footer;

	fixed.disk_bytes = patient->file_bytes - behind;
	if (!patient->is_called_vhd || fixed.disk_bytes == 0 || fixed.disk_bytes > DISK_BYTES_MAX ||
	    !(behind == 0 || (behind == VHD_FOOTER_BYTES && is_zero(patient->tail))))
		return false;
	vhd_footer_build(&fixed, &footer);
	return put(ret_mend, (const uint8_t *)&footer, fixed.disk_bytes, "the footer is lost");
}

bool vhd_mend_plan(const struct vhd_patient *patient, struct vhd_mend *ret_mend)
{
	struct vhd_info info;
	bool by_copy;

	if (vhd_mend_source(patient, &info, &by_copy))
		return info.disk_type == VHD_FIXED ? mend_size(patient, &info, ret_mend)
						   : mend_sparse(patient, by_copy, ret_mend);
	/* Of a dynamic one, of which both are gone, or of something else altogether. */
	if (has_cookie(patient->head) || is_vhdx(patient))
		return false;
	if (has_cookie(patient->tail))
		return mend_fields(patient, ret_mend);
	if (mend_old(patient, ret_mend))
		return true;
	return mend_lost(patient, ret_mend);
}
