/* SPDX-License-Identifier: MIT */
/*
 * An entry of a VHDX's log: its parts, and are they sound? Sectors are those of the
 * log, which is a ring: an entry may go on at its beginning. Pure.
 */
#ifndef VHD_VHDX_LOG_ENTRY_H
#define VHD_VHDX_LOG_ENTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "sealblk/vhdx_format.h"
#include "vhd/vhdx_log.h"
#include "vhd/vhdx_reason.h"

/* What begins at a sector of the log. */
struct vhdx_log_entry {
	uint32_t nr_sectors; /* 0: no sound entry */
	uint32_t nr_descriptors;
	uint32_t tail_sector;
	uint64_t sequence;
};

/* Sector @number of the entry that begins at @first. */
const uint8_t *vhdx_log_entry_sector(const struct vhdx_log *log, uint32_t first, uint32_t number);

struct vhdx_log_header vhdx_log_entry_header(const struct vhdx_log *log, uint32_t first);

/* Descriptor @number of a sound entry. */
struct vhdx_log_descriptor vhdx_log_entry_descriptor(const struct vhdx_log *log, uint32_t first,
						     uint32_t number);

/* How many sectors header and descriptors take up; the data sectors follow, in their order. */
uint32_t vhdx_log_entry_descriptor_sectors(uint32_t nr_descriptors);

/* Or is it of zeros? */
bool vhdx_log_descriptor_is_data(const struct vhdx_log_descriptor *descriptor);

/* How many bytes of the file it would write. */
uint64_t vhdx_log_descriptor_bytes(const struct vhdx_log_descriptor *descriptor);

/*
 * Read the entry at sector @first, which has an entry's signature. All its fields are
 * judged, those of its descriptors and data sectors, and its checksum.
 * Returns 0; -EINVAL with *ret_problem: not sound, or with another log GUID.
 */
int MUST_CHECK vhdx_log_entry_check(const struct vhdx_log *log, uint32_t first,
				    struct vhdx_log_entry *ret_entry,
				    struct vhdx_problem *ret_problem);

#endif
