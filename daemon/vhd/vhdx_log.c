/* SPDX-License-Identifier: MIT */
/* Replaying the log of a VHDX in memory: see vhdx_log.h. */
#include "vhd/vhdx_log.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "sealblk/limits.h"
#include "vhd/vhdx_log_entry.h"

/* Of a log, while it is looked at. */
struct scan {
	const struct vhdx_log *log;
	uint32_t nr_sectors;
	struct vhdx_log_entry *entries; /* as many */
	struct vhdx_problem told;	/* the first unsound entry, which is the one to tell */
};

/* A sequence of entries, by the sectors where its first and last begin. */
struct sequence {
	uint32_t tail_sector;
	uint32_t head_sector;
	uint64_t number; /* the head's; 0: none was found */
};

/* An entry of an older log is no fault: it is told only if there is nothing else. */
static void tell(struct scan *scan, const struct vhdx_problem *problem)
{
	if (scan->told.reason == VHDX_FINE ||
	    (scan->told.reason == VHDX_LOG_OTHER_ID && problem->reason != VHDX_LOG_OTHER_ID))
		scan->told = *problem;
}

static void look_at_entries(struct scan *scan)
{
	for (uint32_t i = 0; i < scan->nr_sectors; i++) {
		struct vhdx_problem problem;

		if (memcmp(vhdx_log_entry_sector(scan->log, i, 0), VHDX_LOG_SIGNATURE,
			   VHDX_PART_SIGNATURE_BYTES) != 0)
			continue;
		if (vhdx_log_entry_check(scan->log, i, &scan->entries[i], &problem) < 0)
			tell(scan, &problem);
	}
}

/* ---- the active sequence ---- */

/* The longest sequence from @first on; it may wrap, but not meet itself. */
static void consider(const struct scan *scan, uint32_t first, struct sequence *best)
{
	uint32_t at = first, head = first, used = 0;
	uint64_t sequence = 0;

	while (scan->entries[at].nr_sectors > 0 &&
	       (sequence == 0 || scan->entries[at].sequence == sequence + 1) &&
	       used + scan->entries[at].nr_sectors <= scan->nr_sectors) {
		head = at;
		sequence = scan->entries[at].sequence;
		used += scan->entries[at].nr_sectors;
		at = (first + used) % scan->nr_sectors;
	}
	/* It is whole when it has the entry that its last one names, which is then its first. */
	if (sequence > best->number && scan->entries[head].tail_sector == first)
		*best = (struct sequence){ first, head, sequence };
}

/* As the specification says; a sequence is found from its tail, wherever that is. */
static int find_sequence(struct scan *scan, struct sequence *ret_best,
			 struct vhdx_problem *ret_problem)
{
	struct sequence best = { 0 };
	bool has_entry = false;

	for (uint32_t i = 0; i < scan->nr_sectors; i++) {
		if (scan->entries[i].nr_sectors == 0)
			continue;
		has_entry = true;
		consider(scan, i, &best);
	}
	if (best.number > 0) {
		*ret_best = best;
		return 0;
	}
	if (scan->told.reason != VHDX_FINE && scan->told.reason != VHDX_LOG_OTHER_ID) {
		*ret_problem = scan->told;
		return -EINVAL;
	}
	if (has_entry)
		return vhdx_refuse(ret_problem, VHDX_LOG_NO_SEQUENCE, scan->log->offset_bytes, 0);
	if (scan->told.reason == VHDX_FINE)
		return vhdx_refuse(ret_problem, VHDX_LOG_EMPTY, scan->log->offset_bytes, 0);
	*ret_problem = scan->told;
	return -EINVAL;
}

/* ---- what it would write ---- */

static uint32_t next_entry(const struct scan *scan, uint32_t at)
{
	return (at + scan->entries[at].nr_sectors) % scan->nr_sectors;
}

static int check_head(const struct scan *scan, const struct sequence *sequence,
		      struct vhdx_overlay *overlay, struct vhdx_problem *ret_problem)
{
	const struct vhdx_log_header head = vhdx_log_entry_header(scan->log, sequence->head_sector);
	const uint64_t at_bytes =
		scan->log->offset_bytes + (uint64_t)sequence->head_sector * VHDX_LOG_SECTOR_BYTES;

	if (le64_get(head.flushed_bytes) > scan->log->file_bytes)
		return vhdx_refuse(ret_problem, VHDX_LOG_CUT,
				   at_bytes + offsetof(struct vhdx_log_header, flushed_bytes),
				   le64_get(head.flushed_bytes));
	if (le64_get(head.last_bytes) > VHDX_FILE_BYTES_MAX)
		return vhdx_refuse(ret_problem, VHDX_TOO_LONG,
				   at_bytes + offsetof(struct vhdx_log_header, last_bytes),
				   le64_get(head.last_bytes));
	overlay->end_bytes = le64_get(head.last_bytes);
	return 0;
}

