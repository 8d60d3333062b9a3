/* SPDX-License-Identifier: MIT */
/* Where sectors of a layer are: see layer.h. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "image/layer.h"
#include "sealblk/units.h"

/* ---- bitmaps ---- */

int layer_init_bitmaps(struct layer *layer)
{
	void *memory;

	layer->bitmap_read = calloc(layer->dynamic.nr_blocks, sizeof(*layer->bitmap_read));
	if (!layer->bitmap_read)
		return -ENOMEM;
	layer->bitmaps_bytes =
		(uint64_t)layer->dynamic.nr_blocks * vhd_bitmap_bytes(&layer->dynamic);
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

static int read_bitmap(const struct layer *layer, uint64_t block, uint8_t *ret_bitmap)
{
	uint64_t at = sectors_to_bytes(be32_get(layer->bat[block]));

	if (atomic_load(&layer->bitmap_read[block])) /* another thread was faster */
		return 0;
	if (layer_read(&layer->store, at, ret_bitmap, vhd_bitmap_bytes(&layer->dynamic)) < 0)
		return -EIO;
	atomic_store(&layer->bitmap_read[block], true);
	return 0;
}

static int bitmap_of(const struct layer *layer, uint64_t block, const uint8_t **ret_bitmap)
{
	uint8_t *bitmap = layer->bitmaps + block * vhd_bitmap_bytes(&layer->dynamic);
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

/* Sectors from @first_sector on, @limit at most, whose blocks are not in the file. */
static uint64_t unused_sectors(const struct layer *layer, uint64_t first_sector, uint64_t limit)
{
	uint64_t block_sectors = layer->dynamic.block_sectors;
	uint64_t block = first_sector / block_sectors;
	uint64_t nr = 0;

	while (nr < limit && be32_get(layer->bat[block]) == VHD_BLOCK_UNUSED)
		nr = ++block * block_sectors - first_sector;
	return min_u64(nr, limit);
}

int layer_locate(const struct layer *layer, uint64_t first_sector, uint64_t limit_sectors,
		 struct base_place *ret_place)
{
	const struct vhd_dynamic *dynamic = &layer->dynamic;
	uint64_t disk_sectors = layer->disk_bytes / SECTOR_BYTES;
	const uint8_t *bitmap;
	uint64_t block, data_sector;
	uint32_t within, nr;
	bool is_here;
	int r;

	assert(limit_sectors > 0);
	if (first_sector >= disk_sectors)
		return hole(layer, limit_sectors, ret_place);
	limit_sectors = min_u64(limit_sectors, disk_sectors - first_sector);
	if (!layer->bat)
		return locate_flat(layer, first_sector, limit_sectors, ret_place);

	block = first_sector / dynamic->block_sectors;
	within = (uint32_t)(first_sector % dynamic->block_sectors);
	if (be32_get(layer->bat[block]) == VHD_BLOCK_UNUSED) {
		limit_sectors = unused_sectors(layer, first_sector, limit_sectors);
		return layer_has_parent(layer) ? parents(limit_sectors, ret_place)
					       : hole(layer, limit_sectors, ret_place);
	}
	/* Without a parent no bitmap is needed: what it does not name is zeros in the file too. */
	nr = (uint32_t)min_u64(limit_sectors, dynamic->block_sectors - within);
	if (layer_has_parent(layer)) {
		r = bitmap_of(layer, block, &bitmap);
		if (r < 0)
			return r;
		nr = vhd_bitmap_run(bitmap, within, within + nr, &is_here);
		if (!is_here)
			return parents(nr, ret_place);
	}
	data_sector = (uint64_t)be32_get(layer->bat[block]) + dynamic->bitmap_sectors + within;
	return here(layer, sectors_to_bytes(data_sector), nr, sectors_to_bytes(nr), ret_place);
}
