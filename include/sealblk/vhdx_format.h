/* SPDX-License-Identifier: MIT */
/*
 * A VHDX as bytes on disk ([MS-VHDX] "Virtual Hard Disk v2 (VHDX) File Format",
 * Microsoft). All integers are little-endian; so are the first three fields of a
 * GUID.
 *
 * The first MiB holds a signature, two headers of which the sound one with the
 * higher sequence number counts, and two copies of the region table. All else
 * begins at a multiple of 1 MiB: the log, which the header names; the BAT and the
 * metadata, which the region table names; the blocks, which the BAT names.
 *
 * The log is a ring of 4 KiB sectors. It holds entries: a header, descriptors,
 * and a data sector for each descriptor that is not of zeros. The first 8 and
 * the last 4 bytes of what is to be written stand in the descriptor, as the data
 * sector has its signature and sequence number there. A crash leaves changes of
 * the metadata (never of payload) that are in the log only.
 *
 * The BAT has an entry per payload block. Behind those of each chunk (2^23
 * logical sectors) comes one for the sector bitmap of the chunk, which only a
 * differencing VHDX has: a block of 1 MiB, a bit per logical sector, the least
 * significant bit of each byte first.
 */
#ifndef SEALBLK_VHDX_FORMAT_H
#define SEALBLK_VHDX_FORMAT_H

#include <stddef.h>

#include "sealblk/byteorder.h"

#define VHDX_SIGNATURE		  "vhdxfile"
#define VHDX_HEADER_SIGNATURE	  "head"
#define VHDX_REGION_SIGNATURE	  "regi"
#define VHDX_METADATA_SIGNATURE	  "metadata"
#define VHDX_LOG_SIGNATURE	  "loge"
#define VHDX_LOG_ZERO_SIGNATURE	  "zero"
#define VHDX_LOG_DATA_SIGNATURE	  "desc"
#define VHDX_LOG_SECTOR_SIGNATURE "data"

enum {
	VHDX_SIGNATURE_BYTES = 8,
	VHDX_CREATOR_BYTES = 512,
	VHDX_PART_SIGNATURE_BYTES = 4,
	VHDX_GUID_BYTES = 16,
	VHDX_ALIGN_BYTES = 1 << 20, /* of all that lies behind the first MiB */
	VHDX_VERSION = 1,
	VHDX_LOG_VERSION = 0,

	/* In the first MiB. */
	VHDX_HEADERS = 2,
	VHDX_HEADER_OFFSET = 64 << 10, /* of the first; the other one is as far behind */
	VHDX_HEADER_BYTES = 4096,
	VHDX_REGION_TABLES = 2,
	VHDX_REGION_TABLE_OFFSET = 192 << 10,
	VHDX_REGION_TABLE_BYTES = 64 << 10,
	VHDX_REGIONS_MAX = 2047,

	VHDX_LOG_SECTOR_BYTES = 4096,
	VHDX_LOG_HEADER_BYTES = 64,
	VHDX_LOG_DESCRIPTOR_BYTES = 32,

	VHDX_METADATA_TABLE_BYTES = 64 << 10,
	VHDX_METADATA_ENTRIES_MAX = 2047,
	VHDX_ITEM_BYTES_MAX = 1 << 20,

	VHDX_BLOCK_BYTES_MIN = 1 << 20,
	VHDX_BLOCK_BYTES_MAX = 256 << 20,
	VHDX_CHUNK_SECTORS = 1 << 23,
	VHDX_BITMAP_BLOCK_BYTES = 1 << 20,
};

/* "VHDX_GUID(0x2dc27766, 0xf623, 0x4200, 0x9d, ...)" as it lies on disk. */
#define VHDX_GUID(a, b, c, ...)                                                               \
	{                                                                                     \
		(uint8_t)((a)&0xff), (uint8_t)((a) >> 8 & 0xff), (uint8_t)((a) >> 16 & 0xff), \
			(uint8_t)((a) >> 24), (uint8_t)((b)&0xff), (uint8_t)((b) >> 8),       \
			(uint8_t)((c)&0xff), (uint8_t)((c) >> 8), __VA_ARGS__                 \
	}

