/* SPDX-License-Identifier: MIT */
/* The client's side of the handshake: see client.h. */
#include "nbd/client.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/cursor.h"

enum {
	BLOCK_BYTES_MIN = 512, /* of a disk */
	BLOCK_BYTES_MAX = 64 << 10,
};

static void want(struct nbdc *client, enum nbdc_step step, size_t nr_bytes)
{
	client->step = step;
	client->wanted_bytes = nr_bytes;
}

void nbdc_begin(struct nbdc *client)
{
	/* A server that says nothing of blocks takes any: "Size constraints". */
	*client = (struct nbdc){ .export.minimum_bytes = BLOCK_BYTES_MIN };
	want(client, NBDC_GREETING, sizeof(struct nbd_greeting));
}

static int take_greeting(struct nbdc *client, struct cursor in)
{
	const uint64_t magic = cursor_be64(&in), option_magic = cursor_be64(&in);
	const uint16_t wanted = NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES;

	if (magic != NBD_MAGIC || option_magic != NBD_OPTION_MAGIC)
		return -EPROTO;
	if ((cursor_be16(&in) & wanted) != wanted)
		return -EOPNOTSUPP;
	want(client, NBDC_REPLY, sizeof(struct nbd_option_reply));
	return 0;
}

/* ---- information ---- */

static int take_info_export(struct nbdc *client, struct cursor *in)
{
	client->export.bytes = cursor_be64(in);
	client->export.transmission_flags = cursor_be16(in);
	if (client->has_export || !(client->export.transmission_flags & NBD_FLAG_HAS_FLAGS))
		return -EPROTO;
	client->has_export = true;
	return 0;
}

/* The preferred size and the longest payload are the server's hints; the kernel has its own. */
static int take_info_block_size(struct nbdc *client, struct cursor *in)
{
	const uint32_t minimum = cursor_be32(in);

	cursor_be64(in);
	if (minimum == 0 || (minimum & (minimum - 1)))
		return -EPROTO;
	if (minimum > BLOCK_BYTES_MAX)
		return -EOPNOTSUPP;
	client->export.minimum_bytes = minimum < BLOCK_BYTES_MIN ? BLOCK_BYTES_MIN : minimum;
	return 0;
}

static int take_info(struct nbdc *client, struct cursor in)
{
	const uint16_t type = cursor_be16(&in);
	int r = 0;

	if (type == NBD_INFO_EXPORT)
		r = take_info_export(client, &in);
	else if (type == NBD_INFO_BLOCK_SIZE)
		r = take_info_block_size(client, &in);
	else
		return in.overrun ? -EPROTO : 0; /* what was not asked for may come all the same */
	return r == 0 && (in.overrun || in.left_bytes) ? -EPROTO : r;
}

/* ---- replies ---- */

static const struct {
	uint32_t type;
	int error;
} errors[] = {
	{ NBD_REP_ERR_UNSUP, -EOPNOTSUPP }, { NBD_REP_ERR_POLICY, -EACCES },
	{ NBD_REP_ERR_TLS_REQD, -EACCES },  { NBD_REP_ERR_UNKNOWN, -ENOENT },
	{ NBD_REP_ERR_INVALID, -EPROTO },   { NBD_REP_ERR_SHUTDOWN, -ESHUTDOWN },
};

static int error_of(uint32_t type)
{
	for (size_t i = 0; i < ARRAY_LEN(errors); i++)
		if (errors[i].type == type)
			return errors[i].error;
	return -EIO;
}

static int finish(struct nbdc *client)
{
	const struct nbdc_export *export = &client->export;

	if (!client->has_export || export->bytes % export->minimum_bytes != 0)
		return -EPROTO;
	want(client, NBDC_CHOSEN, 0);
	return 0;
}

/* All of one reply is there; @data: what followed its header. */
static int take_whole(struct nbdc *client, struct cursor data)
{
	int r;

	if (client->reply_type & NBD_REP_FLAG_ERROR)
		return error_of(client->reply_type);
	if (client->reply_type == NBD_REP_ACK)
		return data.left_bytes ? -EPROTO : finish(client);
	if (client->reply_type != NBD_REP_INFO || ++client->nr_replies > NBDC_REPLIES_MAX)
		return -EPROTO;
	r = take_info(client, data);
	want(client, NBDC_REPLY, sizeof(struct nbd_option_reply));
	return r;
}

static int take_reply(struct nbdc *client, struct cursor in)
{
	const uint64_t magic = cursor_be64(&in);
	const uint32_t option = cursor_be32(&in);
	uint32_t data_bytes;

	client->reply_type = cursor_be32(&in);
	data_bytes = cursor_be32(&in);
	if (magic != NBD_OPTION_REPLY_MAGIC || option != NBD_OPT_GO ||
	    data_bytes > NBDC_FEED_BYTES_MAX)
		return -EPROTO;
	if (data_bytes == 0)
		return take_whole(client, in);
	want(client, NBDC_DATA, data_bytes);
	return 0;
}

int nbdc_feed(struct nbdc *client, const uint8_t *bytes)
{
	const struct cursor in = cursor_of(bytes, client->wanted_bytes);

	switch (client->step) {
	case NBDC_GREETING:
		return take_greeting(client, in);
	case NBDC_REPLY:
		return take_reply(client, in);
	case NBDC_DATA:
		return take_whole(client, in);
	case NBDC_CHOSEN:
		break;
	}
	assert(client->wanted_bytes > 0);
	return -EPROTO;
}

/* ---- the option ---- */

static uint8_t *put(uint8_t *at, const void *bytes, size_t nr_bytes)
{
	memcpy(at, bytes, nr_bytes);
	return at + nr_bytes;
}

size_t nbdc_encode_go(const char *name, uint8_t ret_bytes[NBDC_GO_BYTES_MAX])
{
	const size_t name_bytes = strlen(name);
	const be32 name_length = be32_of((uint32_t)name_bytes);
	const be32 flags = be32_of(NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES);
	const struct nbd_option option = {
		.magic = be64_of(NBD_OPTION_MAGIC),
		.option = be32_of(NBD_OPT_GO),
		.data_bytes = be32_of((uint32_t)(sizeof(be32) + name_bytes + 2 * sizeof(be16))),
	};
	const be16 infos[2] = { be16_of(1), be16_of(NBD_INFO_BLOCK_SIZE) }; /* how many; which */
	uint8_t *at = ret_bytes;

	assert(name_bytes <= EXPORT_NAME_BYTES_MAX);
	at = put(at, &flags, sizeof(flags));
	at = put(at, &option, sizeof(option));
	at = put(at, &name_length, sizeof(name_length));
	at = put(at, name, name_bytes);
	at = put(at, infos, sizeof(infos));
	return (size_t)(at - ret_bytes);
}
