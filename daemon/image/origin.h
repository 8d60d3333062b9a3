/* SPDX-License-Identifier: MIT */
/* What an export of an image takes over of the VHD that its disk comes from. */
#ifndef IMAGE_ORIGIN_H
#define IMAGE_ORIGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "image/image.h"
#include "sealblk/vhd_format.h"

struct image_origin {
	/* The disk is the base's, sector for sector, and that is a fixed VHD and nothing else. */
	bool is_base;
	bool has_footer;		  /* it comes from a VHD, whose footer this is: */
	uint8_t footer[VHD_FOOTER_BYTES]; /* verbatim */
};

/* @image: open; its base, too, if it has one. While nobody changes it. */
void image_find_origin(struct image *image, struct image_origin *ret_origin);

#endif
