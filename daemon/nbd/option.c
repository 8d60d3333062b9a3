/* SPDX-License-Identifier: MIT */
/* Strings and replies of the option haggling. */
#include "nbd/option.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

struct nbds_bytes nbds_bytes_of(const char *text)
{
	return (struct nbds_bytes){ .at = text ? text : "", .nr_bytes = text ? strlen(text) : 0 };
}

bool nbds_bytes_equal(struct nbds_bytes a, struct nbds_bytes b)
{
	return a.nr_bytes == b.nr_bytes && memcmp(a.at, b.at, a.nr_bytes) == 0;
}

struct nbds_bytes nbds_take_string(struct cursor *c, size_t nr_bytes)
{
	const uint8_t *at = NULL;

	if (nr_bytes <= NBD_NAME_BYTES_MAX)
		at = cursor_take(c, nr_bytes);
	if (!at || memchr(at, '\0', nr_bytes)) {
		c->overrun = true;
		return nbds_bytes_of(NULL);
	}
	return (struct nbds_bytes){ .at = at, .nr_bytes = nr_bytes };
}

int nbds_find_export(const struct nbds_session *session, struct nbds_bytes name)
{
	for (unsigned int i = 0; i < session->nr_exports; i++)
		if (nbds_bytes_equal(name, nbds_bytes_of(session->exports[i].name)))
			return (int)i;
	return -ENOENT;
}

void nbds_put_bytes(struct nbds_option *o, const struct nbds_bytes *parts, unsigned int nr_parts)
{
	struct nbds_out *out = o->out;
	size_t size_bytes = 0;

	if (o->full || o->nr_replies++ < o->session->nr_replies_sent)
		return;
	for (unsigned int i = 0; i < nr_parts; i++)
		size_bytes += parts[i].nr_bytes;
	if (size_bytes > out->capacity_bytes - out->used_bytes) {
		o->full = true;
		return;
	}
	for (unsigned int i = 0; i < nr_parts; i++) {
		memcpy(out->bytes + out->used_bytes, parts[i].at, parts[i].nr_bytes);
		out->used_bytes += parts[i].nr_bytes;
	}
	o->session->nr_replies_sent++;
}

void nbds_put_reply(struct nbds_option *o, uint32_t type, const struct nbds_bytes *parts,
		    unsigned int nr_parts)
{
	struct nbds_bytes all[1 + NBDS_REPLY_PARTS_MAX];
	struct nbd_option_reply header;
	uint32_t data_bytes = 0;

	assert(nr_parts <= NBDS_REPLY_PARTS_MAX);
	for (unsigned int i = 0; i < nr_parts; i++) {
		all[1 + i] = parts[i];
		data_bytes += (uint32_t)parts[i].nr_bytes;
	}
	header = (struct nbd_option_reply){
		.magic = be64_of(NBD_OPTION_REPLY_MAGIC),
		.option = be32_of(o->option),
		.type = be32_of(type),
		.data_bytes = be32_of(data_bytes),
	};
	all[0] = (struct nbds_bytes){ &header, sizeof(header) };
	nbds_put_bytes(o, all, 1 + nr_parts);
}

void nbds_put_ack(struct nbds_option *o)
{
	nbds_put_reply(o, NBD_REP_ACK, NULL, 0);
}

void nbds_put_error(struct nbds_option *o, uint32_t type, const char *text)
{
	struct nbds_bytes bytes = nbds_bytes_of(text);

	assert(bytes.nr_bytes <= NBDS_OPTION_TEXT_BYTES_MAX);
	nbds_put_reply(o, type, &bytes, 1);
}