/* Regions. */
#define VHDX_REGION_BAT \
	VHDX_GUID(0x2dc27766, 0xf623, 0x4200, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08)
#define VHDX_REGION_METADATA \
	VHDX_GUID(0x8b7ca206, 0x4790, 0x4b9a, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e)

/* Items of the metadata. */
#define VHDX_ITEM_FILE_PARAMETERS \
	VHDX_GUID(0xcaa16737, 0xfa36, 0x4d43, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b)
#define VHDX_ITEM_DISK_SIZE \
	VHDX_GUID(0x2fa54224, 0xcd1b, 0x4876, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8)
#define VHDX_ITEM_DISK_ID \
	VHDX_GUID(0xbeca12ab, 0xb2e6, 0x4523, 0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46)
#define VHDX_ITEM_LOGICAL_SECTOR \
	VHDX_GUID(0x8141bf1d, 0xa96f, 0x4709, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f)
#define VHDX_ITEM_PHYSICAL_SECTOR \
	VHDX_GUID(0xcda348c7, 0x445d, 0x4471, 0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56)
#define VHDX_ITEM_PARENT_LOCATOR \
	VHDX_GUID(0xa8d35f2d, 0xb30b, 0x454d, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c)

/* The kind of parent locator that leads to another VHDX. */
#define VHDX_LOCATOR_TYPE_VHDX \
	VHDX_GUID(0xb04aefb7, 0xd19e, 0x4a81, 0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13)

struct vhdx_identifier {
	uint8_t signature[VHDX_SIGNATURE_BYTES];
	uint8_t creator[VHDX_CREATOR_BYTES]; /* UTF-16, for people */
};

struct vhdx_header {
	uint8_t signature[VHDX_PART_SIGNATURE_BYTES];
	le32 checksum; /* CRC32C of these 4 KiB with this field 0 */
	le64 sequence;
	uint8_t file_write_id[VHDX_GUID_BYTES]; /* another one when anything is written */
	uint8_t data_write_id[VHDX_GUID_BYTES]; /* another one when the disk changes */
	uint8_t log_id[VHDX_GUID_BYTES];	/* of the entries that count; 0: none do */
	le16 log_version;
	le16 version;
	le32 log_bytes;
	le64 log_offset;
	uint8_t reserved[4016];
};
_Static_assert(sizeof(struct vhdx_header) == VHDX_HEADER_BYTES, "[MS-VHDX] 2.2.2");
_Static_assert(offsetof(struct vhdx_header, log_offset) == 72, "[MS-VHDX] 2.2.2");
_Static_assert(_Alignof(struct vhdx_header) == 1, "may lie at any address");

struct vhdx_region_table {
	uint8_t signature[VHDX_PART_SIGNATURE_BYTES];
	le32 checksum; /* CRC32C of the 64 KiB with this field 0 */
	le32 nr_entries;
	uint8_t reserved[4];
};
_Static_assert(sizeof(struct vhdx_region_table) == 16, "[MS-VHDX] 2.2.3.1");

struct vhdx_region_entry {
	uint8_t id[VHDX_GUID_BYTES];
	le64 offset;
	le32 nr_bytes;
	le32 required; /* bit 0: who does not know the region must not open the file */
};
_Static_assert(sizeof(struct vhdx_region_entry) == 32, "[MS-VHDX] 2.2.3.2");
_Static_assert(sizeof(struct vhdx_region_table) +
			       VHDX_REGIONS_MAX * sizeof(struct vhdx_region_entry) <=
		       VHDX_REGION_TABLE_BYTES,
	       "all entries fit");

