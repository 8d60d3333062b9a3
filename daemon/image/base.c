/* SPDX-License-Identifier: MIT */
/* The base: see base.h. */
#include "image/base.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "sealblk/units.h"

static const char *const format_names[BASE_FORMATS] = {
	[BASE_AUTO] = "auto",
	[BASE_RAW] = "raw",
	[BASE_VHD] = "vhd",
	[BASE_VHDX] = "vhdx",
};

const char *base_format_name(enum base_format format)
{
	assert((unsigned int)format < BASE_FORMATS);
	return format_names[format];
}

int base_format_of(const char *name, enum base_format *ret_format)
{
	for (unsigned int i = 0; i < BASE_FORMATS; i++) {
		if (strcmp(name, format_names[i]) == 0) {
			*ret_format = (enum base_format)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* ---- opening ---- */

static int refuse_loop(const struct base *base, const struct layer *parent,
		       struct problem *ret_problem)
{
	for (unsigned int i = 0; i < base->nr_layers; i++) {
		const struct layer *layer = base->layers[i];

		if (layer->device != parent->device || layer->store.inode != parent->store.inode)
			continue;
		problem_set(ret_problem, "base", parent->path,
			    "is its own parent: the chain goes in a circle");
		return -EINVAL;
	}
	return 0;
}

static int add_parent(struct base *base, const struct base_opener *opener,
		      struct problem *ret_problem)
{
	const struct layer *child = base->layers[base->nr_layers - 1];
	struct layer *parent;
	int r;

	if (base->nr_layers == BASE_LAYERS_MAX) {
		problem_set(ret_problem, "base", base->layers[0]->path,
			    "its chain of parents is longer than %d files", BASE_LAYERS_MAX);
		return -EINVAL;
	}
	r = parent_open(child, opener, &parent, ret_problem);
	if (r < 0)
		return r;
	r = refuse_loop(base, parent, ret_problem);
	base->layers[base->nr_layers++] = parent;
	return r;
}

static void base_closep(struct base *base)
{
	base_close(base);
}

int base_open(struct base *ret_base, int fd, const char *path, enum base_format wanted,
	      const struct base_opener *opener, struct problem *ret_problem)
{
	CLEANUP(base_closep) struct base base = { 0 };
	int r = layer_open(fd, path, wanted, NULL, &base.layers[0], ret_problem);

	if (r < 0)
		return r;
	base.nr_layers = 1;
	while (r == 0 && layer_has_parent(base.layers[base.nr_layers - 1]))
		r = add_parent(&base, opener, ret_problem);
	if (r < 0)
		return r;
	base.format = base.layers[0]->format;
	base.disk_bytes = base.layers[0]->disk_bytes;

	*ret_base = base;
	base.nr_layers = 0; /* the caller's from here: the cleanup finds nothing */
	return 0;
}

void base_close(struct base *base)
{
	for (unsigned int i = 0; i < base->nr_layers; i++)
		base->layers[i] = layer_close(base->layers[i]);
	base->nr_layers = 0;
}

/* ---- places ---- */

bool base_is_flat(const struct base *base, uint64_t *ret_data_bytes)
{
	*ret_data_bytes = base->layers[0]->data_bytes;
	return layer_is_flat(base->layers[0]);
}

/* base_locate(), and the layer where it is. */
static int locate(const struct base *base, uint64_t first_sector, uint64_t limit_sectors,
		  struct base_place *ret_place, const struct layer **ret_layer)
{
	int r = 1;

	for (unsigned int i = 0; i < base->nr_layers && r == 1; i++) {
		*ret_layer = base->layers[i];
		r = layer_locate(base->layers[i], first_sector, limit_sectors, ret_place);
		if (r == 1)
			limit_sectors = ret_place->nr_sectors;
	}
	assert(r <= 0); /* the last layer has no parent to point to */
	return r;
}

int base_locate(const struct base *base, uint64_t first_sector, uint64_t limit_sectors,
		struct base_place *ret_place)
{
	const struct layer *layer;
	struct base_place place;
	int r = locate(base, first_sector, limit_sectors, &place, &layer);

	if (r == 0)
		*ret_place = place;
	return r;
}

/* ---- extents ---- */

enum { JOINED_MAX = 1024 }; /* pieces of one answer, so that it does not take for ever */

struct extent {
	bool hole;
	uint64_t nr_sectors;
};

/* @hole_bytes from a sector's start: whole sectors of it. The end of the data rounds up. */
static uint64_t hole_sectors(uint64_t hole_bytes, bool reaches_end)
{
	return (reaches_end ? round_up(hole_bytes, SECTOR_BYTES) : hole_bytes) / SECTOR_BYTES;
}

/* Of one place: it may have holes in its file. */
static int extent_of(const struct base *base, uint64_t first_sector, uint64_t limit_sectors,
		     struct extent *ret_extent)
{
	const struct layer *layer;
	struct base_place place;
	uint64_t bytes, sectors;
	bool hole;
	int r = locate(base, first_sector, limit_sectors, &place, &layer);

	if (r < 0)
		return r;
	if (base_place_is_hole(&place)) {
		*ret_extent = (struct extent){ true, place.nr_sectors };
		return 0;
	}
	r = store_extent(&layer->store, place.offset_bytes, place.stored_bytes, &hole, &bytes);
	if (r < 0)
		return r;
	sectors = hole ? hole_sectors(bytes, bytes == place.stored_bytes)
		       : round_up(bytes, SECTOR_BYTES) / SECTOR_BYTES;
	if (sectors == 0) { /* the hole ends inside this sector */
		hole = false;
		sectors = 1;
	}
	*ret_extent = (struct extent){ hole, sectors };
	return 0;
}

int base_extent(const struct base *base, uint64_t first_sector, uint64_t limit_sectors,
		bool *ret_hole, uint64_t *ret_sectors)
{
	const bool in_pieces = !layer_is_flat(base->layers[0]);
	struct extent found, next;
	int r = extent_of(base, first_sector, limit_sectors, &found);

	if (r < 0)
		return r;
	/* Blocks that follow each other on the disk lie apart in the file. */
	for (int i = 1; in_pieces && i < JOINED_MAX && found.nr_sectors < limit_sectors; i++) {
		r = extent_of(base, first_sector + found.nr_sectors,
			      limit_sectors - found.nr_sectors, &next);
		if (r < 0)
			return r;
		if (next.hole != found.hole)
			break;
		found.nr_sectors += next.nr_sectors;
	}
	*ret_hole = found.hole;
	*ret_sectors = found.nr_sectors;
	return 0;
}
