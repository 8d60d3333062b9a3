/* SPDX-License-Identifier: MIT */
/* The BAT of a VHDX: see vhdx_bat.h. */
#include "vhd/vhdx_bat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sealblk/limits.h"

_Static_assert(VHDX_FILE_BYTES_MAX / VHDX_ALIGN_BYTES <= UINT32_MAX / 2, "MiB fit 32 bits");

int vhdx_layout_of(const struct vhdx_metadata *metadata, const struct vhdx_place *bat,
		   struct vhdx_layout *ret_layout, struct vhdx_problem *ret_problem)
{
	const uint64_t block_bytes = metadata->block_bytes;
	const uint64_t nr_blocks = (metadata->disk_bytes + block_bytes - 1) / block_bytes;
	const uint64_t ratio = (uint64_t)VHDX_CHUNK_SECTORS * metadata->logical_bytes / block_bytes;
	uint64_t nr_entries;

	if (nr_blocks > VHDX_BLOCKS_MAX)
		return vhdx_refuse(ret_problem, VHDX_TOO_MANY_BLOCKS, bat->offset_bytes, nr_blocks);
	/* Without a parent the bitmap behind the last blocks may be left out. */
	nr_entries = nr_blocks + (nr_blocks - 1) / ratio;
	if (metadata->has_parent)
		nr_entries = (nr_blocks + ratio - 1) / ratio * (ratio + 1);
	if (nr_entries > bat->nr_bytes / sizeof(le64))
		return vhdx_refuse(ret_problem, VHDX_BAT_TOO_SHORT, bat->offset_bytes, nr_entries);
	*ret_layout = (struct vhdx_layout){
		.nr_blocks = (uint32_t)nr_blocks,
		.chunk_ratio = (uint32_t)ratio,
		.nr_entries = (uint32_t)nr_entries,
	};
	return 0;
}

/* ---- what is in the file ---- */

/* A block, or what no block may lie on. */
struct piece {
	uint32_t first_mib;
	uint32_t nr_mib;
	uint32_t entry; /* of the BAT, or REGION */
};

enum { REGION = UINT32_MAX };

struct pieces {
	struct piece *of;
	size_t nr;
};

static uint64_t entry_at(const struct vhdx_bat *bat, uint32_t entry)
{
	return bat->regions->bat.offset_bytes + (uint64_t)entry * sizeof(le64);
}

static bool is_payload_entry(const struct vhdx_bat *bat, uint32_t entry)
{
	return entry % (bat->layout->chunk_ratio + 1) != bat->layout->chunk_ratio;
}

static bool is_present(le64 entry)
{
	return vhdx_entry_state(entry) >= VHDX_BLOCK_FULLY_PRESENT;
}

/* Only a differencing VHDX has bitmaps; what others say of them is not looked at. */
static bool has_place(const struct vhdx_bat *bat, uint32_t entry)
{
	return (bat->metadata->has_parent || is_payload_entry(bat, entry)) &&
	       is_present(bat->entries[entry]);
}

/* Of the file, that the block needs. The disk may end inside the last one. */
static uint64_t needed_bytes(const struct vhdx_bat *bat, uint32_t entry)
{
	const uint64_t block = entry - entry / (bat->layout->chunk_ratio + 1);

	if (!is_payload_entry(bat, entry))
		return VHDX_BITMAP_BLOCK_BYTES;
	return min_u64(bat->metadata->block_bytes,
		       bat->metadata->disk_bytes - block * bat->metadata->block_bytes);
}

/* ---- each entry by itself ---- */

static int check_block(const struct vhdx_bat *bat, uint32_t block, struct vhdx_problem *ret_problem)
{
	const uint32_t number = vhdx_block_entry(bat->layout, block);
	const le64 entry = bat->entries[number];
	const unsigned int state = le64_get(entry) & VHDX_BAT_STATE_MASK;

	if (state > VHDX_BLOCK_UNMAPPED && state < VHDX_BLOCK_FULLY_PRESENT)
		return vhdx_refuse(ret_problem, VHDX_BAD_STATE, entry_at(bat, number), state);
	if (le64_get(entry) & VHDX_BAT_RESERVED_MASK)
		return vhdx_refuse(ret_problem, VHDX_BAD_ENTRY, entry_at(bat, number),
				   le64_get(entry));
	if (state != VHDX_BLOCK_PARTIALLY_PRESENT)
		return 0;
	if (!bat->metadata->has_parent)
		return vhdx_refuse(ret_problem, VHDX_PARTIAL_WITHOUT_PARENT, entry_at(bat, number),
				   block);
	if (!is_present(bat->entries[vhdx_bitmap_entry(bat->layout, block)]))
		return vhdx_refuse(ret_problem, VHDX_NO_BITMAP,
				   entry_at(bat, vhdx_bitmap_entry(bat->layout, block)), block);
	return 0;
}

static int check_place(const struct vhdx_bat *bat, uint32_t entry, struct vhdx_problem *ret_problem)
{
	const uint64_t offset = vhdx_entry_offset(bat->entries[entry]);

	if (offset >= VHDX_ALIGN_BYTES && offset <= bat->file_bytes &&
	    needed_bytes(bat, entry) <= bat->file_bytes - offset)
		return 0;
	return vhdx_refuse(ret_problem, VHDX_BLOCK_OUTSIDE, entry_at(bat, entry), offset);
}

/* *ret_nr_places: how many have a place. */
static int check_entries(const struct vhdx_bat *bat, size_t *ret_nr_places,
			 struct vhdx_problem *ret_problem)
{
	size_t nr = 0;
	int r = 0;

