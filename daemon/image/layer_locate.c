/* SPDX-License-Identifier: MIT */
/* Where sectors of a layer are: see layer.h. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "image/layer.h"
#include "sealblk/units.h"

/* ---- bitmaps ---- */

/* Of a block: those that have a meaning. */
static uint32_t bitmap_bytes(const struct layer *layer)
{
	return (layer->block_sectors + 7) / 8;
}

int layer_init_bitmaps(struct layer *layer)
{
	void *memory;

	layer->bitmap_read = calloc(layer->nr_blocks, sizeof(*layer->bitmap_read));
	if (!layer->bitmap_read)
		return -ENOMEM;
	layer->bitmaps_bytes = (uint64_t)layer->nr_blocks * bitmap_bytes(layer);
	memory = mmap(NULL, layer->bitmaps_bytes, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return -ENOMEM;
	layer->bitmaps = memory;
	pthread_mutex_init(&layer->bitmap_lock, NULL);
	return 0;
}

void layer_done_bitmaps(struct layer *layer)
{
	free(layer->bitmap_read);
	if (!layer->bitmaps)
		return;
	munmap(layer->bitmaps, layer->bitmaps_bytes);
	pthread_mutex_destroy(&layer->bitmap_lock);
}

/* It is a part of the bitmap block of the chunk. */
static int read_vhdx_bitmap(const struct layer *layer, uint32_t block, uint8_t *ret_bitmap)
{
	const struct vhdx *vhdx = layer->vhdx;
	const uint32_t entry = vhdx_bitmap_entry(&vhdx->layout, block);
	const size_t nr_bytes =
		vhdx_bitmap_bytes(vhdx->metadata.logical_bytes, bitmap_bytes(layer));
	int r = vhdx_read_at(vhdx, &layer->store,
			     vhdx_entry_offset(vhdx->bat[entry]) +
				     (uint64_t)(block % vhdx->layout.chunk_ratio) * nr_bytes,
			     ret_bitmap, nr_bytes);

	if (r == 0)
		vhdx_bitmap_convert(ret_bitmap, vhdx->metadata.logical_bytes, bitmap_bytes(layer));
	return r;
}

static int read_vhd_bitmap(const struct layer *layer, uint32_t block, uint8_t *ret_bitmap)
{
	return layer_read(&layer->store, sectors_to_bytes(be32_get(layer->bat[block])), ret_bitmap,
			  bitmap_bytes(layer));
}

static int read_bitmap(const struct layer *layer, uint32_t block, uint8_t *ret_bitmap)
{
	int r;

	if (atomic_load(&layer->bitmap_read[block])) /* another thread was faster */
		return 0;
	r = layer->vhdx ? read_vhdx_bitmap(layer, block, ret_bitmap)
			: read_vhd_bitmap(layer, block, ret_bitmap);
	if (r < 0)
		return -EIO;
	atomic_store(&layer->bitmap_read[block], true);
	return 0;
}

static int bitmap_of(const struct layer *layer, uint32_t block, const uint8_t **ret_bitmap)
{
	uint8_t *bitmap = layer->bitmaps + (uint64_t)block * bitmap_bytes(layer);
	/* The lock is no part of what is frozen. */
	pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&layer->bitmap_lock;
	int r = 0;

	if (!atomic_load_explicit(&layer->bitmap_read[block], memory_order_acquire)) {
		pthread_mutex_lock(lock);
		r = read_bitmap(layer, block, bitmap);
		pthread_mutex_unlock(lock);
	}
	*ret_bitmap = bitmap;
	return r;
}

/* ---- blocks ---- */

enum block_kind {
	BLOCK_ABSENT, /* the parent's; zeros without one */
	BLOCK_ZERO,   /* zeros, whatever the parent has */
	BLOCK_HERE,
	BLOCK_IN_PART, /* its bitmap tells */
};

static enum block_kind vhdx_block_kind(le64 entry)
{
	switch (vhdx_entry_state(entry)) {
	case VHDX_BLOCK_FULLY_PRESENT:
		return BLOCK_HERE;
	case VHDX_BLOCK_PARTIALLY_PRESENT:
		return BLOCK_IN_PART;
	case VHDX_BLOCK_NOT_PRESENT:
		return BLOCK_ABSENT;
	/* Of the first and the last, anything may be read. */
	case VHDX_BLOCK_UNDEFINED:
	case VHDX_BLOCK_ZERO:
	case VHDX_BLOCK_UNMAPPED:
		break;
	}
	return BLOCK_ZERO;
}

static enum block_kind kind_of(const struct layer *layer, uint32_t block)
{
	if (layer->vhdx)
		return vhdx_block_kind(
			layer->vhdx->bat[vhdx_block_entry(&layer->vhdx->layout, block)]);
	if (be32_get(layer->bat[block]) == VHD_BLOCK_UNUSED)
		return BLOCK_ABSENT;
	/* Without a parent no bitmap is needed: what it does not name is zeros in the file too. */
	return layer_has_parent(layer) ? BLOCK_IN_PART : BLOCK_HERE;
}

/* Where the data of a block that is here begins. */
static uint64_t block_offset(const struct layer *layer, uint32_t block)
{
	if (layer->vhdx)
		return vhdx_entry_offset(
			layer->vhdx->bat[vhdx_block_entry(&layer->vhdx->layout, block)]);
	return sectors_to_bytes((uint64_t)be32_get(layer->bat[block]) +
				layer->dynamic.bitmap_sectors);
}

/* Sectors from @first_sector on, @limit at most, whose blocks are of one kind. */
static uint64_t alike_sectors(const struct layer *layer, uint64_t first_sector, uint64_t limit)
{
	uint64_t block = first_sector / layer->block_sectors;
	const enum block_kind kind = kind_of(layer, (uint32_t)block);
	uint64_t nr = 0;

	while (nr < limit && kind_of(layer, (uint32_t)block) == kind)
		nr = ++block * layer->block_sectors - first_sector;
	return min_u64(nr, limit);
}

/* ---- places ---- */

static int here(const struct layer *layer, uint64_t offset_bytes, uint64_t nr_sectors,
		uint64_t stored_bytes, struct base_place *ret_place)
{
	*ret_place = (struct base_place){
		.nr_sectors = nr_sectors,
		.stored_bytes = stored_bytes,
		.offset_bytes = offset_bytes,
		.fd = layer->store.fd,
		.in_memory = layer->store.in_memory,
	};
	return 0;
}

static int hole(const struct layer *layer, uint64_t nr_sectors, struct base_place *ret_place)
{
	return here(layer, 0, nr_sectors, 0, ret_place);
}

static int parents(uint64_t nr_sectors, struct base_place *ret_place)
{
	ret_place->nr_sectors = nr_sectors;
	return 1;
}

/* The file is the disk. Its last sector may be stored in part. */
static int locate_flat(const struct layer *layer, uint64_t first_sector, uint64_t limit_sectors,
		       struct base_place *ret_place)
{
	uint64_t offset = sectors_to_bytes(first_sector);

	return here(layer, offset, limit_sectors,
		    min_u64(sectors_to_bytes(limit_sectors), layer->data_bytes - offset),
		    ret_place);
}

/* A block that a VHDX's log has only just appended need not be in the file: it is zeros. */
static int in_block(const struct layer *layer, uint64_t first_sector, uint64_t nr_sectors,
		    struct base_place *ret_place)
{
	const uint64_t within = first_sector % layer->block_sectors;
	const uint64_t offset =
		block_offset(layer, (uint32_t)(first_sector / layer->block_sectors)) +
		sectors_to_bytes(within);

	if (offset >= layer->store.bytes)
		return hole(layer, nr_sectors, ret_place);
	return here(layer, offset, nr_sectors,
		    min_u64(sectors_to_bytes(nr_sectors), layer->store.bytes - offset), ret_place);
}

static int in_block_in_part(const struct layer *layer, uint64_t first_sector, uint64_t nr_sectors,
			    struct base_place *ret_place)
{
	const uint32_t within = (uint32_t)(first_sector % layer->block_sectors);
	const uint8_t *bitmap;
	bool is_here;
	int r = bitmap_of(layer, (uint32_t)(first_sector / layer->block_sectors), &bitmap);

	if (r < 0)
		return r;
	nr_sectors = vhd_bitmap_run(bitmap, within, within + (uint32_t)nr_sectors, &is_here);
	return is_here ? in_block(layer, first_sector, nr_sectors, ret_place)
		       : parents(nr_sectors, ret_place);
}

int layer_locate(const struct layer *layer, uint64_t first_sector, uint64_t limit_sectors,
		 struct base_place *ret_place)
{
	uint64_t disk_sectors = layer->disk_bytes / SECTOR_BYTES;
	uint64_t block_rest;

	assert(limit_sectors > 0);
	if (first_sector >= disk_sectors)
		return hole(layer, limit_sectors, ret_place);
	limit_sectors = min_u64(limit_sectors, disk_sectors - first_sector);
	if (layer_is_flat(layer))
		return locate_flat(layer, first_sector, limit_sectors, ret_place);

	block_rest =
		min_u64(limit_sectors, layer->block_sectors - first_sector % layer->block_sectors);
	switch (kind_of(layer, (uint32_t)(first_sector / layer->block_sectors))) {
	case BLOCK_HERE:
		return in_block(layer, first_sector, block_rest, ret_place);
	case BLOCK_IN_PART:
		return in_block_in_part(layer, first_sector, block_rest, ret_place);
	case BLOCK_ABSENT:
		limit_sectors = alike_sectors(layer, first_sector, limit_sectors);
		return layer_has_parent(layer) ? parents(limit_sectors, ret_place)
					       : hole(layer, limit_sectors, ret_place);
	case BLOCK_ZERO:
		break;
	}
	return hole(layer, alike_sectors(layer, first_sector, limit_sectors), ret_place);
}
