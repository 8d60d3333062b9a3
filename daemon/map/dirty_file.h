/* SPDX-License-Identifier: MIT */
/*
 * The dirty file: map entries that are acknowledged but not yet durable, in
 * memory that survives the daemon (a file on tmpfs, mapped;
 * invariant 5; docs/format.md 7). Works on that memory alone: making, finding
 * and removing the file is image/runtime.h's.
 *
 * Memory that is not there yet would show as SIGBUS when tmpfs is full. So of each
 * area a first part is preallocated, and no record is promised behind it before
 * the part has grown; where it cannot, rounds come sooner and writes wait for them.
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
	_Atomic uint64_t nr_backed;   /* records of each area that have memory; 0: all */
	uint8_t reserved[4096 - 136];
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
	uint32_t seed;	      /* CRC of the open nonce */
	uint64_t seq;	      /* of the area being filled */
	unsigned int area;    /* being filled */
	uint32_t nr_records;  /* in it */
	uint32_t nr_reserved; /* promised to writes in flight */
	uint32_t nr_backed;   /* of each area: a promise may have to be kept in the other one */
	bool is_stuck;	      /* could not grow: not tried again before the next freeze */

	/*
	 * Give @nr_bytes from @offset_bytes of the file memory. NULL: they have it.
	 * Returns 0 or a negative errno. Under the map's lock, a few times in a session.
	 */
	int (*grow)(void *arg, size_t offset_bytes, size_t nr_bytes);
	void *grow_arg;
};

/*
 * Make a new, empty dirty file in @memory (DIRTY_FILE_BYTES, of which the header
 * and DIRTY_BACKED_RECORDS of each area are there). The caller sets @file->grow.
 * Returns 0 or -EIO.
 */
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

/* Room for @nr more records beside those promised? Grows if need be. */
bool dirty_file_has_room(struct dirty_file *file, uint32_t nr);

/* 75% full, and cannot grow: a commit round should start. */
bool dirty_file_is_filling(struct dirty_file *file);

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
