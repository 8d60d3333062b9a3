/* SPDX-License-Identifier: MIT */
/* The first MiB of a VHDX: signature, headers and region tables, judged and read. Pure. */
#ifndef VHD_VHDX_HEADER_H
#define VHD_VHDX_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "sealblk/vhdx_format.h"
#include "vhd/vhdx_reason.h"

/* A part of the file; it begins and ends at a multiple of 1 MiB. */
struct vhdx_place {
	uint64_t offset_bytes;
	uint64_t nr_bytes;
};

/* What the current header says, checked. */
struct vhdx_info {
	uint64_t sequence;
	uint64_t at_bytes;     /* where it is */
	unsigned int nr_sound; /* of the two headers */
	uint8_t file_write_id[VHDX_GUID_BYTES];
	uint8_t data_write_id[VHDX_GUID_BYTES];
	uint8_t log_id[VHDX_GUID_BYTES];
	bool needs_replay;     /* the log holds what the file does not */
	struct vhdx_place log; /* may be empty when nothing is to be replayed */
};

/* The region table. */
struct vhdx_regions {
	struct vhdx_place bat;
	struct vhdx_place metadata;
	unsigned int nr_places;
	/* All of them, the two above and the log as well: no block may lie there. */
	struct vhdx_place places[VHDX_REGIONS_MAX + 1];
};

/* Do the first bytes of a file say that it is a VHDX? */
bool vhdx_has_signature(const void *bytes, size_t nr_bytes);

/*
 * Choose the current header of the two, and read it: the only sound one, or the
 * one with the higher sequence number.
 * @bytes: both, one behind the other. @file_bytes: at least VHDX_ALIGN_BYTES.
 * Returns 0; -EINVAL with *ret_problem: neither is sound, or the current one lies.
 */
int MUST_CHECK vhdx_headers_decode(const uint8_t bytes[VHDX_HEADERS * VHDX_HEADER_BYTES],
				   uint64_t file_bytes, struct vhdx_info *ret_info,
				   struct vhdx_problem *ret_problem);

/* Is this copy of the region table in itself as it was written? */
bool vhdx_region_table_is_sound(const uint8_t bytes[VHDX_REGION_TABLE_BYTES]);

/*
 * Read a sound region table, which lies at @at_bytes of a file of @file_bytes.
 * Returns 0; -EINVAL with *ret_problem: the BAT or the metadata is missing or not
 * in the file, a region overlaps another or the log, or one is not known but required.
 */
int MUST_CHECK vhdx_regions_decode(const uint8_t bytes[VHDX_REGION_TABLE_BYTES], uint64_t at_bytes,
				   const struct vhdx_info *info, uint64_t file_bytes,
				   struct vhdx_regions *ret_regions,
				   struct vhdx_problem *ret_problem);

#endif
