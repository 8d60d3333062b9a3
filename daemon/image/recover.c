/* SPDX-License-Identifier: MIT */
/*
 * Recovery of an image that was not closed (docs/format.md 9): the newest whole
 * slot of every map block counts; acknowledged entries of a killed daemon are
 * merged and committed; places that no entry names are punched again, since
 * punches may have been lost (invariant 11). Running it twice changes nothing.
 *
 * The superblock already carries this open's number, so that generations
 * written from here on are above any that the crash left behind.
 */
#include <errno.h>
#include <string.h>

#include "image/image.h"
#include "map/entries.h"

static int failed(struct image *image, const char *what, struct problem *problem)
{
	problem_set(problem, "image", image->path, "recovery failed: %s", what);
	return -EIO;
}

static int recover_block(struct image *image, uint64_t index)
{
	struct map *map = &image->disk.map;
	struct block_identity id = map_block_identity(map, index);
	struct seal_block pair[2];
	unsigned int slot;
	int r = image_pread(image, map_pair_offset(map, index), pair, sizeof(pair));

	if (r < 0)
		return r;
	r = block_pick(pair, &id, &image->lane.mac, true, &slot);
	if (r < 0 && r != -EBADMSG)
		return r;
	if (r < 0) {
		atomic_store(&map->heads[index], (uint64_t)HEAD_DAMAGED);
		atomic_store(&map->damaged, true);
		image->nr_damaged_blocks++;
		return 0;
	}
	map_install(map, index, pair[slot].body, slot);
	if (memcmp(&pair[0], &pair[1], sizeof(pair[0])) == 0)
		return 0;
	return image_pwrite(image, map_pair_offset(map, index) + (slot ^ 1u) * SEAL_BLOCK_BYTES,
			    &pair[slot], sizeof(pair[slot]));
}

static int recover_blocks(struct image *image)
{
	struct map *map = &image->disk.map;

	for (uint64_t i = 0; i < map->nr_blocks; i++) {
		int r = map_is_written(map, i) ? recover_block(image, i) : 0;

		if (r < 0)
			return r;
	}
	return image_sync(image);
}

struct merge {
	struct image *image;
	int error;
	struct dirty_header scratch; /* rounds freeze and clear this one; the file is only read */
};

static bool record_is_sound(const struct map *map, uint64_t first_sector, uint32_t nr_sectors,
			    uint8_t entry)
{
	return first_sector < map->config.disk_sectors && nr_sectors > 0 &&
	       nr_sectors <= map->config.disk_sectors - first_sector &&
	       (entry == SEAL_ENTRY_ZERO ||
		(entry >= SEAL_ENTRY_PLANE_FIRST && entry < MAP_VALUES &&
		 map->config.planes[entry].kind != SEAL_PLANE_NONE));
}

static void merge_record(void *arg, uint64_t first_sector, uint32_t nr_sectors, uint8_t entry)
{
	struct merge *merge = arg;
	struct map *map = &merge->image->disk.map;
	uint64_t end_sector = first_sector + nr_sectors;

	if (merge->error || !record_is_sound(map, first_sector, nr_sectors, entry))
		return;
	merge->image->nr_recovered_records++;
	while (first_sector < end_sector) {
		uint64_t index = map_block_of(first_sector);
		uint32_t at = (uint32_t)(first_sector - map_block_first(index));
		uint32_t end =
			(uint32_t)min_u64(end_sector - map_block_first(index), SEAL_BLOCK_SECTORS);

		first_sector = map_block_first(index) + end;
		if (head_kind(atomic_load(&map->heads[index])) == HEAD_DAMAGED)
			continue;
		/*
		 * The daemon had all these blocks dirty at once, so there is room. A
		 * round in the middle would punch what a later record names again.
		 */
		if (!dirty_find(map, index) && map->nr_dirty_free == 0) {
			merge->error = -EIO;
			return;
		}
		dirty_set(map, dirty_get(map, index), at, end, entry);
	}
}

