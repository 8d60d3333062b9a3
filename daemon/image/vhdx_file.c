/* SPDX-License-Identifier: MIT */
/* Reading a VHDX: see vhdx_file.h. */
#include "image/vhdx_file.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/layer.h"
#include "sealblk/limits.h"
#include "vhd/vhdx_log.h"

int vhdx_read_at(const struct vhdx *vhdx, const struct store *store, uint64_t offset_bytes,
		 void *ret_bytes, size_t nr_bytes)
{
	uint8_t *bytes = ret_bytes;
	size_t stored = nr_bytes;
	int r;

	if (offset_bytes > vhdx->file_bytes || nr_bytes > vhdx->file_bytes - offset_bytes)
		return -EIO;
	if (offset_bytes >= store->bytes)
		stored = 0;
	else if (nr_bytes > store->bytes - offset_bytes)
		stored = (size_t)(store->bytes - offset_bytes);
	r = layer_read(store, offset_bytes, bytes, stored);
	if (r < 0)
		return r;
	memset(bytes + stored, 0, nr_bytes - stored);
	vhdx_overlay_patch(&vhdx->overlay, offset_bytes, bytes, nr_bytes);
	return 0;
}

/* ---- the first MiB, and the log ---- */

static int read_headers(struct vhdx *vhdx, const struct store *store,
			struct vhdx_problem *ret_problem)
{
	uint8_t headers[VHDX_HEADERS * VHDX_HEADER_BYTES];
	uint8_t signature[VHDX_SIGNATURE_BYTES] = { 0 };
	int r = 0;

	if (store->bytes >= sizeof(signature))
		r = layer_read(store, 0, signature, sizeof(signature));
	if (r < 0)
		return r;
	if (!vhdx_has_signature(signature, sizeof(signature)))
		return vhdx_refuse(ret_problem, VHDX_NO_SIGNATURE, 0, 0);
	if (store->bytes < VHDX_ALIGN_BYTES)
		return vhdx_refuse(ret_problem, VHDX_TOO_SHORT, store->bytes, store->bytes);
	if (store->bytes > VHDX_FILE_BYTES_MAX)
		return vhdx_refuse(ret_problem, VHDX_TOO_LONG, store->bytes, store->bytes);
	for (size_t i = 0; i < VHDX_HEADERS && r == 0; i++)
		r = layer_read(store, (i + 1) * VHDX_HEADER_OFFSET, headers + i * VHDX_HEADER_BYTES,
			       VHDX_HEADER_BYTES);
	if (r < 0)
		return r;
	return vhdx_headers_decode(headers, store->bytes, &vhdx->info, ret_problem);
}

static int replay_log(struct vhdx *vhdx, const struct store *store,
		      struct vhdx_problem *ret_problem)
{
	const struct vhdx_place *place = &vhdx->info.log;
	struct vhdx_log log;
	uint8_t *bytes;
	int r;

	vhdx->file_bytes = store->bytes;
	if (!vhdx->info.needs_replay)
		return 0;
	bytes = malloc(place->nr_bytes);
	if (!bytes)
		return -ENOMEM;
	log = (struct vhdx_log){
		.bytes = bytes,
		.nr_bytes = place->nr_bytes,
		.offset_bytes = place->offset_bytes,
		.log_id = vhdx->info.log_id,
		.file_bytes = store->bytes,
	};
	r = layer_read(store, place->offset_bytes, bytes, place->nr_bytes);
	if (r == 0)
		r = vhdx_log_replay(&log, &vhdx->overlay, ret_problem);
	free(bytes);
	if (r == 0 && vhdx->overlay.end_bytes > vhdx->file_bytes)
		vhdx->file_bytes = vhdx->overlay.end_bytes;
	return r;
}

/* The first copy that is sound. @bytes: room for one. */
static int read_region_table(struct vhdx *vhdx, const struct store *store, uint8_t *bytes,
			     struct vhdx_problem *ret_problem)
{
	for (unsigned int i = 0; i < VHDX_REGION_TABLES; i++) {
		const uint64_t at_bytes =
			VHDX_REGION_TABLE_OFFSET + (uint64_t)i * VHDX_REGION_TABLE_BYTES;
		int r = vhdx_read_at(vhdx, store, at_bytes, bytes, VHDX_REGION_TABLE_BYTES);

		if (r < 0)
			return r;
		/* The BAT is as large as its region: one that is not in the file is not read. */
		if (vhdx_region_table_is_sound(bytes))
			return vhdx_regions_decode(bytes, at_bytes, &vhdx->info, store->bytes,
						   &vhdx->regions, ret_problem);
	}
	return vhdx_refuse(ret_problem, VHDX_NO_REGION_TABLE, VHDX_REGION_TABLE_OFFSET, 0);
}

