/* SPDX-License-Identifier: MIT */
/* Why a VHD is refused: see reason.h. */
#include "vhd/reason.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

static const struct vhd_reason_words words[VHD_REASONS] = {
	[VHD_FINE] = { .text = "nothing is wrong" },

	[VHD_NO_COOKIE] = { .text = "there is no VHD footer in the last 512 bytes" },
	[VHD_OLD_FOOTER] = { .text = "the footer has 511 bytes (older than Virtual PC 2004)" },
	[VHD_BAD_CHECKSUM] = { "footer checksum is wrong", "stored", "computed", true },
	[VHD_BAD_VERSION] = { "footer has an unknown format version", "version", "known is", true },
	[VHD_BAD_TYPE] = { "footer has an unknown disk type", "type", NULL, false },
	[VHD_SIZE_ZERO] = { .text = "footer says the disk is empty" },
	[VHD_SIZE_NOT_SECTORS] = { "footer's disk size is not a multiple of 512", "bytes:", NULL,
				   false },
	[VHD_SIZE_TOO_LARGE] = { "footer's disk size is above the limit", "bytes:", "at most",
				 false },
	[VHD_SIZE_BEYOND_FILE] = { "footer's disk size does not fit the file, which is cut or not "
				   "fixed",
				   "disk bytes:", "before the footer:", false },
	[VHD_GEOMETRY_BEYOND_SIZE] = { "footer's geometry is larger than its disk size",
				       "bytes by geometry:", "disk bytes:", false },

	[VHD_HEADER_OUTSIDE] = { "footer puts the dynamic header outside the file or on the footer",
				 "offset", NULL, false },
	[VHD_HEADER_NO_COOKIE] = { .text = "there is no dynamic header where the footer says" },
	[VHD_HEADER_BAD_CHECKSUM] = { "checksum of the dynamic header is wrong", "stored",
				      "computed", true },
	[VHD_HEADER_BAD_VERSION] = { "dynamic header has an unknown version", "version", "known is",
				     true },
	[VHD_BLOCK_SIZE_BAD] = { "block size is not a power of two of 512 or more", "bytes:", NULL,
				 false },

	[VHD_BAT_TOO_SHORT] = { "block allocation table is too short for the disk",
				"entries:", "blocks:", false },
	[VHD_BAT_TOO_LONG] = { "disk has more blocks than the limit", "blocks:", "at most", false },
	[VHD_BAT_OUTSIDE] = { "block allocation table reaches past the end of the file", "offset",
			      "entries:", false },
	[VHD_BAT_ON_HEADER] = { "block allocation table overlaps the headers", "offset", NULL,
				false },
	[VHD_BLOCK_ON_HEADER] = { "a block overlaps the headers", "block", "at sector", false },
	[VHD_BLOCK_ON_BAT] = { "a block overlaps the block allocation table", "block", "at sector",
			       false },
	[VHD_BLOCK_ON_FOOTER] = { "a block overlaps the footer", "block", "at sector", false },
	[VHD_BLOCK_BEYOND_FILE] = { "a block reaches past the end of the file", "block",
				    "at sector", false },
	[VHD_BLOCKS_OVERLAP] = { "two blocks overlap", "block", "and block", false },
};

const struct vhd_reason_words *vhd_reason_words(enum vhd_reason reason)
{
	assert((unsigned int)reason < VHD_REASONS);
	return &words[reason];
}

int vhd_refuse(struct vhd_problem *ret_problem, enum vhd_reason reason, uint64_t stored,
	       uint64_t computed)
{
	*ret_problem = (struct vhd_problem){ reason, stored, computed };
	return -EINVAL;
}
