/* SPDX-License-Identifier: MIT */
/*
 * Walking over the states of a disk:
 *
 * block -> runs of one entry -> joined (add_run) -> cut at the base's holes
 * (settle_run) -> joined (tell) -> the caller
 *
 * The first joining is what makes a large disk cheap: a base is asked for its
 * holes once per run, not once per map block.
 */
#include "control/report.h"

#include <errno.h>
#include <string.h>

#include "map/entries.h"

static const char *const state_names[REPORT_STATES] = {
	[REPORT_BASE] = "base",	    [REPORT_ZERO] = "zero",	  [REPORT_PLAIN] = "plain",
	[REPORT_SEALED] = "sealed", [REPORT_DAMAGED] = "damaged",
};

struct run {
	uint64_t first_sector;
	uint64_t nr_sectors; /* 0: none yet */
	enum report_state state;
};

struct walk {
	const struct report *report;
	struct image *image;
	struct mac_ctx mac_ctx;
	struct mac_ctx *mac; /* NULL: locked, checksums only */
	report_extent_fn extent;
	void *arg;
	struct run found; /* by the map's word: holes of the base still in it */
	struct run told;  /* final, may yet grow */
};

const char *report_state_name(enum report_state state)
{
	return state_names[state];
}

int report_state_of(const char *name, enum report_state *ret_state)
{
	for (unsigned int i = 0; i < REPORT_STATES; i++) {
		if (strcmp(name, state_names[i]) == 0) {
			*ret_state = (enum report_state)i;
			return 0;
		}
	}
	return -EINVAL;
}

enum report_state report_state_of_entry(const struct map *map, uint8_t entry)
{
	if (entry == SEAL_ENTRY_BASE)
		return map->config.has_base ? REPORT_BASE : REPORT_ZERO;
	if (entry == SEAL_ENTRY_ZERO)
		return REPORT_ZERO;
	return map->config.planes[entry].kind == SEAL_PLANE_SEALED ? REPORT_SEALED : REPORT_PLAIN;
}

/* ---- runs, from the map to the caller ---- */

static int tell_last(struct walk *walk)
{
	const struct run *run = &walk->told;

	if (run->nr_sectors == 0)
		return 0;
	return walk->extent(walk->arg, run->first_sector, run->nr_sectors, run->state);
}

static int tell(struct walk *walk, struct run run)
{
	int r = 0;

	if (walk->told.nr_sectors > 0 && walk->told.state == run.state) {
		walk->told.nr_sectors += run.nr_sectors;
		return 0;
	}
	r = tell_last(walk);
	walk->told = run;
	return r;
}

/* Of @run, which the base supplies: the part before its next hole, or that hole. */
static int next_base_part(const struct walk *walk, struct run *run)
{
	const struct image *image = walk->image;
	const struct extents *extents = image->disk.map.config.base_extents;
	uint64_t base_sectors = image->base_identity.disk_bytes / SECTOR_BYTES;
	bool hole;
	int r;

	if (extents) {
		hole = extents_is_hole(extents, run->first_sector, run->nr_sectors,
				       &run->nr_sectors);
		run->state = hole ? REPORT_ZERO : REPORT_BASE;
		return 0;
	}
	if (base_is_open(&image->base)) {
		r = base_extent(&image->base, run->first_sector, run->nr_sectors, &hole,
				&run->nr_sectors);
		if (r < 0)
			return r;
		run->state = hole ? REPORT_ZERO : REPORT_BASE;
		return 0;
	}
	/* Not open: but past its recorded end there can be nothing. */
	if (run->first_sector >= base_sectors)
		run->state = REPORT_ZERO;
	else
		run->nr_sectors = min_u64(run->nr_sectors, base_sectors - run->first_sector);
	return 0;
}

static bool must_stop(const struct walk *walk)
{
	return walk->report->stop && atomic_load(walk->report->stop);
}

