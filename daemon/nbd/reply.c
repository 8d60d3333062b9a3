/* SPDX-License-Identifier: MIT */
/* Reply headers of the transmission phase. */
#include "nbd/reply.h"

#include <assert.h>
#include <string.h>

#include "sealblk/limits.h"

static size_t put_chunk_ext(uint8_t *out, const struct nbds_request *to, bool done, uint16_t type,
			    uint32_t payload_bytes)
{
	struct nbd_chunk_ext chunk = {
		.magic = be32_of(NBD_CHUNK_EXT_MAGIC),
		.flags = be16_of(done ? NBD_REPLY_FLAG_DONE : 0),
		.type = be16_of(type),
		.cookie = be64_of(to->cookie),
		.offset_bytes = be64_of(to->offset_bytes),
		.payload_bytes = be64_of(payload_bytes),
	};

	memcpy(out, &chunk, sizeof(chunk));
	return sizeof(chunk);
}

static size_t put_chunk(uint8_t *out, const struct nbds_request *to, bool done, uint16_t type,
			uint32_t payload_bytes)
{
	struct nbd_chunk chunk = {
		.magic = be32_of(NBD_CHUNK_MAGIC),
		.flags = be16_of(done ? NBD_REPLY_FLAG_DONE : 0),
		.type = be16_of(type),
		.cookie = be64_of(to->cookie),
		.payload_bytes = be32_of(payload_bytes),
	};

	if (to->extended)
		return put_chunk_ext(out, to, done, type, payload_bytes);
	memcpy(out, &chunk, sizeof(chunk));
	return sizeof(chunk);
}

size_t nbds_encode_simple(uint8_t out[static NBDS_SIMPLE_BYTES], const struct nbds_request *to,
			  uint32_t wire_error)
{
	struct nbd_simple_reply reply = {
		.magic = be32_of(NBD_SIMPLE_REPLY_MAGIC),
		.error = be32_of(wire_error),
		.cookie = be64_of(to->cookie),
	};

	assert(!to->extended);
	memcpy(out, &reply, sizeof(reply));
	return sizeof(reply);
}

size_t nbds_encode_none(uint8_t out[static NBDS_NONE_BYTES_MAX], const struct nbds_request *to)
{
	return put_chunk(out, to, true, NBD_REPLY_TYPE_NONE, 0);
}

size_t nbds_encode_data(uint8_t out[static NBDS_DATA_BYTES_MAX], const struct nbds_request *to,
			bool done, uint64_t offset_bytes, uint32_t data_bytes)
{
	struct nbd_chunk_data data = { .offset_bytes = be64_of(offset_bytes) };
	size_t at;

	assert(data_bytes > 0 && data_bytes <= REQ_BYTES_MAX);
	at = put_chunk(out, to, done, NBD_REPLY_TYPE_OFFSET_DATA,
		       (uint32_t)sizeof(data) + data_bytes);
	memcpy(out + at, &data, sizeof(data));
	return at + sizeof(data);
}

size_t nbds_encode_hole(uint8_t out[static NBDS_HOLE_BYTES_MAX], const struct nbds_request *to,
			bool done, uint64_t offset_bytes, uint32_t hole_bytes)
{
	struct nbd_chunk_hole hole = {
		.offset_bytes = be64_of(offset_bytes),
		.hole_bytes = be32_of(hole_bytes),
	};
	size_t at;

	assert(hole_bytes > 0);
	at = put_chunk(out, to, done, NBD_REPLY_TYPE_OFFSET_HOLE, sizeof(hole));
	memcpy(out + at, &hole, sizeof(hole));
	return at + sizeof(hole);
}

size_t nbds_encode_status(uint8_t out[static NBDS_STATUS_BYTES_MAX], const struct nbds_request *to,
			  bool done, uint32_t context_id, uint32_t nr_extents)
{
	const uint32_t extents_bytes = nr_extents * (uint32_t)nbds_extent_bytes(to->extended);
	const struct nbd_chunk_status_ext status = {
		.context_id = be32_of(context_id),
		.nr_extents = be32_of(nr_extents),
	};
	/* The shorter kind ends before the number. */
	const uint32_t status_bytes = to->extended ? sizeof(status)
						   : sizeof(struct nbd_chunk_status);
	const uint16_t type = to->extended ? NBD_REPLY_TYPE_BLOCK_STATUS_EXT
					   : NBD_REPLY_TYPE_BLOCK_STATUS;
	size_t at;

	assert(nr_extents > 0 && nr_extents <= REQ_EXTENTS_MAX);
	at = put_chunk(out, to, done, type, status_bytes + extents_bytes);
	memcpy(out + at, &status, status_bytes);
	return at + status_bytes;
}

size_t nbds_encode_extent(uint8_t out[static NBDS_EXTENT_BYTES_MAX], bool extended,
			  uint64_t extent_bytes, uint32_t state)
{
	const struct nbd_extent_ext wide = {
		.extent_bytes = be64_of(extent_bytes),
		.state = be64_of(state),
	};
	const struct nbd_extent extent = {
		.extent_bytes = be32_of((uint32_t)extent_bytes),
		.state = be32_of(state),
	};

	assert(extent_bytes > 0 && (extended || extent_bytes <= UINT32_MAX));
	if (extended)
		memcpy(out, &wide, sizeof(wide));
	else
		memcpy(out, &extent, sizeof(extent));
	return nbds_extent_bytes(extended);
}

size_t nbds_encode_error(uint8_t out[static NBDS_ERROR_BYTES_MAX], const struct nbds_request *to,
			 uint32_t wire_error, const char *text)
{
	size_t text_bytes = text ? strnlen(text, NBDS_ERROR_TEXT_BYTES_MAX) : 0;
	struct nbd_chunk_error error = {
		.error = be32_of(wire_error),
		.text_bytes = be16_of((uint16_t)text_bytes),
	};
	size_t at;

	assert(wire_error != NBD_OK);
	at = put_chunk(out, to, true, NBD_REPLY_TYPE_ERROR, (uint32_t)(sizeof(error) + text_bytes));
	memcpy(out + at, &error, sizeof(error));
	at += sizeof(error);
	if (text_bytes)
		memcpy(out + at, text, text_bytes);
	return at + text_bytes;
}
