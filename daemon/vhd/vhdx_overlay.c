/* SPDX-License-Identifier: MIT */
/* What replaces parts of a VHDX: see vhdx_overlay.h. */
#include "vhd/vhdx_overlay.h"

#include <stdlib.h>
#include <string.h>

#include "sealblk/units.h"

void vhdx_overlay_patch(const struct vhdx_overlay *overlay, uint64_t offset_bytes, uint8_t *bytes,
			size_t nr_bytes)
{
	const uint64_t end_bytes = offset_bytes + nr_bytes;

	for (size_t i = 0; i < overlay->nr_updates; i++) {
		const struct vhdx_update *update = &overlay->updates[i];
		uint64_t first = update->offset_bytes > offset_bytes ? update->offset_bytes
								     : offset_bytes;
		uint64_t end = min_u64(update->offset_bytes + update->nr_bytes, end_bytes);

		if (first >= end)
			continue;
		if (update->data)
			memcpy(bytes + (first - offset_bytes),
			       update->data + (first - update->offset_bytes), end - first);
		else
			memset(bytes + (first - offset_bytes), 0, end - first);
	}
}

void vhdx_overlay_done(struct vhdx_overlay *overlay)
{
	free(overlay->updates);
	free(overlay->pieces);
	*overlay = (struct vhdx_overlay){ 0 };
}
