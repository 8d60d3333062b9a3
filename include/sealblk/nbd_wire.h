/* SPDX-License-Identifier: MIT */
/*
 * The NBD protocol as it lies on the wire: numbers and layouts, nothing else.
 *
 * Source: doc/proto.md of the NBD project; each group names its section there.
 * What has "ext" in its name is that file's branch extension-ext-header.
 * All integers are big-endian.
 * Not to be included together with <linux/nbd.h>, which has some of the names.
 */
#ifndef SEALBLK_NBD_WIRE_H
#define SEALBLK_NBD_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "sealblk/byteorder.h"

/* "Newstyle negotiation", "Request message" and the two reply messages. */
#define NBD_MAGIC	       UINT64_C(0x4e42444d41474943) /* "NBDMAGIC" */
#define NBD_OPTION_MAGIC       UINT64_C(0x49484156454f5054) /* "IHAVEOPT" */
#define NBD_OPTION_REPLY_MAGIC UINT64_C(0x0003e889045565a9)
#define NBD_REQUEST_MAGIC      UINT32_C(0x25609513)
#define NBD_SIMPLE_REPLY_MAGIC UINT32_C(0x67446698)
#define NBD_CHUNK_MAGIC	       UINT32_C(0x668e33ef) /* NBD_STRUCTURED_REPLY_MAGIC */
#define NBD_REQUEST_EXT_MAGIC  UINT32_C(0x21e41c71) /* NBD_EXTENDED_REQUEST_MAGIC */
#define NBD_CHUNK_EXT_MAGIC    UINT32_C(0x6e8a278c) /* NBD_EXTENDED_REPLY_MAGIC */

/* "Handshake flags", 16 bits from the server. */
enum {
	NBD_FLAG_FIXED_NEWSTYLE = 1 << 0,
	NBD_FLAG_NO_ZEROES = 1 << 1,
};

/* "Client flags", 32 bits; any other: the server closes. */
enum {
	NBD_FLAG_C_FIXED_NEWSTYLE = 1 << 0,
	NBD_FLAG_C_NO_ZEROES = 1 << 1,
};

/* "Transmission flags", 16 bits, of one export. */
enum {
	NBD_FLAG_HAS_FLAGS = 1 << 0,
	NBD_FLAG_READ_ONLY = 1 << 1,
	NBD_FLAG_SEND_FLUSH = 1 << 2,
	NBD_FLAG_SEND_FUA = 1 << 3,
	NBD_FLAG_ROTATIONAL = 1 << 4,
	NBD_FLAG_SEND_TRIM = 1 << 5,
	NBD_FLAG_SEND_WRITE_ZEROES = 1 << 6,
	NBD_FLAG_SEND_DF = 1 << 7,
	NBD_FLAG_CAN_MULTI_CONN = 1 << 8,
	NBD_FLAG_SEND_CACHE = 1 << 10,
	NBD_FLAG_SEND_FAST_ZERO = 1 << 11,
	NBD_FLAG_BLOCK_STATUS_PAYLOAD = 1 << 12,
};

/* "Option types". */
enum {
	NBD_OPT_EXPORT_NAME = 1,
	NBD_OPT_ABORT = 2,
	NBD_OPT_LIST = 3,
	NBD_OPT_STARTTLS = 5,
	NBD_OPT_INFO = 6,
	NBD_OPT_GO = 7,
	NBD_OPT_STRUCTURED_REPLY = 8,
	NBD_OPT_LIST_META_CONTEXT = 9,
	NBD_OPT_SET_META_CONTEXT = 10,
	NBD_OPT_EXTENDED_HEADERS = 11,
};

/* "Option reply types"; errors have bit 31 set. */
#define NBD_REP_ACK		    UINT32_C(1)
#define NBD_REP_SERVER		    UINT32_C(2)
#define NBD_REP_INFO		    UINT32_C(3)
#define NBD_REP_META_CONTEXT	    UINT32_C(4)
#define NBD_REP_FLAG_ERROR	    UINT32_C(0x80000000)
#define NBD_REP_ERR_UNSUP	    UINT32_C(0x80000001)
#define NBD_REP_ERR_POLICY	    UINT32_C(0x80000002)
#define NBD_REP_ERR_INVALID	    UINT32_C(0x80000003)
#define NBD_REP_ERR_PLATFORM	    UINT32_C(0x80000004)
#define NBD_REP_ERR_TLS_REQD	    UINT32_C(0x80000005)
#define NBD_REP_ERR_UNKNOWN	    UINT32_C(0x80000006)
#define NBD_REP_ERR_SHUTDOWN	    UINT32_C(0x80000007)
#define NBD_REP_ERR_BLOCK_SIZE_REQD UINT32_C(0x80000008)
#define NBD_REP_ERR_TOO_BIG	    UINT32_C(0x80000009)
#define NBD_REP_ERR_EXT_HEADER_REQD UINT32_C(0x8000000a)

