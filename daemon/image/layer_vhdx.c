/* SPDX-License-Identifier: MIT */
/* A layer that is a VHDX: see layer.h. */
#include <errno.h>
#include <string.h>

#include "image/layer.h"
#include "image/parent.h"
#include "image/vhd_problem.h"
#include "sealblk/units.h"

static int tell(const struct layer *layer, int error, const struct vhdx_problem *vhdx,
		struct problem *ret_problem)
{
	char text[VHD_PROBLEM_TEXT_BYTES];

	if (vhdx->reason == VHDX_FINE) {
		problem_set(ret_problem, "base", layer->path, "cannot be read: %s",
			    strerror(-error));
		return error;
	}
	vhdx_problem_text(vhdx, text);
	problem_set(ret_problem, "base", layer->path, "%s", text);
	return error;
}

int layer_settle_vhdx(struct layer *layer, const struct layer *child, struct problem *ret_problem)
{
	struct vhdx_problem problem;
	int r = vhdx_read(&layer->store, &layer->vhdx, &problem);

	layer->format = BASE_VHDX;
	if (r < 0)
		return tell(layer, r, &problem, ret_problem);
	if (child) {
		r = parent_check_vhdx(layer, child, ret_problem);
		if (r < 0)
			return r;
	}
	layer->disk_bytes = layer->vhdx->metadata.disk_bytes;
	layer->nr_blocks = layer->vhdx->layout.nr_blocks;
	layer->block_sectors = layer->vhdx->metadata.block_bytes / SECTOR_BYTES;
	if (!layer_has_parent(layer) || layer_init_bitmaps(layer) == 0)
		return 0;
	return tell(layer, -ENOMEM, &problem, ret_problem);
}
