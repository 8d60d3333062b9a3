/* SPDX-License-Identifier: MIT */
/*
 * The format of what `sealblkd --trace` writes, version 1, as bytes in the file;
 * docs/trace.md explains it. All integers are little-endian.
 *
 * A header, then records in the order of events. A record is 64 bytes, and of
 * some kinds data follows it. The file may end in the middle of a record: what
 * is not whole was never written.
 */
#ifndef SEALBLK_TRACE_FORMAT_H
#define SEALBLK_TRACE_FORMAT_H

#include <stddef.h>

#include "sealblk/byteorder.h"
#include "sealblk/seal_format.h"

#define TRACE_MAGIC	   "SEALTRC" /* eight bytes with the final NUL */
#define TRACE_RECORD_MAGIC 0x43455254u

enum { TRACE_VERSION = 1 };

struct trace_header {
	uint8_t magic[8];
	le32 version;
	le32 record_bytes; /* sizeof(struct trace_record) */
	uint8_t reserved[48];
};
_Static_assert(sizeof(struct trace_header) == 64, "trace header");

enum trace_type {
	TRACE_FILE = 1, /* @file is an image from here on; data: UUID, then the path without NUL */
	TRACE_ISSUE,	/* an operation is about to be handed over; WRITE: with its data */
	TRACE_DONE,	/* it has ended with @result; its owner has not heard of it yet */
	TRACE_END,	/* the daemon has ended, and not been killed */
};

enum trace_kind {
	TRACE_WRITE = 1, /* data_bytes at offset_bytes */
	TRACE_FDATASYNC, /* all of the file */
	TRACE_PUNCH,	 /* range_bytes at offset_bytes read as zeros after */
	TRACE_ALLOCATE,	 /* space for range_bytes at offset_bytes; contents stay */
};

struct trace_record {
	le32 magic;   /* TRACE_RECORD_MAGIC */
	uint8_t type; /* enum trace_type */
	uint8_t kind; /* enum trace_kind; FILE and END: 0 */
	uint8_t ring; /* 0: the thread that opens and closes; n: worker n - 1 */
	uint8_t reserved0;
	le64 time_ns; /* CLOCK_MONOTONIC; never less than that of the record before */
	le64 id;      /* of the operation: the same in ISSUE and DONE, used once */
	le32 file;    /* descriptor in the daemon */
	le32 result;  /* DONE: 0 or a negative errno, two's complement */
	le64 offset_bytes;
	le64 range_bytes;
	le32 data_bytes; /* that follow this record */
	le32 data_crc;	 /* CRC32C of them */
	uint8_t reserved1[4];
	le32 crc; /* CRC32C of the record with this field as zero */
};
_Static_assert(sizeof(struct trace_record) == 64, "trace record");
_Static_assert(offsetof(struct trace_record, offset_bytes) == 32, "trace record");
_Static_assert(_Alignof(struct trace_record) == 1, "may lie at any address");

#endif