static int settle_run(struct walk *walk)
{
	struct run *found = &walk->found;

	while (found->nr_sectors > 0) {
		struct run part = *found;
		int r = must_stop(walk) ? -ECANCELED : 0;

		if (r == 0 && part.state == REPORT_BASE)
			r = next_base_part(walk, &part);
		if (r == 0)
			r = tell(walk, part);
		if (r != 0)
			return r;
		found->first_sector += part.nr_sectors;
		found->nr_sectors -= part.nr_sectors;
	}
	return 0;
}

static int add_run(struct walk *walk, uint64_t first_sector, uint32_t nr_sectors,
		   enum report_state state)
{
	int r;

	if (walk->found.nr_sectors > 0 && walk->found.state == state) {
		walk->found.nr_sectors += nr_sectors;
		return 0;
	}
	r = settle_run(walk);
	walk->found = (struct run){ first_sector, nr_sectors, state };
	return r;
}

/* ---- blocks of the map ---- */

/* Most blocks are never written, or alike throughout: their head says so, without the lock. */
static bool find_uniform(const struct map *map, uint64_t index, uint8_t *ret_entry)
{
	uint64_t head = atomic_load(&map->heads[index]);

	if (head_kind(head) == HEAD_UNIFORM) {
		*ret_entry = head_entry(head);
		return true;
	}
	if (head_kind(head) == HEAD_UNLOADED && !map_is_written(map, index)) {
		*ret_entry = SEAL_ENTRY_BASE;
		return true;
	}
	return false;
}

static int walk_body(struct walk *walk, uint64_t index, const uint8_t body[SEAL_BLOCK_BODY_BYTES])
{
	const struct map *map = &walk->image->disk.map;
	uint32_t end = map_block_sectors(map, index);
	uint32_t nr;
	int r = 0;

	for (uint32_t at = 0; at < end && r == 0; at += nr) {
		nr = block_run(body, at, end);
		r = add_run(walk, map_block_first(index) + at, nr,
			    report_state_of_entry(map, block_entry(body, at)));
	}
	return r;
}

static int walk_block(struct walk *walk, uint64_t index)
{
	const struct map *map = &walk->image->disk.map;
	uint64_t first = map_block_first(index);
	uint8_t body[SEAL_BLOCK_BODY_BYTES];
	uint8_t entry;

	if (find_uniform(map, index, &entry))
		return add_run(walk, first, map_block_sectors(map, index),
			       report_state_of_entry(map, entry));
	/* A block that the medium cannot read is lost to its sectors all the same. */
	if (image_read_block(walk->image, walk->report->ring, walk->mac, index, body) < 0)
		return add_run(walk, first, map_block_sectors(map, index), REPORT_DAMAGED);
	return walk_body(walk, index, body);
}

static int walk_blocks(struct walk *walk)
{
	int r = 0;

	for (uint64_t i = 0; i < walk->image->disk.map.nr_blocks && r == 0; i++)
		r = must_stop(walk) ? -ECANCELED : walk_block(walk, i);
	if (r == 0)
		r = settle_run(walk);
	return r == 0 ? tell_last(walk) : r;
}

static int take_mac_key(struct walk *walk)
{
	const struct image *image = walk->image;
	const uint8_t *key;

	if (!image->keys)
		return 0;
	key = keyring_find_mac_key(image->keys, le64_get(image->super.mac_key_id));
	walk->mac = &walk->mac_ctx;
	return key ? mac_init(&walk->mac_ctx, key) : -ENOKEY;
}

int report_walk(const struct report *report, report_extent_fn extent, void *arg)
{
	struct image *image = report->image;
	struct walk walk = { .report = report, .image = image, .extent = extent, .arg = arg };
	int r;

	report_lock(report);
	r = take_mac_key(&walk);
	report_unlock(report);
	if (r == 0)
		r = walk_blocks(&walk);
	mac_done(&walk.mac_ctx);
	return r;
}
