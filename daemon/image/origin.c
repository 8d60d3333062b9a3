/* SPDX-License-Identifier: MIT */
/* The VHD that a disk comes from: see origin.h. */
#include "image/origin.h"

#include <string.h>

#include "image/names.h"

static bool is_its_base(struct image *image)
{
	const struct map_counts counts = map_counts(&image->disk.map);
	const struct base_identity *base = &image->base_identity;
	const uint64_t disk_bytes = sectors_to_bytes(image->disk.nr_sectors);

	return image->super.has_base && base->format == BASE_VHD &&
	       image->base.layers[0]->vhd.disk_type == VHD_FIXED &&
	       base->disk_bytes == disk_bytes &&
	       base->file_bytes == disk_bytes + VHD_FOOTER_BYTES && counts.known &&
	       counts.sectors[SEAL_ENTRY_BASE] == image->disk.nr_sectors;
}

void image_find_origin(struct image *image, struct image_origin *ret_origin)
{
	const uint8_t *footer = NULL;
	size_t nr_bytes = 0;

	ret_origin->is_base = is_its_base(image);
	if (ret_origin->is_base) {
		footer = image->base_identity.footer;
		nr_bytes = VHD_FOOTER_BYTES;
	} else if (names_find(&image->names, "base.footer", &footer, &nr_bytes) < 0 &&
		   names_find(&image->names, NAMES_SOURCE_FOOTER, &footer, &nr_bytes) < 0) {
		nr_bytes = 0;
	}
	ret_origin->has_footer = nr_bytes == VHD_FOOTER_BYTES;
	if (ret_origin->has_footer)
		memcpy(ret_origin->footer, footer, VHD_FOOTER_BYTES);
}