/* How much there is, so that no more memory is asked for. */
static int make_room(const struct scan *scan, const struct sequence *sequence,
		     struct vhdx_overlay *overlay)
{
	size_t nr_updates = 0, nr_sectors = 0;
	uint32_t at = sequence->tail_sector;

	for (;;) {
		const struct vhdx_log_entry *entry = &scan->entries[at];

		nr_updates += entry->nr_descriptors;
		nr_sectors += entry->nr_sectors -
			      vhdx_log_entry_descriptor_sectors(entry->nr_descriptors);
		overlay->nr_entries++;
		if (at == sequence->head_sector)
			break;
		at = next_entry(scan, at);
	}
	overlay->updates = calloc(nr_updates + 1, sizeof(*overlay->updates));
	overlay->pieces = malloc((nr_sectors + 1) * VHDX_LOG_SECTOR_BYTES);
	return overlay->updates && overlay->pieces ? 0 : -ENOMEM;
}

/* What was to be written, its ends put back from the descriptor. */
static void restore_sector(const uint8_t *sector, const struct vhdx_log_descriptor *descriptor,
			   uint8_t ret_bytes[VHDX_LOG_SECTOR_BYTES])
{
	const size_t trailing = VHDX_LOG_SECTOR_BYTES - sizeof(descriptor->trailing);

	memcpy(ret_bytes, sector, VHDX_LOG_SECTOR_BYTES);
	memcpy(ret_bytes, descriptor->leading, sizeof(descriptor->leading));
	memcpy(ret_bytes + trailing, descriptor->trailing, sizeof(descriptor->trailing));
}

/* @piece: where the data of the next update goes; moves on. */
static int take_entry(const struct scan *scan, uint32_t first, struct vhdx_overlay *overlay,
		      uint8_t **piece, struct vhdx_problem *ret_problem)
{
	const struct vhdx_log_entry *entry = &scan->entries[first];
	uint32_t sector = vhdx_log_entry_descriptor_sectors(entry->nr_descriptors);

	for (uint32_t i = 0; i < entry->nr_descriptors; i++) {
		const struct vhdx_log_descriptor descriptor =
			vhdx_log_entry_descriptor(scan->log, first, i);
		struct vhdx_update *update = &overlay->updates[overlay->nr_updates];

		update->offset_bytes = le64_get(descriptor.offset);
		update->nr_bytes = vhdx_log_descriptor_bytes(&descriptor);
		if (update->nr_bytes == 0)
			continue;
		if (update->offset_bytes < VHDX_REGION_TABLE_OFFSET)
			return vhdx_refuse(ret_problem, VHDX_LOG_ON_HEADER,
					   scan->log->offset_bytes +
						   (uint64_t)first * VHDX_LOG_SECTOR_BYTES,
					   0);
		if (vhdx_log_descriptor_is_data(&descriptor)) {
			restore_sector(vhdx_log_entry_sector(scan->log, first, sector++),
				       &descriptor, *piece);
			update->data = *piece;
			*piece += VHDX_LOG_SECTOR_BYTES;
		}
		if (update->offset_bytes + update->nr_bytes > overlay->end_bytes)
			overlay->end_bytes = update->offset_bytes + update->nr_bytes;
		overlay->nr_updates++;
	}
	return 0;
}

static int take_sequence(const struct scan *scan, const struct sequence *sequence,
			 struct vhdx_overlay *overlay, struct vhdx_problem *ret_problem)
{
	uint32_t at = sequence->tail_sector;
	int r = check_head(scan, sequence, overlay, ret_problem);
	uint8_t *piece;

	if (r == 0)
		r = make_room(scan, sequence, overlay);
	if (r < 0)
		return r;
	assert(overlay->updates);
	piece = overlay->pieces;
	r = take_entry(scan, at, overlay, &piece, ret_problem);
	while (r == 0 && at != sequence->head_sector) {
		at = next_entry(scan, at);
		r = take_entry(scan, at, overlay, &piece, ret_problem);
	}
	return r;
}

int vhdx_log_replay(const struct vhdx_log *log, struct vhdx_overlay *ret_overlay,
		    struct vhdx_problem *ret_problem)
{
	struct scan scan = {
		.log = log,
		.nr_sectors = (uint32_t)(log->nr_bytes / VHDX_LOG_SECTOR_BYTES),
	};
	struct vhdx_overlay overlay = { 0 };
	struct sequence sequence = { 0 };
	int r;

	assert(log->nr_bytes > 0 && log->nr_bytes <= VHDX_LOG_BYTES_MAX);
	scan.entries = calloc(scan.nr_sectors, sizeof(*scan.entries));
	if (!scan.entries)
		return -ENOMEM;
	look_at_entries(&scan);
	r = find_sequence(&scan, &sequence, ret_problem);
	if (r == 0)
		r = take_sequence(&scan, &sequence, &overlay, ret_problem);
	free(scan.entries);
	if (r < 0) {
		vhdx_overlay_done(&overlay);
		return r;
	}
	*ret_overlay = overlay;
	return 0;
}
