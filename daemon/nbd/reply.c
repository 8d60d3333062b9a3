/* SPDX-License-Identifier: MIT */
/* Reply headers of the transmission phase. */
#include "nbd/reply.h"

#include <assert.h>
#include <string.h>

#include "sealblk/limits.h"

static size_t put_chunk(uint8_t *out, uint64_t cookie, bool done, uint16_t type,
			uint32_t payload_bytes)
{
	struct nbd_chunk chunk = {
		.magic = be32_of(NBD_CHUNK_MAGIC),
		.flags = be16_of(done ? NBD_REPLY_FLAG_DONE : 0),
		.type = be16_of(type),
		.cookie = be64_of(cookie),
		.payload_bytes = be32_of(payload_bytes),
	};

	memcpy(out, &chunk, sizeof(chunk));
	return sizeof(chunk);
}

size_t nbds_encode_simple(uint8_t out[static NBDS_SIMPLE_BYTES], uint64_t cookie,
			  uint32_t wire_error)
{
	struct nbd_simple_reply reply = {
		.magic = be32_of(NBD_SIMPLE_REPLY_MAGIC),
		.error = be32_of(wire_error),
		.cookie = be64_of(cookie),
	};

	memcpy(out, &reply, sizeof(reply));
	return sizeof(reply);
}

size_t nbds_encode_none(uint8_t out[static NBDS_NONE_BYTES], uint64_t cookie)
{
	return put_chunk(out, cookie, true, NBD_REPLY_TYPE_NONE, 0);
}

size_t nbds_encode_data(uint8_t out[static NBDS_DATA_BYTES], uint64_t cookie, bool done,
			uint64_t offset_bytes, uint32_t data_bytes)
{
	struct nbd_chunk_data data = { .offset_bytes = be64_of(offset_bytes) };
	size_t at;

	assert(data_bytes > 0 && data_bytes <= REQ_BYTES_MAX);
	at = put_chunk(out, cookie, done, NBD_REPLY_TYPE_OFFSET_DATA,
		       (uint32_t)sizeof(data) + data_bytes);
	memcpy(out + at, &data, sizeof(data));
	return at + sizeof(data);
}

size_t nbds_encode_hole(uint8_t out[static NBDS_HOLE_BYTES], uint64_t cookie, bool done,
			uint64_t offset_bytes, uint32_t hole_bytes)
{
	struct nbd_chunk_hole hole = {
		.offset_bytes = be64_of(offset_bytes),
		.hole_bytes = be32_of(hole_bytes),
	};
	size_t at;

	assert(hole_bytes > 0);
	at = put_chunk(out, cookie, done, NBD_REPLY_TYPE_OFFSET_HOLE, sizeof(hole));
	memcpy(out + at, &hole, sizeof(hole));
	return at + sizeof(hole);
}

size_t nbds_encode_status(uint8_t out[static NBDS_STATUS_BYTES], uint64_t cookie, bool done,
			  uint32_t context_id, uint32_t nr_extents)
{
	struct nbd_chunk_status status = { .context_id = be32_of(context_id) };
	size_t at;

	assert(nr_extents > 0 && nr_extents <= REQ_EXTENTS_MAX);
	at = put_chunk(out, cookie, done, NBD_REPLY_TYPE_BLOCK_STATUS,
		       (uint32_t)sizeof(status) + nr_extents * NBDS_EXTENT_BYTES);
	memcpy(out + at, &status, sizeof(status));
	return at + sizeof(status);
}

size_t nbds_encode_extent(uint8_t out[static NBDS_EXTENT_BYTES], uint32_t extent_bytes,
			  uint32_t state)
{
	struct nbd_extent extent = {
		.extent_bytes = be32_of(extent_bytes),
		.state = be32_of(state),
	};

	assert(extent_bytes > 0);
	memcpy(out, &extent, sizeof(extent));
	return sizeof(extent);
}

size_t nbds_encode_error(uint8_t out[static NBDS_ERROR_BYTES_MAX], uint64_t cookie,
			 uint32_t wire_error, const char *text)
{
	size_t text_bytes = text ? strnlen(text, NBDS_ERROR_TEXT_BYTES_MAX) : 0;
	struct nbd_chunk_error error = {
		.error = be32_of(wire_error),
		.text_bytes = be16_of((uint16_t)text_bytes),
	};
	size_t at;

	assert(wire_error != NBD_OK);
	at = put_chunk(out, cookie, true, NBD_REPLY_TYPE_ERROR,
		       (uint32_t)(sizeof(error) + text_bytes));
	memcpy(out + at, &error, sizeof(error));
	at += sizeof(error);
	if (text_bytes)
		memcpy(out + at, text, text_bytes);
	return at + text_bytes;
}
