/* SPDX-License-Identifier: MIT */
/*
 * Replies of the transmission phase, encoded into the caller's memory.
 *
 * Only headers are made here: the caller sends the data of a READ behind the
 * header that announces it. Every function returns the bytes it has written,
 * at most the constant in its array. None can fail.
 *
 * proto.md, "Simple reply message" and "Structured reply types": without
 * negotiation only simple replies may be sent; with it, READ must be answered
 * by chunks (also its errors), and everything else may be. An extended request is
 * answered by extended chunks, and nothing else. The last chunk of a reply, and
 * only that, has @done set.
 *
 * @to: the request that is answered, as received.
 */
#ifndef NBD_REPLY_H
#define NBD_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nbd/session.h"
#include "sealblk/nbd_wire.h"

enum {
	NBDS_SIMPLE_BYTES = sizeof(struct nbd_simple_reply),
	NBDS_NONE_BYTES_MAX = sizeof(struct nbd_chunk_ext),
	NBDS_DATA_BYTES_MAX = sizeof(struct nbd_chunk_ext) + sizeof(struct nbd_chunk_data),
	NBDS_HOLE_BYTES_MAX = sizeof(struct nbd_chunk_ext) + sizeof(struct nbd_chunk_hole),
	NBDS_STATUS_BYTES_MAX = sizeof(struct nbd_chunk_ext) + sizeof(struct nbd_chunk_status_ext),
	NBDS_EXTENT_BYTES_MAX = sizeof(struct nbd_extent_ext),

	NBDS_ERROR_TEXT_BYTES_MAX = 64, /* longer texts are cut */
	NBDS_ERROR_BYTES_MAX = sizeof(struct nbd_chunk_ext) + sizeof(struct nbd_chunk_error) +
			       NBDS_ERROR_TEXT_BYTES_MAX,

	/* The longest of them: enough for whatever one reply begins with. */
	NBDS_HEADER_BYTES_MAX = NBDS_ERROR_BYTES_MAX,
};

/* Not to an extended request. @wire_error: of nbds_wire_error(). A READ without error is followed by its data. */
size_t nbds_encode_simple(uint8_t out[static NBDS_SIMPLE_BYTES], const struct nbds_request *to,
			  uint32_t wire_error);

/* Success without data, or the end of a reply of several chunks: always the last. */
size_t nbds_encode_none(uint8_t out[static NBDS_NONE_BYTES_MAX], const struct nbds_request *to);

/* @data_bytes of the disk at @offset_bytes follow; 1 up to REQ_BYTES_MAX. */
size_t nbds_encode_data(uint8_t out[static NBDS_DATA_BYTES_MAX], const struct nbds_request *to,
			bool done, uint64_t offset_bytes, uint32_t data_bytes);

/* @hole_bytes (not 0) of the disk at @offset_bytes read as zeros; nothing follows. */
size_t nbds_encode_hole(uint8_t out[static NBDS_HOLE_BYTES_MAX], const struct nbds_request *to,
			bool done, uint64_t offset_bytes, uint32_t hole_bytes);

/* @nr_extents (1 up to REQ_EXTENTS_MAX) follow, each by nbds_encode_extent(). */
size_t nbds_encode_status(uint8_t out[static NBDS_STATUS_BYTES_MAX], const struct nbds_request *to,
			  bool done, uint32_t context_id, uint32_t nr_extents);

/*
 * @extent_bytes: not 0, and 32 bits unless @extended. @state: NBD_STATE_*, in the terms
 * of the chunk's context. Returns nbds_extent_bytes(@extended).
 */
size_t nbds_encode_extent(uint8_t out[static NBDS_EXTENT_BYTES_MAX], bool extended,
			  uint64_t extent_bytes, uint32_t state);

static inline size_t nbds_extent_bytes(bool extended)
{
	return extended ? sizeof(struct nbd_extent_ext) : sizeof(struct nbd_extent);
}

/* The reply failed; always the last chunk. @wire_error: not 0. @text: may be NULL. */
size_t nbds_encode_error(uint8_t out[static NBDS_ERROR_BYTES_MAX], const struct nbds_request *to,
			 uint32_t wire_error, const char *text);

#endif
