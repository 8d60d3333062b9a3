/* SPDX-License-Identifier: MIT */
/* Metadata contexts (proto.md, "Metadata querying"): which there are, and who asks for which. */
#include <errno.h>

#include "nbd/option.h"

static const struct context_row {
	enum nbds_context id;
	const char *name;
	const char *wildcard; /* its namespace: asks LIST for all contexts in it */
} context_rows[] = {
	{ NBDS_CONTEXT_ALLOCATION, NBD_CONTEXT_ALLOCATION, "base:" },
	{ NBDS_CONTEXT_ENCRYPTION, NBD_CONTEXT_ENCRYPTION, "x-sealblk:" },
};
_Static_assert(ARRAY_LEN(context_rows) == NBD_CONTEXTS_MAX,
	       "a BLOCK_STATUS reply has room for all");

static uint32_t bit_of(const struct context_row *row)
{
	return nbds_context_bit(row->id);
}

/* The contexts @query names: at most one, or for LIST those of a wildcard. */
static uint32_t match_query(struct nbds_bytes query, bool wildcards)
{
	uint32_t found = 0;

	for (size_t i = 0; i < ARRAY_LEN(context_rows); i++) {
		const struct context_row *row = &context_rows[i];

		if (nbds_bytes_equal(query, nbds_bytes_of(row->name)))
			found |= bit_of(row);
		if (wildcards && nbds_bytes_equal(query, nbds_bytes_of(row->wildcard)))
			found |= bit_of(row);
	}
	return found;
}

/*
 * All queries of an option; what no context answers to is ignored, be it an
 * unknown namespace, an unknown leaf or no namespace at all. No query: all for
 * LIST, none for SET. Overruns @data unless the queries are exactly its rest:
 * their number is the client's claim and bounds nothing by itself.
 */
static uint32_t take_queries(struct cursor *data, bool list)
{
	uint32_t nr_queries = cursor_be32(data);
	uint32_t found = 0;

	if (nr_queries == 0 && list)
		found = UINT32_MAX;
	for (uint32_t i = 0; i < nr_queries && !data->overrun; i++)
		found |= match_query(nbds_take_string(data, cursor_be32(data)), list);
	if (data->left_bytes)
		data->overrun = true;
	return found;
}

static void put_context(struct nbds_option *o, const struct context_row *row, uint32_t id)
{
	struct nbd_rep_meta_context reply = { .id = be32_of(id) };
	struct nbds_bytes parts[] = { { &reply, sizeof(reply) }, nbds_bytes_of(row->name) };

	nbds_put_reply(o, NBD_REP_META_CONTEXT, parts, ARRAY_LEN(parts));
}

enum nbds_answer nbds_answer_contexts(struct nbds_option *o)
{
	bool list = o->option == NBD_OPT_LIST_META_CONTEXT;
	struct nbds_bytes name = nbds_take_string(&o->data, cursor_be32(&o->data));
	uint32_t found = take_queries(&o->data, list);
	int index = nbds_find_export(o->session, name);

	if (!o->session->structured) {
		nbds_put_error(o, NBD_REP_ERR_INVALID,
			       "needs structured replies or extended headers first");
		return NBDS_ANSWERED;
	}
	if (o->data.overrun) {
		nbds_put_error(o, NBD_REP_ERR_INVALID, "malformed option");
		return NBDS_ANSWERED;
	}
	if (index < 0) {
		nbds_put_error(o, NBD_REP_ERR_UNKNOWN, "no export of this name");
		return NBDS_ANSWERED;
	}

	/* "SHOULD be set to zero" in a list: the ids are those of a selection. */
	for (size_t i = 0; i < ARRAY_LEN(context_rows); i++) {
		const struct context_row *row = &context_rows[i];

		if (!(found & bit_of(row)))
			continue;
		put_context(o, row, list ? 0 : row->id);
		if (!list)
			o->session->contexts |= bit_of(row);
	}
	if (!list)
		o->session->context_export = (unsigned int)index;
	nbds_put_ack(o);
	return NBDS_ANSWERED;
}

/* The set of one, or of none for an id that we never gave. */
static uint32_t bit_of_id(uint32_t id)
{
	for (size_t i = 0; i < ARRAY_LEN(context_rows); i++)
		if (context_rows[i].id == id)
			return bit_of(&context_rows[i]);
	return 0;
}

int nbds_decode_query(const uint8_t *payload, size_t payload_bytes, uint64_t *ret_effect_bytes,
		      uint32_t *ret_contexts)
{
	struct cursor c = cursor_of(payload, payload_bytes);
	uint64_t effect_bytes = cursor_be64(&c);
	uint32_t contexts = 0;

	if (payload_bytes < NBDS_QUERY_BYTES_MIN || payload_bytes > NBDS_QUERY_BYTES_MAX)
		return -EINVAL;
	while (c.left_bytes > 0) {
		const uint32_t bit = bit_of_id(cursor_be32(&c));

		if (c.overrun || !bit || contexts & bit)
			return -EINVAL;
		contexts |= bit;
	}
	*ret_effect_bytes = effect_bytes;
	*ret_contexts = contexts;
	return 0;
}