	for (uint32_t i = 0; i < bat->layout->nr_blocks && r == 0; i++)
		r = check_block(bat, i, ret_problem);
	for (uint32_t i = 0; i < bat->layout->nr_entries && r == 0; i++) {
		if (!has_place(bat, i))
			continue;
		r = check_place(bat, i, ret_problem);
		nr++;
	}
	*ret_nr_places = nr;
	return r;
}

/* ---- all of them ---- */

static struct piece piece_of(uint64_t offset_bytes, uint64_t nr_bytes, uint32_t entry)
{
	return (struct piece){
		.first_mib = (uint32_t)(offset_bytes / VHDX_ALIGN_BYTES),
		.nr_mib = (uint32_t)((nr_bytes + VHDX_ALIGN_BYTES - 1) / VHDX_ALIGN_BYTES),
		.entry = entry,
	};
}

static int collect(const struct vhdx_bat *bat, size_t nr_places, struct pieces *ret_pieces)
{
	struct pieces pieces = { 0 };

	pieces.of = calloc(nr_places + bat->regions->nr_places, sizeof(*pieces.of));
	if (!pieces.of)
		return -ENOMEM;
	for (unsigned int i = 0; i < bat->regions->nr_places; i++) {
		const struct vhdx_place *place = &bat->regions->places[i];

		pieces.of[pieces.nr++] = piece_of(place->offset_bytes, place->nr_bytes, REGION);
	}
	for (uint32_t i = 0; i < bat->layout->nr_entries; i++)
		if (has_place(bat, i))
			pieces.of[pieces.nr++] = piece_of(vhdx_entry_offset(bat->entries[i]),
							  needed_bytes(bat, i), i);
	*ret_pieces = pieces;
	return 0;
}

static int by_place(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;

	return (x->first_mib > y->first_mib) - (x->first_mib < y->first_mib);
}

/* @pieces: sorted. Regions have been held against each other before. */
static int check_overlaps(const struct vhdx_bat *bat, const struct pieces *pieces,
			  struct vhdx_problem *ret_problem)
{
	for (size_t i = 1; i < pieces->nr; i++) {
		const struct piece *a = &pieces->of[i - 1], *b = &pieces->of[i];
		const struct piece *told = b->entry == REGION ? a : b;

		if (a->first_mib + a->nr_mib <= b->first_mib)
			continue;
		return vhdx_refuse(ret_problem,
				   a->entry == REGION || b->entry == REGION ? VHDX_BLOCK_ON_REGION
									    : VHDX_BLOCKS_OVERLAP,
				   entry_at(bat, told->entry),
				   (uint64_t)told->first_mib * VHDX_ALIGN_BYTES);
	}
	return 0;
}

/* The payload among them, in the same order. */
static void keep_payload(const struct vhdx_bat *bat, struct pieces *pieces)
{
	size_t nr = 0;

	for (size_t i = 0; i < pieces->nr; i++)
		if (pieces->of[i].entry != REGION && is_payload_entry(bat, pieces->of[i].entry))
			pieces->of[nr++] = pieces->of[i];
	pieces->nr = nr;
}

/* Does [@first, @end) of the file touch one of the sorted, separate pieces? */
static bool touches(const struct pieces *pieces, uint64_t first, uint64_t end)
{
	size_t low = 0, high = pieces->nr;

	while (low < high) { /* the first piece that ends behind @first */
		const size_t middle = low + (high - low) / 2;
		const struct piece *piece = &pieces->of[middle];

		if ((uint64_t)(piece->first_mib + piece->nr_mib) * VHDX_ALIGN_BYTES <= first)
			low = middle + 1;
		else
			high = middle;
	}
	return low < pieces->nr && (uint64_t)pieces->of[low].first_mib * VHDX_ALIGN_BYTES < end;
}

static int check_overlay(const struct vhdx_overlay *overlay, const struct pieces *payload,
			 struct vhdx_problem *ret_problem)
{
	for (size_t i = 0; i < overlay->nr_updates; i++) {
		const struct vhdx_update *update = &overlay->updates[i];

		if (touches(payload, update->offset_bytes, update->offset_bytes + update->nr_bytes))
			return vhdx_refuse(ret_problem, VHDX_LOG_ON_PAYLOAD, update->offset_bytes,
					   0);
	}
	return 0;
}

int vhdx_bat_check(const struct vhdx_bat *bat, struct vhdx_problem *ret_problem)
{
	struct pieces pieces;
	size_t nr_places;
	int r = check_entries(bat, &nr_places, ret_problem);

	if (r < 0)
		return r;
	r = collect(bat, nr_places, &pieces);
	if (r < 0)
		return r;
	qsort(pieces.of, pieces.nr, sizeof(*pieces.of), by_place);
	r = check_overlaps(bat, &pieces, ret_problem);
	if (r == 0) {
		keep_payload(bat, &pieces);
		r = check_overlay(bat->overlay, &pieces, ret_problem);
	}
	free(pieces.of);
	return r;
}

/* ---- bitmaps ---- */

static uint8_t reversed(uint8_t byte)
{
	byte = (uint8_t)((byte & 0xf0) >> 4 | (byte & 0x0f) << 4);
	byte = (uint8_t)((byte & 0xcc) >> 2 | (byte & 0x33) << 2);
	return (uint8_t)((byte & 0xaa) >> 1 | (byte & 0x55) << 1);
}

/* From the end on: a byte is read, the last time, when it is written itself. */
void vhdx_bitmap_convert(uint8_t *bitmap, uint32_t logical_bytes, size_t nr_bytes)
{
	for (size_t i = nr_bytes; i-- > 0;) {
		if (logical_bytes == SECTOR_BYTES)
			bitmap[i] = reversed(bitmap[i]);
		else /* eight sectors of 512 bytes are one logical sector */
			bitmap[i] = bitmap[i / 8] >> i % 8 & 1 ? 0xff : 0;
	}
}
