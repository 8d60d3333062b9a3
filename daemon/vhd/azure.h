/* SPDX-License-Identifier: MIT */
/*
 * What Azure accepts as a disk to upload: its five rules (Microsoft, "Prepare a
 * VHD for upload" and the marketplace's certification FAQ). Whoever breaks one
 * learns it after the upload; here it is known before. Pure.
 */
#ifndef VHD_AZURE_H
#define VHD_AZURE_H

#include <stdbool.h>
#include <stdint.h>

#include "sealblk/units.h"
#include "sealblk/vhd_format.h"

#define VHD_AZURE_BYTES_MIN (20 * MIB)
#define VHD_AZURE_BYTES_MAX (32 * TIB)

enum vhd_azure_rule {
	VHD_AZURE_FIXED,     /* neither dynamic, differencing nor VHDX */
	VHD_AZURE_FOOTER,    /* in the last 512 bytes, with its cookie and checksum */
	VHD_AZURE_SIZE,	     /* of the disk: 20 MiB to 32 TiB */
	VHD_AZURE_WHOLE_MIB, /* the disk's size is a multiple of 1 MiB */
	VHD_AZURE_LENGTH,    /* the file is the disk and its footer, to the byte */
	VHD_AZURE_RULES,
};

/*
 * @footer: the last 512 bytes of a file of @file_bytes, not judged yet. The
 * disk's size is current_bytes, whoever the creator is.
 * @ret_kept: for each rule, is it kept?
 */
void vhd_azure_judge(const struct vhd_footer *footer, uint64_t file_bytes,
		     bool ret_kept[VHD_AZURE_RULES]);

/* A short English sentence part that says what is asked for. Never NULL. */
const char *vhd_azure_rule_text(enum vhd_azure_rule rule);

#endif