/* ---- the metadata ---- */

static int read_parent(struct vhdx *vhdx, const struct store *store, const struct vhdx_items *items,
		       struct vhdx_problem *ret_problem)
{
	const uint64_t at_bytes = items->of[VHDX_PARENT_LOCATOR].offset_bytes;
	const size_t nr_bytes = items->of[VHDX_PARENT_LOCATOR].nr_bytes;
	uint8_t *bytes;
	int r;

	if (!vhdx->metadata.has_parent)
		return 0;
	bytes = malloc(nr_bytes);
	if (!bytes)
		return -ENOMEM;
	r = vhdx_read_at(vhdx, store, at_bytes, bytes, nr_bytes);
	if (r == 0)
		r = vhdx_locator_decode(bytes, nr_bytes, at_bytes, &vhdx->parent, ret_problem);
	free(bytes);
	return r;
}

/* @table: room for one. */
static int read_metadata(struct vhdx *vhdx, const struct store *store, uint8_t *table,
			 struct vhdx_problem *ret_problem)
{
	const struct vhdx_place *region = &vhdx->regions.metadata;
	struct vhdx_short_items short_items = { 0 };
	struct vhdx_items items;
	int r = vhdx_read_at(vhdx, store, region->offset_bytes, table, VHDX_METADATA_TABLE_BYTES);

	if (r == 0)
		r = vhdx_metadata_find(table, region, &items, ret_problem);
	for (unsigned int i = 0; i < VHDX_PARENT_LOCATOR && r == 0; i++)
		r = vhdx_read_at(vhdx, store, items.of[i].offset_bytes, short_items.bytes[i],
				 items.of[i].nr_bytes);
	if (r == 0)
		r = vhdx_metadata_decode(&items, &short_items, &vhdx->metadata, ret_problem);
	return r < 0 ? r : read_parent(vhdx, store, &items, ret_problem);
}

/* ---- the BAT ---- */

static int read_bat(struct vhdx *vhdx, const struct store *store, struct vhdx_problem *ret_problem)
{
	const struct vhdx_place *region = &vhdx->regions.bat;
	int r = vhdx_layout_of(&vhdx->metadata, region, &vhdx->layout, ret_problem);
	struct vhdx_bat bat;

	if (r < 0)
		return r;
	assert(vhdx->layout.nr_entries > 0); /* no disk is empty */
	vhdx->bat = calloc(vhdx->layout.nr_entries, sizeof(*vhdx->bat));
	if (!vhdx->bat)
		return -ENOMEM;
	r = vhdx_read_at(vhdx, store, region->offset_bytes, vhdx->bat,
			 vhdx->layout.nr_entries * sizeof(*vhdx->bat));
	if (r < 0)
		return r;
	bat = (struct vhdx_bat){
		.entries = vhdx->bat,
		.layout = &vhdx->layout,
		.metadata = &vhdx->metadata,
		.regions = &vhdx->regions,
		.overlay = &vhdx->overlay,
		.file_bytes = vhdx->file_bytes,
	};
	return vhdx_bat_check(&bat, ret_problem);
}

/* ---- all of it ---- */

_Static_assert((int)VHDX_REGION_TABLE_BYTES == (int)VHDX_METADATA_TABLE_BYTES, "room for either");

/* @table: VHDX_REGION_TABLE_BYTES, too many for the stack. */
static int read_all(struct vhdx *vhdx, const struct store *store, uint8_t *table,
		    struct vhdx_problem *ret_problem)
{
	int r = read_headers(vhdx, store, ret_problem);

	if (r == 0)
		r = replay_log(vhdx, store, ret_problem);
	if (r == 0)
		r = read_region_table(vhdx, store, table, ret_problem);
	if (r == 0)
		r = read_metadata(vhdx, store, table, ret_problem);
	if (r == 0)
		r = read_bat(vhdx, store, ret_problem);
	return r;
}

int vhdx_read(const struct store *store, struct vhdx **ret_vhdx, struct vhdx_problem *ret_problem)
{
	struct vhdx *vhdx = calloc(1, sizeof(*vhdx));
	uint8_t *table = malloc(VHDX_REGION_TABLE_BYTES);
	int r;

	*ret_problem = (struct vhdx_problem){ 0 };
	r = vhdx && table ? read_all(vhdx, store, table, ret_problem) : -ENOMEM;
	free(table);
	if (r < 0) {
		vhdx_free(vhdx);
		return r;
	}
	*ret_vhdx = vhdx;
	return 0;
}

struct vhdx *vhdx_free(struct vhdx *vhdx)
{
	if (!vhdx)
		return NULL;
	vhdx_overlay_done(&vhdx->overlay);
	free(vhdx->bat);
	free(vhdx);
	return NULL;
}
