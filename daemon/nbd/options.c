/* SPDX-License-Identifier: MIT */
/*
 * The options, one row each (proto.md, "Option types"). A new option is a new
 * row and its handler.
 */
#include "nbd/option.h"

static const struct nbds_export *export_at(const struct nbds_option *o, int index)
{
	return &o->session->exports[index];
}

/*
 * DF only means something to who knows structured replies, and must not be
 * offered to others ("Transmission flags", bit 7). BLOCK_STATUS with a payload needs
 * extended headers, and a context of this export to choose (bit 12).
 */
static uint16_t shown_flags(const struct nbds_option *o, const struct nbds_export *export)
{
	const struct nbds_session *s = o->session;
	const bool has_contexts = s->contexts && export == export_at(o, (int)s->context_export);
	unsigned int hidden = 0;

	if (!s->structured)
		hidden |= NBD_FLAG_SEND_DF;
	if (!s->extended || !has_contexts)
		hidden |= NBD_FLAG_BLOCK_STATUS_PAYLOAD;
	return export->transmission_flags & (uint16_t)~hidden;
}

/* Contexts were selected for one export; with another they are worth nothing. */
static enum nbds_answer choose_export(struct nbds_option *o, int index)
{
	struct nbds_session *s = o->session;

	s->export_index = (unsigned int)index;
	if (s->context_export != s->export_index)
		s->contexts = 0;
	return NBDS_CHOSEN;
}

/*
 * The one option without a reply header, hence without errors: who asks for
 * what we cannot give is disconnected, as the protocol demands.
 */
static enum nbds_answer answer_export_name(struct nbds_option *o)
{
	struct nbds_bytes name = nbds_take_string(&o->data, o->data.left_bytes);
	struct nbd_export_name_reply reply = { 0 };
	const struct nbds_export *export;
	size_t reply_bytes = sizeof(reply);
	int index;

	/* "a client MUST NOT use" it once it has extended headers. */
	if (o->too_long || o->data.overrun || o->session->extended)
		return NBDS_CLOSE;
	index = nbds_find_export(o->session, name);
	if (index < 0)
		return NBDS_CLOSE;

	export = export_at(o, index);
	reply.export_bytes = be64_of(export->bytes);
	reply.transmission_flags = be16_of(shown_flags(o, export));
	if (o->session->no_zeroes)
		reply_bytes = offsetof(struct nbd_export_name_reply, zeroes);
	nbds_put_bytes(o, &(struct nbds_bytes){ &reply, reply_bytes }, 1);
	return choose_export(o, index);
}

/* Data is to be ignored, not refused. */
static enum nbds_answer answer_abort(struct nbds_option *o)
{
	nbds_put_ack(o);
	return NBDS_CLOSE;
}

static enum nbds_answer answer_list(struct nbds_option *o)
{
	for (unsigned int i = 0; i < o->session->nr_exports; i++) {
		const struct nbds_export *export = &o->session->exports[i];
		struct nbds_bytes name = nbds_bytes_of(export->name);
		struct nbd_rep_server server = { .name_bytes = be32_of((uint32_t)name.nr_bytes) };
		struct nbds_bytes parts[] = {
			{ &server, sizeof(server) },
			name,
			nbds_bytes_of(export->description),
		};

		nbds_put_reply(o, NBD_REP_SERVER, parts, ARRAY_LEN(parts));
	}
	nbds_put_ack(o);
	return NBDS_ANSWERED;
}

static void put_info_export(struct nbds_option *o, const struct nbds_export *export)
{
	struct nbd_info_export info = {
		.type = be16_of(NBD_INFO_EXPORT),
		.export_bytes = be64_of(export->bytes),
		.transmission_flags = be16_of(shown_flags(o, export)),
	};

	nbds_put_reply(o, NBD_REP_INFO, &(struct nbds_bytes){ &info, sizeof(info) }, 1);
}

