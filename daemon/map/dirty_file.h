/* SPDX-License-Identifier: MIT */
/*
 * The dirty file: map entries that are acknowledged but not yet durable, in
 * memory that survives the daemon (a preallocated file on tmpfs, mapped;
 * invariant 5; docs/format.md 7). Works on that memory alone: making, finding
 * and removing the file is image/runtime.h's.
 *
 * Two areas take turns: a commit round freezes one and new records go to the
 * other; when the round is durable the frozen one is cleared. All calls under
 * the map's lock.
 */
#ifndef MAP_DIRTY_FILE_H
#define MAP_DIRTY_FILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "crypt/mac.h"
#include "sealblk/seal_format.h"

#define DIRTY_FILE_MAGIC "SEALDRT"

/* Host memory only ever read by the same host and boot, but fixed like a format. */
struct dirty_record {
	le64 first_sector;
	le32 nr_sectors;
	uint8_t entry; /* map value the sectors now have */
	uint8_t reserved[3];
	le64 area_seq; /* of the area when written; else the record is stale */
	le32 number;   /* within the area, from 0 */
	le32 crc;      /* of this record, seeded with the CRC of the open nonce */
};
_Static_assert(sizeof(struct dirty_record) == 32, "two to a cache line");

struct dirty_header {
	uint8_t magic[8];
	uint8_t uuid[SEAL_UUID_BYTES];
	uint8_t open_nonce[SEAL_NONCE_BYTES];
	uint8_t boot_id[SEAL_UUID_BYTES];
	le64 image_inode;
	le64 mac_key_id;
	uint8_t mac[SEAL_MAC_BYTES]; /* of all above */

	/* Below: changed while in use, not under the MAC. */
	_Atomic uint64_t area_seq[2]; /* 0: the area is empty; whole stores: never torn */
	_Atomic uint64_t is_void;     /* 1: a commit failed, nothing in here may be merged */
	uint8_t reserved[4096 - 128];
};
_Static_assert(sizeof(struct dirty_header) == 4096, "a page");

enum {
	DIRTY_FILE_BYTES =
		sizeof(struct dirty_header) + 2 * DIRTY_AREA_RECORDS * sizeof(struct dirty_record),
};

struct dirty_identity {
	const uint8_t *uuid;
	const uint8_t *open_nonce;
	const uint8_t *boot_id;
	uint64_t image_inode;
	uint64_t mac_key_id;
};

struct dirty_file {
	struct dirty_header *header; /* NULL: there is none (only while opening) */
	struct dirty_record *records[2];
	uint64_t seq;	      /* of the area being filled */
	unsigned int area;    /* being filled */
	uint32_t nr_records;  /* in it */
	uint32_t nr_reserved; /* promised to writes in flight */
	uint32_t seed;	      /* CRC of the open nonce */
};

/* Make a new, empty dirty file in @memory (DIRTY_FILE_BYTES). 0 or -EIO. */
int MUST_CHECK dirty_file_format(struct dirty_file *file, void *memory,
				 const struct dirty_identity *id, struct mac_ctx *mac);

/*
 * Take over one left by an earlier open, to read it. @mac NULL: the MAC is not
 * checked (no keys), which is good for a report and for nothing else.
 * Returns 0, -EBADMSG (not of this image, inode, open or boot, or the MAC is
 * wrong), or -ESTALE: it was voided, acknowledged writes may be lost.
 */
int MUST_CHECK dirty_file_adopt(struct dirty_file *file, void *memory,
				const struct dirty_identity *id, struct mac_ctx *mac);

/* Room for @nr more records beside those promised? */
bool dirty_file_has_room(const struct dirty_file *file, uint32_t nr);

/* 75% full: a commit round should start. */
bool dirty_file_is_filling(const struct dirty_file *file);

/*
 * Append a record; there must be room. It counts as soon as the call returns,
 * whatever happens to the process.
 */
void dirty_file_add(struct dirty_file *file, uint64_t first_sector, uint32_t nr_sectors,
		    uint8_t entry);

/* Records from now on go to the other area, which must be empty. */
void dirty_file_freeze(struct dirty_file *file);

/* What dirty_file_freeze() froze is durable in the map: empty that area. */
void dirty_file_clear_frozen(struct dirty_file *file);

/* Nothing in this file may be merged any more. */
void dirty_file_void(struct dirty_file *file);

/* Calls @merge for every record, in the order they were written. */
void dirty_file_replay(const struct dirty_file *file,
		       void (*merge)(void *arg, uint64_t first_sector, uint32_t nr_sectors,
				     uint8_t entry),
		       void *arg);

#endif