/* Information types: "Option reply types", NBD_REP_INFO. */
enum {
	NBD_INFO_EXPORT = 0,
	NBD_INFO_NAME = 1,
	NBD_INFO_DESCRIPTION = 2,
	NBD_INFO_BLOCK_SIZE = 3,
};

/* "Request types". */
enum {
	NBD_CMD_READ = 0,
	NBD_CMD_WRITE = 1,
	NBD_CMD_DISC = 2,
	NBD_CMD_FLUSH = 3,
	NBD_CMD_TRIM = 4,
	NBD_CMD_CACHE = 5,
	NBD_CMD_WRITE_ZEROES = 6,
	NBD_CMD_BLOCK_STATUS = 7,
};

/* "Command flags", 16 bits. */
enum {
	NBD_CMD_FLAG_FUA = 1 << 0,
	NBD_CMD_FLAG_NO_HOLE = 1 << 1,
	NBD_CMD_FLAG_DF = 1 << 2,
	NBD_CMD_FLAG_REQ_ONE = 1 << 3,
	NBD_CMD_FLAG_FAST_ZERO = 1 << 4,
	NBD_CMD_FLAG_PAYLOAD_LEN = 1 << 5,
};

/* "Structured reply flags" and "Structured reply types"; errors have bit 15 set. */
enum {
	NBD_REPLY_FLAG_DONE = 1 << 0,

	NBD_REPLY_TYPE_NONE = 0,
	NBD_REPLY_TYPE_OFFSET_DATA = 1,
	NBD_REPLY_TYPE_OFFSET_HOLE = 2,
	NBD_REPLY_TYPE_BLOCK_STATUS = 5,
	NBD_REPLY_TYPE_BLOCK_STATUS_EXT = 6,
	NBD_REPLY_TYPE_ERROR = (1 << 15) + 1,
	NBD_REPLY_TYPE_ERROR_OFFSET = (1 << 15) + 2,
};

/* "Error values": the only ones a reply may carry. */
enum {
	NBD_OK = 0,
	NBD_EPERM = 1,
	NBD_EIO = 5,
	NBD_ENOMEM = 12,
	NBD_EINVAL = 22,
	NBD_ENOSPC = 28,
	NBD_EOVERFLOW = 75,
	NBD_ENOTSUP = 95,
	NBD_ESHUTDOWN = 108,
};

/* "base:allocation metadata context": status flags of an extent. */
#define NBD_CONTEXT_ALLOCATION "base:allocation"
enum {
	NBD_STATE_HOLE = 1 << 0,
	NBD_STATE_ZERO = 1 << 1,
};

/* Ours, under the namespace "Metadata querying" leaves to local use. */
#define NBD_CONTEXT_ENCRYPTION "x-sealblk:encryption"
enum {
	NBD_STATE_SEAL_BASE = 0,   /* reads from the plaintext base */
	NBD_STATE_SEAL_ZERO = 1,   /* stored nowhere */
	NBD_STATE_SEAL_PLAIN = 2,  /* stored as plaintext */
	NBD_STATE_SEAL_SEALED = 3, /* stored encrypted */
};

/* "Newstyle negotiation". */
struct nbd_greeting {
	be64 magic;
	be64 option_magic;
	be16 handshake_flags;
};

struct nbd_option {
	be64 magic;
	be32 option;
	be32 data_bytes; /* of what follows */
};

struct nbd_export_name_reply {
	be64 export_bytes;
	be16 transmission_flags;
	uint8_t zeroes[124]; /* left out when both sides said NO_ZEROES */
};

/* "Fixed newstyle negotiation". */
struct nbd_option_reply {
	be64 magic;
	be32 option; /* the one answered */
	be32 type;
	be32 data_bytes; /* of what follows */
};

/* "Option reply types": what follows nbd_option_reply. */
struct nbd_rep_server {
	be32 name_bytes; /* then the name; what is left is the description */
};

struct nbd_rep_meta_context {
	be32 id; /* then the context's name */
};

struct nbd_info {
	be16 type; /* then the name or description */
};

struct nbd_info_export {
	be16 type;
	be64 export_bytes;
	be16 transmission_flags;
};

struct nbd_info_block_size {
	be16 type;
	be32 minimum_bytes;
	be32 preferred_bytes;
	be32 maximum_bytes; /* of a payload */
};