static void put_info_block_size(struct nbds_option *o, const struct nbds_export *export)
{
	struct nbd_info_block_size info = {
		.type = be16_of(NBD_INFO_BLOCK_SIZE),
		.minimum_bytes = be32_of(export->minimum_bytes),
		.preferred_bytes = be32_of(export->preferred_bytes),
		.maximum_bytes = be32_of(export->maximum_bytes),
	};

	nbds_put_reply(o, NBD_REP_INFO, &(struct nbds_bytes){ &info, sizeof(info) }, 1);
}

static void put_info_text(struct nbds_option *o, uint16_t type, const char *text)
{
	struct nbd_info info = { .type = be16_of(type) };
	struct nbds_bytes parts[] = { { &info, sizeof(info) }, nbds_bytes_of(text) };

	nbds_put_reply(o, NBD_REP_INFO, parts, ARRAY_LEN(parts));
}

/*
 * The information types asked for, as a set; types we do not know are ignored.
 * Overruns @data when the list is not exactly what is left of it.
 */
static uint32_t take_wanted(struct cursor *data)
{
	size_t nr_types = cursor_be16(data);
	uint32_t wanted = 0;

	if (nr_types * sizeof(be16) != data->left_bytes)
		data->overrun = true;
	while (!data->overrun && data->left_bytes) {
		uint16_t type = cursor_be16(data);

		if (type <= NBD_INFO_BLOCK_SIZE)
			wanted |= UINT32_C(1) << type;
	}
	return wanted;
}

static bool wants(uint32_t wanted, uint16_t type)
{
	return wanted & UINT32_C(1) << type;
}

/*
 * INFO and GO differ only in what comes after. A client that did not ask for
 * the block sizes may go on all the same: the gate refuses what does not fit, and
 * "Maximum interoperability" asks not to insist (ERR_BLOCK_SIZE_REQD).
 */
static enum nbds_answer answer_info(struct nbds_option *o)
{
	struct nbds_bytes name = nbds_take_string(&o->data, cursor_be32(&o->data));
	uint32_t wanted = take_wanted(&o->data);
	const struct nbds_export *export;
	int index;

	if (o->data.overrun) {
		nbds_put_error(o, NBD_REP_ERR_INVALID, "malformed option");
		return NBDS_ANSWERED;
	}
	index = nbds_find_export(o->session, name);
	if (index < 0) {
		nbds_put_error(o, NBD_REP_ERR_UNKNOWN, "no export of this name");
		return NBDS_ANSWERED;
	}

	export = export_at(o, index);
	put_info_export(o, export);
	if (wants(wanted, NBD_INFO_NAME))
		put_info_text(o, NBD_INFO_NAME, export->name);
	if (wants(wanted, NBD_INFO_DESCRIPTION) && export->description)
		put_info_text(o, NBD_INFO_DESCRIPTION, export->description);
	if (wants(wanted, NBD_INFO_BLOCK_SIZE))
		put_info_block_size(o, export);
	nbds_put_ack(o);
	return o->option == NBD_OPT_GO ? choose_export(o, index) : NBDS_ANSWERED;
}

static enum nbds_answer answer_structured_reply(struct nbds_option *o)
{
	if (o->session->extended) {
		nbds_put_error(o, NBD_REP_ERR_EXT_HEADER_REQD, "extended headers are in force");
		return NBDS_ANSWERED;
	}
	o->session->structured = true;
	nbds_put_ack(o);
	return NBDS_ANSWERED;
}

/* Takes the place of structured replies, and opens what they open. */
static enum nbds_answer answer_extended_headers(struct nbds_option *o)
{
	o->session->structured = true;
	o->session->extended = true;
	nbds_put_ack(o);
	return NBDS_ANSWERED;
}

/*
 * CVE-2021-3716: somebody in between may have asked for things in plaintext, in the
 * client's name. Only what is asked for behind TLS counts.
 */
static enum nbds_answer answer_starttls(struct nbds_option *o)
{
	struct nbds_session *s = o->session;