struct vhdx_log_header {
	uint8_t signature[VHDX_PART_SIGNATURE_BYTES];
	le32 checksum; /* CRC32C of the entry with this field 0 */
	le32 nr_bytes; /* of the entry */
	le32 tail;     /* byte of the log where the oldest entry that is needed begins */
	le64 sequence;
	le32 nr_descriptors;
	uint8_t reserved[4];
	uint8_t log_id[VHDX_GUID_BYTES];
	le64 flushed_bytes; /* the file was at least so long */
	le64 last_bytes;    /* and it is to be */
};
_Static_assert(sizeof(struct vhdx_log_header) == VHDX_LOG_HEADER_BYTES, "[MS-VHDX] 2.3.1.1");

struct vhdx_log_descriptor {
	uint8_t signature[VHDX_PART_SIGNATURE_BYTES]; /* tells which of the two it is */
	uint8_t trailing[4];			      /* data: its last bytes */
	union {
		uint8_t leading[8]; /* data: its first bytes */
		le64 zero_bytes;    /* zeros: how many */
	};
	le64 offset; /* in the file */
	le64 sequence;
};
_Static_assert(sizeof(struct vhdx_log_descriptor) == VHDX_LOG_DESCRIPTOR_BYTES,
	       "[MS-VHDX] 2.3.1.2 and 2.3.1.3");

struct vhdx_log_sector {
	uint8_t signature[VHDX_PART_SIGNATURE_BYTES];
	le32 sequence_high;
	uint8_t middle[4084];
	le32 sequence_low;
};
_Static_assert(sizeof(struct vhdx_log_sector) == VHDX_LOG_SECTOR_BYTES, "[MS-VHDX] 2.3.1.4");

struct vhdx_metadata_table {
	uint8_t signature[VHDX_SIGNATURE_BYTES];
	uint8_t reserved[2];
	le16 nr_entries;
	uint8_t reserved2[20];
};
_Static_assert(sizeof(struct vhdx_metadata_table) == 32, "[MS-VHDX] 2.6.1.1");

enum vhdx_metadata_flags {
	VHDX_METADATA_USER = 1,
	VHDX_METADATA_DISK = 2,
	VHDX_METADATA_REQUIRED = 4,
};

struct vhdx_metadata_entry {
	uint8_t id[VHDX_GUID_BYTES];
	le32 offset; /* in the region */
	le32 nr_bytes;
	le32 flags; /* enum vhdx_metadata_flags */
	uint8_t reserved[4];
};
_Static_assert(sizeof(struct vhdx_metadata_entry) == 32, "[MS-VHDX] 2.6.1.2");

enum vhdx_parameter_flags {
	VHDX_LEAVE_ALLOCATED = 1, /* a fixed VHDX */
	VHDX_HAS_PARENT = 2,
};

struct vhdx_file_parameters {
	le32 block_bytes;
	le32 flags; /* enum vhdx_parameter_flags */
};

struct vhdx_locator {
	uint8_t type[VHDX_GUID_BYTES];
	uint8_t reserved[2];
	le16 nr_entries;
};
_Static_assert(sizeof(struct vhdx_locator) == 20, "[MS-VHDX] 2.6.2.6.1");

/* A key and a value in UTF-16, without NULs at their ends. */
struct vhdx_locator_entry {
	le32 key_offset; /* in the item */
	le32 value_offset;
	le16 key_bytes;
	le16 value_bytes;
};
_Static_assert(sizeof(struct vhdx_locator_entry) == 12, "[MS-VHDX] 2.6.2.6.2");

/* A BAT entry: bits 0 to 2 a state, 3 to 19 zeros, the rest the MiB of the file. */
enum {
	VHDX_BAT_STATE_MASK = 7,
	VHDX_BAT_RESERVED_MASK = 0xffff8,
	VHDX_BAT_MIB_SHIFT = 20,
};

enum vhdx_block_state {
	VHDX_BLOCK_NOT_PRESENT = 0, /* the parent's, or anything */
	VHDX_BLOCK_UNDEFINED = 1,   /* anything */
	VHDX_BLOCK_ZERO = 2,
	VHDX_BLOCK_UNMAPPED = 3,
	VHDX_BLOCK_FULLY_PRESENT = 6,
	VHDX_BLOCK_PARTIALLY_PRESENT = 7, /* the sector bitmap tells which sectors are here */
};

#endif