static int punch(struct image *image, unsigned int plane, uint64_t sector, uint64_t nr_sectors)
{
	const struct map_config *config = &image->disk.map.config;
	const bool in_base = plane == SEAL_ENTRY_BASE;
	struct ring_op op = {
		.kind = RING_PUNCH,
		.fd = in_base ? config->base_fd : config->fd,
		.offset_bytes = config->planes[plane].file_offset_bytes + sectors_to_bytes(sector),
		.range_bytes = sectors_to_bytes(nr_sectors),
	};
	int r;

	do
		r = ring_run(image->ring, &op);
	while (in_base && sweep_goes_on(&op, r));
	return r < 0 ? r : 0;
}

/*
 * Punch what plane @plane (or SEAL_ENTRY_BASE: an owned base) holds in [@sector,
 * @end_sector) without an entry that names it. The blocks are in memory: recovery
 * has loaded all that exist.
 */
static int punch_unnamed(struct image *image, unsigned int plane, uint64_t sector,
			 uint64_t end_sector)
{
	const struct map *map = &image->disk.map;

	while (sector < end_sector) {
		struct map_run run;
		int r = map_find(map, sector, end_sector - sector, &run);

		if (r < 0) {
			/* A damaged block: what its sectors name is unknown, keep all. */
			sector = min_u64(map_block_first(map_block_of(sector) + 1), end_sector);
			continue;
		}
		if (run.entry != plane) {
			r = punch(image, plane, sector, run.nr_sectors);
			if (r < 0)
				return r;
		}
		sector += run.nr_sectors;
	}
	return 0;
}

/* The first @bytes of @plane, which lies in @store. */
static int sweep_extents(struct image *image, unsigned int plane, const struct store *store,
			 uint64_t bytes)
{
	uint64_t start = image->disk.map.config.planes[plane].file_offset_bytes;

	for (uint64_t at = 0; at < bytes;) {
		uint64_t extent;
		bool hole;
		int r = store_extent(store, start + at, bytes - at, &hole, &extent);

		if (r == 0 && !hole)
			r = punch_unnamed(image, plane, at / SECTOR_BYTES,
					  (at + extent + SECTOR_BYTES - 1) / SECTOR_BYTES);
		if (r < 0)
			return r;
		at += extent;
	}
	return 0;
}

/* Should it fail, the next open looks again at what the medium holds: nothing is lost. */
static int sync_base(struct image *image)
{
	struct ring_op op = { .kind = RING_FDATASYNC };

	if (!image->owned_base)
		return 0;
	op.fd = image->owned_base->fd;
	return ring_run(image->ring, &op);
}

static int sweep_planes(struct image *image)
{
	const struct map_config *config = &image->disk.map.config;
	const uint64_t disk_bytes = sectors_to_bytes(config->disk_sectors);

	for (unsigned int plane = SEAL_ENTRY_BASE; plane < MAP_VALUES; plane++) {
		int r = 0;

		if (plane == SEAL_ENTRY_BASE && image->owned_base)
			r = sweep_extents(image, plane, image->owned_base,
					  min_u64(sectors_to_bytes(config->base_sectors),
						  disk_bytes));
		else if (config->planes[plane].kind != SEAL_PLANE_NONE)
			r = sweep_extents(image, plane, &image->store, disk_bytes);
		/* Neither keeps an image from being served: it is not all encrypted yet. */
		if (r == -EOPNOTSUPP || r == -ENOSPC) {
			image->disk.map.punch_failed = true;
			return 0;
		}
		if (r < 0)
			return r;
	}
	if (sync_base(image) < 0)
		return -EIO;
	return image_sync(image);
}

int image_recover(struct image *image, const struct dirty_file *dirty, struct problem *problem)
{
	struct merge merge = { .image = image };
	struct dirty_file *records = &image->disk.map.dirty_file;

	if (recover_blocks(image) < 0)
		return failed(image, "its map cannot be read or written", problem);
	image_count(image);
	if (dirty) {
		merge.scratch.area_seq[0] = 1;
		*records = (struct dirty_file){ .header = &merge.scratch, .seq = 1 };
		dirty_file_replay(dirty, merge_record, &merge);
		if (merge.error || image_settle(image) < 0)
			return failed(image, "merged entries cannot be made durable", problem);
		*records = (struct dirty_file){ 0 };
	}
	if (sweep_planes(image) < 0)
		return failed(image, "superseded data cannot be punched", problem);
	return 0;
}

/* Blocks that are not in memory have not changed since the image was last swept. */
int image_sweep(struct image *image)
{
	return sweep_planes(image);
}