/* "Request message": then the payload of a WRITE. */
struct nbd_request {
	be32 magic;
	be16 flags;
	be16 command;
	be64 cookie;
	be64 offset_bytes;
	be32 length_bytes;
};

/* The same with extended headers: then the payload, if FLAG_PAYLOAD_LEN says there is one. */
struct nbd_request_ext {
	be32 magic;
	be16 flags;
	be16 command;
	be64 cookie;
	be64 offset_bytes;
	be64 length_bytes; /* of the payload, or of the effect */
};

/* "Request types", NBD_CMD_BLOCK_STATUS: its payload, if it has one. */
struct nbd_status_query {
	be64 effect_bytes; /* then ids of contexts, be32 each */
};

/* "Simple reply message": then the data of a successful READ. */
struct nbd_simple_reply {
	be32 magic;
	be32 error;
	be64 cookie;
};

/* "Structured reply chunk message". */
struct nbd_chunk {
	be32 magic;
	be16 flags;
	be16 type;
	be64 cookie;
	be32 payload_bytes; /* of what follows */
};

/* "Extended reply chunk message". */
struct nbd_chunk_ext {
	be32 magic;
	be16 flags;
	be16 type;
	be64 cookie;
	be64 offset_bytes;  /* of the request */
	be64 payload_bytes; /* of what follows */
};

/* "Structured reply types": what follows nbd_chunk or nbd_chunk_ext. */
struct nbd_chunk_data {
	be64 offset_bytes; /* then the data */
};

struct nbd_chunk_hole {
	be64 offset_bytes;
	be32 hole_bytes;
};

struct nbd_chunk_status {
	be32 context_id; /* then extents */
};

struct nbd_extent {
	be32 extent_bytes;
	be32 state; /* in the terms of the context */
};

struct nbd_chunk_status_ext {
	be32 context_id;
	be32 nr_extents; /* then the extents */
};

struct nbd_extent_ext {
	be64 extent_bytes;
	be64 state; /* in the terms of the context */
};

struct nbd_chunk_error {
	be32 error;
	be16 text_bytes; /* then the text */
};

_Static_assert(sizeof(struct nbd_greeting) == 18, "proto.md, Newstyle negotiation");
_Static_assert(sizeof(struct nbd_option) == 16, "proto.md, Newstyle negotiation");
_Static_assert(sizeof(struct nbd_export_name_reply) == 134, "proto.md, Newstyle negotiation");
_Static_assert(offsetof(struct nbd_export_name_reply, zeroes) == 10, "cut off here");
_Static_assert(sizeof(struct nbd_option_reply) == 20, "proto.md, Fixed newstyle negotiation");
_Static_assert(sizeof(struct nbd_info_export) == 12, "proto.md, NBD_INFO_EXPORT");
_Static_assert(sizeof(struct nbd_info_block_size) == 14, "proto.md, NBD_INFO_BLOCK_SIZE");
_Static_assert(sizeof(struct nbd_request) == 28, "proto.md, Request message");
_Static_assert(offsetof(struct nbd_request, length_bytes) == 24, "proto.md, Request message");
_Static_assert(sizeof(struct nbd_simple_reply) == 16, "proto.md, Simple reply message");
_Static_assert(sizeof(struct nbd_chunk) == 20, "proto.md, Structured reply chunk message");
_Static_assert(offsetof(struct nbd_chunk, payload_bytes) == 16, "proto.md, same section");
_Static_assert(sizeof(struct nbd_chunk_hole) == 12, "proto.md, NBD_REPLY_TYPE_OFFSET_HOLE");
_Static_assert(sizeof(struct nbd_chunk_error) == 6, "proto.md, NBD_REPLY_TYPE_ERROR");
_Static_assert(sizeof(struct nbd_extent) == 8, "proto.md, NBD_REPLY_TYPE_BLOCK_STATUS");
_Static_assert(sizeof(struct nbd_request_ext) == 32, "proto.md, Request message");
_Static_assert(offsetof(struct nbd_request_ext, length_bytes) == 24, "proto.md, same section");
_Static_assert(sizeof(struct nbd_chunk_ext) == 32, "proto.md, Extended reply chunk message");
_Static_assert(offsetof(struct nbd_chunk_ext, payload_bytes) == 24, "proto.md, same section");
_Static_assert(sizeof(struct nbd_chunk_status_ext) == 8, "proto.md, BLOCK_STATUS_EXT");
_Static_assert(sizeof(struct nbd_extent_ext) == 16, "proto.md, BLOCK_STATUS_EXT");
_Static_assert(_Alignof(struct nbd_request) == 1, "may lie at any address");
_Static_assert(_Alignof(struct nbd_chunk) == 1, "may lie at any address");

#endif
