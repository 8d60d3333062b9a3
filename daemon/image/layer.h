/* SPDX-License-Identifier: MIT */
/*
 * A layer: one file of a base. A raw file and a fixed VHD are their disk, byte
 * for byte; of a dynamic VHD and any VHDX the BAT tells where its blocks are; of a
 * differencing one, bitmaps also tell which sectors of a block it has, the
 * others being its parent's, the next layer.
 */
#ifndef IMAGE_LAYER_H
#define IMAGE_LAYER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "image/problem.h"
#include "image/vhdx_file.h"
#include "request/base_place.h"
#include "store/store.h"
#include "vhd/dynamic.h"
#include "vhd/footer.h"

enum base_format {
	BASE_AUTO, /* only asked for, never found */
	BASE_RAW,
	BASE_VHD,
	BASE_VHDX,
	BASE_FORMATS,
};

/* Frozen once open, but for the bitmaps: may be used from any thread. */
struct layer {
	struct store store;
	char *path; /* for messages, and to find the parent */
	uint64_t device;
	enum base_format format;
	uint64_t disk_bytes; /* a multiple of 512, not 0; of a VHD's parent: its child's */
	uint64_t data_bytes; /* not in blocks: of the file's head that are the disk's */

	/* BASE_VHD. */
	struct vhd_info vhd;
	uint8_t footer[VHD_FOOTER_BYTES];
	bool is_owned; /* by an image: marked so. Of any format, as it may be taken for raw */

	/* Dynamic and differencing. */
	struct vhd_dynamic dynamic;
	be32 *bat;

	/* BASE_VHDX; else NULL. */
	struct vhdx *vhdx;

	/* Dynamic and differencing VHDs, VHDX. 0: the file is the disk. */
	uint32_t nr_blocks;
	uint32_t block_sectors;

	/*
	 * Differencing: a bitmap per block, in reserved memory that costs nothing
	 * until it is used, and whether it has been read. Filled in under the lock,
	 * read without it once marked. A bit per sector, the most significant first.
	 */
	uint8_t *bitmaps;
	uint64_t bitmaps_bytes;
	_Atomic bool *bitmap_read;
	pthread_mutex_t bitmap_lock;
};

/*
 * Open the layer in @fd (a file or block device, readable), locked shared, or
 * exclusively when @fd is writable as well; a parent (@child not NULL) is held
 * against what the child says of it.
 * @fd: owned by the layer from here, closed on failure too. @wanted: as
 * base_open(); a parent is of its child's format.
 *
 * Blocks: waits LOCK_WAIT_MS for the lock, reads headers and BAT. Returns 0
 * (layer_close() it) or, with *ret_problem: -EINVAL: damaged, lying or empty;
 * -EFBIG: above DISK_BYTES_MAX; -ESTALE: not the child's parent, or changed
 * since; -EBUSY: somebody has a lock in the way; -ENOMEM, or the negative errno of reading.
 */
int MUST_CHECK layer_open(int fd, const char *path, enum base_format wanted,
			  const struct layer *child, struct layer **ret_layer,
			  struct problem *ret_problem);

/* Accepts NULL and half-open layers; always returns NULL. */
struct layer *layer_close(struct layer *layer);

static inline bool layer_has_parent(const struct layer *layer)
{
	if (layer->vhdx)
		return layer->vhdx->metadata.has_parent;
	return layer->format == BASE_VHD && layer->vhd.disk_type == VHD_DIFFERENCING;
}

/* Is the file the disk, byte for byte? */
static inline bool layer_is_flat(const struct layer *layer)
{
	return layer->nr_blocks == 0;
}

/*
 * Where @limit_sectors (at least 1) from @first_sector on are. Sectors past the
 * disk's end are a hole. Returns 0 with all of *ret_place filled in; 1: the
 * first ret_place->nr_sectors are the parent's; -EIO: the bitmap of their block
 * cannot be read now. Blocks on the first look at a block.
 */
int MUST_CHECK layer_locate(const struct layer *layer, uint64_t first_sector,
			    uint64_t limit_sectors, struct base_place *ret_place);

/*
 * layer_vhdx.c: read the VHDX in layer->store, as layer_open() does; the layer's
 * child, if it has one, is a VHDX, too.
 */
int MUST_CHECK layer_settle_vhdx(struct layer *layer, const struct layer *child,
				 struct problem *ret_problem);

/* layer_locate.c: set aside the memory for bitmaps. Returns 0 or -ENOMEM. */
int MUST_CHECK layer_init_bitmaps(struct layer *layer);
void layer_done_bitmaps(struct layer *layer);

/*
 * Read bytes of a file by blocking system calls.
 * Returns 0; -EIO when the file ends before; or a negative errno.
 */
int MUST_CHECK layer_read(const struct store *store, uint64_t offset_bytes, void *ret_bytes,
			  size_t nr_bytes);

#endif