	if (s->tls == NBDS_TLS_NONE || s->tls == NBDS_TLS_ON) {
		nbds_put_error(o, s->tls == NBDS_TLS_ON ? NBD_REP_ERR_INVALID : NBD_REP_ERR_UNSUP,
			       s->tls == NBDS_TLS_ON ? "TLS is on already"
						     : "this server has no TLS");
		return NBDS_ANSWERED;
	}
	nbds_put_ack(o);
	if (o->full)
		return NBDS_ANSWERED;
	s->tls = NBDS_TLS_ON;
	s->structured = false;
	s->extended = false;
	s->contexts = 0;
	return NBDS_SECURED;
}

enum data_rule {
	DATA_PARSED, /* by the handler; too long: refused before it is called */
	DATA_REFUSED,
	DATA_ANY, /* the handler is called whatever there is */
};

static const struct option_row {
	uint32_t option;
	enum data_rule data;
	bool drops_contexts; /* also when it fails */
	enum nbds_answer (*answer)(struct nbds_option *o);
} option_rows[] = {
	{ NBD_OPT_EXPORT_NAME, DATA_ANY, false, answer_export_name },
	{ NBD_OPT_ABORT, DATA_ANY, false, answer_abort },
	{ NBD_OPT_LIST, DATA_REFUSED, false, answer_list },
	{ NBD_OPT_STARTTLS, DATA_REFUSED, false, answer_starttls },
	{ NBD_OPT_INFO, DATA_PARSED, false, answer_info },
	{ NBD_OPT_GO, DATA_PARSED, false, answer_info },
	{ NBD_OPT_STRUCTURED_REPLY, DATA_REFUSED, false, answer_structured_reply },
	{ NBD_OPT_EXTENDED_HEADERS, DATA_REFUSED, false, answer_extended_headers },
	{ NBD_OPT_LIST_META_CONTEXT, DATA_PARSED, false, nbds_answer_contexts },
	{ NBD_OPT_SET_META_CONTEXT, DATA_PARSED, true, nbds_answer_contexts },
};

static const struct option_row *find_row(uint32_t option)
{
	for (size_t i = 0; i < ARRAY_LEN(option_rows); i++)
		if (option_rows[i].option == option)
			return &option_rows[i];
	return NULL;
}

static enum nbds_answer refuse_stopping(struct nbds_option *o)
{
	if (o->option == NBD_OPT_EXPORT_NAME)
		return NBDS_CLOSE;
	nbds_put_error(o, NBD_REP_ERR_SHUTDOWN, "the server is shutting down");
	return NBDS_ANSWERED;
}

/* FORCEDTLS: all but STARTTLS and ABORT wait for it. */
static bool needs_tls(const struct nbds_option *o)
{
	return o->session->tls == NBDS_TLS_REQUIRED && o->option != NBD_OPT_STARTTLS &&
	       o->option != NBD_OPT_ABORT;
}

static enum nbds_answer refuse_plaintext(struct nbds_option *o)
{
	if (o->option == NBD_OPT_EXPORT_NAME)
		return NBDS_CLOSE;
	nbds_put_error(o, NBD_REP_ERR_TLS_REQD, "this server wants TLS first");
	return NBDS_ANSWERED;
}

enum nbds_answer nbds_answer_option(struct nbds_option *o)
{
	const struct option_row *row = find_row(o->option);

	if (o->session->stopping && o->session->nr_replies_sent == 0 && o->option != NBD_OPT_ABORT)
		return refuse_stopping(o);
	if (needs_tls(o))
		return refuse_plaintext(o);
	if (!row) {
		nbds_put_error(o, NBD_REP_ERR_UNSUP, "option not supported");
		return NBDS_ANSWERED;
	}
	if (row->drops_contexts)
		o->session->contexts = 0;
	if (row->data == DATA_REFUSED && (o->too_long || o->data.left_bytes)) {
		nbds_put_error(o, NBD_REP_ERR_INVALID, "this option takes no data");
		return NBDS_ANSWERED;
	}
	if (row->data == DATA_PARSED && o->too_long) {
		nbds_put_error(o, NBD_REP_ERR_TOO_BIG, "option too long");
		return NBDS_ANSWERED;
	}
	return row->answer(o);
}
