/* SPDX-License-Identifier: MIT */
/*
 * The session machine: cuts the client's stream into flags, options and
 * request headers, one function per stage.
 */
#include "nbd/session.h"

#include <assert.h>
#include <string.h>

#include "nbd/option.h"

enum {
	HANDSHAKE_FLAGS = NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES,
	CLIENT_FLAGS = NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES,
};

/* One call of nbds_feed(). */
struct feed {
	struct nbds_session *session;
	struct cursor in; /* what is not done with */
	struct nbds_out *out;
	struct nbds_event *event;
	enum nbds_progress progress; /* once a step has stopped */
};

#define TO(stage) (1u << (stage))
static const unsigned int stage_next[NBDS_STAGES] = {
	[NBDS_GREETING] = TO(NBDS_CLIENT_FLAGS),
	[NBDS_CLIENT_FLAGS] = TO(NBDS_OPTIONS) | TO(NBDS_OVER_BROKEN),
	[NBDS_OPTIONS] = TO(NBDS_SKIPPING) | TO(NBDS_TRANSMISSION) | TO(NBDS_OVER_BROKEN) |
			 TO(NBDS_OVER_FINISHED),
	[NBDS_SKIPPING] = TO(NBDS_OPTIONS) | TO(NBDS_OVER_FINISHED),
	[NBDS_TRANSMISSION] = TO(NBDS_OVER_BROKEN),
};

static void enter(struct nbds_session *s, enum nbds_stage stage)
{
	assert(stage_next[s->stage] & TO(stage));
	s->stage = stage;
}

/* A step returns true when the next one may be taken at once, else this. */
static bool stop(struct feed *f, enum nbds_progress progress)
{
	f->progress = progress;
	return false;
}

static bool stop_broken(struct feed *f)
{
	enter(f->session, NBDS_OVER_BROKEN);
	return stop(f, NBDS_BROKEN);
}

static bool step_greeting(struct feed *f)
{
	struct nbd_greeting greeting = {
		.magic = be64_of(NBD_MAGIC),
		.option_magic = be64_of(NBD_OPTION_MAGIC),
		.handshake_flags = be16_of(HANDSHAKE_FLAGS),
	};

	if (f->out->capacity_bytes - f->out->used_bytes < sizeof(greeting))
		return stop(f, NBDS_NEED_ROOM);
	memcpy(f->out->bytes + f->out->used_bytes, &greeting, sizeof(greeting));
	f->out->used_bytes += sizeof(greeting);
	enter(f->session, NBDS_CLIENT_FLAGS);
	return true;
}

/* Options of clients without C_FIXED_NEWSTYLE are honoured, as the protocol allows. */
static bool step_client_flags(struct feed *f)
{
	struct cursor in = f->in;
	uint32_t flags = cursor_be32(&in);

	if (in.overrun)
		return stop(f, NBDS_NEED_MORE);
	f->in = in;
	if (flags & ~(uint32_t)CLIENT_FLAGS)
		return stop_broken(f);
	f->session->no_zeroes = flags & NBD_FLAG_C_NO_ZEROES;
	enter(f->session, NBDS_OPTIONS);
	return true;
}

/* Answer @o, which ends where @after begins. Eats it when all replies are out. */
static bool finish_option(struct feed *f, struct nbds_option *o, struct cursor after)
{
	struct nbds_session *s = f->session;
	enum nbds_answer answer = nbds_answer_option(o);

	if (o->full)
		return stop(f, NBDS_NEED_ROOM);
	f->in = after;
	s->nr_replies_sent = 0;
	s->nr_options++;

	switch (answer) {
	case NBDS_CHOSEN:
		enter(s, NBDS_TRANSMISSION);
		*f->event = (struct nbds_event){ .kind = NBDS_EXPORT_CHOSEN };
		return stop(f, NBDS_EVENT);
	case NBDS_SECURED:
		f->in = cursor_of("", 0);
		*f->event = (struct nbds_event){ .kind = NBDS_TLS_BEGINS };
		return stop(f, NBDS_EVENT);
	case NBDS_CLOSE:
		enter(s, NBDS_OVER_FINISHED);
		return stop(f, NBDS_FINISHED);
	case NBDS_ANSWERED:
		break;
	}
	if (s->stage != NBDS_OPTIONS)
		enter(s, NBDS_OPTIONS);
	return true;
}

static bool step_option(struct feed *f)
{
	struct nbds_session *s = f->session;
	struct cursor in = f->in;
	uint64_t magic = cursor_be64(&in);
	struct nbds_option o = { .session = s, .out = f->out, .option = cursor_be32(&in) };
	uint32_t data_bytes = cursor_be32(&in);
	const uint8_t *data;

	if (in.overrun)
		return stop(f, NBDS_NEED_MORE);
	if (magic != NBD_OPTION_MAGIC || data_bytes > NBD_OPTION_SKIP_MAX ||
	    s->nr_options == NBD_OPTIONS_MAX)
		return stop_broken(f);
	if (data_bytes > NBD_OPTION_BYTES_MAX) {
		f->in = in;
		s->skip_option = o.option;
		s->skip_bytes = data_bytes;
		enter(s, NBDS_SKIPPING);
		return true;
	}

	data = cursor_take(&in, data_bytes);
	if (!data)
		return stop(f, NBDS_NEED_MORE);
	o.data = cursor_of(data, data_bytes);
	return finish_option(f, &o, in);
}

/* Eat an option that is too long to be kept, then answer it without its data. */
static bool step_skip(struct feed *f)
{
	struct nbds_session *s = f->session;
	struct nbds_option o = { .session = s, .out = f->out, .option = s->skip_option };
	size_t now_bytes = min_u64(s->skip_bytes, f->in.left_bytes);

	if (now_bytes && cursor_take(&f->in, now_bytes))
		s->skip_bytes -= (uint32_t)now_bytes;
	if (s->skip_bytes)
		return stop(f, NBDS_NEED_MORE);
	o.too_long = true;
	o.data = cursor_of("", 0);
	return finish_option(f, &o, f->in);
}

/* A wrong magic is known before the rest has come: a client with the other header waits for us. */
static bool step_request(struct feed *f)
{
	const bool extended = f->session->extended;
	const uint32_t wanted = extended ? NBD_REQUEST_EXT_MAGIC : NBD_REQUEST_MAGIC;
	struct cursor in = f->in;
	uint32_t magic = cursor_be32(&in);
	struct nbds_request request;

	if (!in.overrun && magic != wanted)
		return stop_broken(f);
	request.extended = extended;
	request.flags = cursor_be16(&in);
	request.command = cursor_be16(&in);
	request.cookie = cursor_be64(&in);
	request.offset_bytes = cursor_be64(&in);
	request.length_bytes = extended ? cursor_be64(&in) : cursor_be32(&in);
	if (in.overrun)
		return stop(f, NBDS_NEED_MORE);
	f->in = in;
	*f->event = (struct nbds_event){ .kind = NBDS_REQUEST, .request = request };
	return stop(f, NBDS_EVENT);
}

static bool step_broken(struct feed *f)
{
	return stop(f, NBDS_BROKEN);
}

static bool step_finished(struct feed *f)
{
	return stop(f, NBDS_FINISHED);
}

static bool (*const stage_steps[NBDS_STAGES])(struct feed *f) = {
	[NBDS_GREETING] = step_greeting,      [NBDS_CLIENT_FLAGS] = step_client_flags,
	[NBDS_OPTIONS] = step_option,	      [NBDS_SKIPPING] = step_skip,
	[NBDS_TRANSMISSION] = step_request,   [NBDS_OVER_BROKEN] = step_broken,
	[NBDS_OVER_FINISHED] = step_finished,
};

void nbds_init(struct nbds_session *session, const struct nbds_export *exports,
	       unsigned int nr_exports)
{
	assert(nr_exports <= EXPORTS_MAX);
	for (unsigned int i = 0; i < nr_exports; i++) {
		assert(strlen(exports[i].name) <= EXPORT_NAME_BYTES_MAX);
		assert(!exports[i].description ||
		       strlen(exports[i].description) <= EXPORT_DESCRIPTION_BYTES_MAX);
		assert(exports[i].transmission_flags & NBD_FLAG_HAS_FLAGS);
	}
	*session = (struct nbds_session){ .exports = exports, .nr_exports = nr_exports };
}

void nbds_set_tls(struct nbds_session *session, enum nbds_tls tls)
{
	session->tls = tls;
}

void nbds_stop(struct nbds_session *session)
{
	session->stopping = true;
}

enum nbds_progress nbds_feed(struct nbds_session *session, const uint8_t *in, size_t in_bytes,
			     size_t *used, struct nbds_out *out, struct nbds_event *event)
{
	struct feed f = {
		.session = session,
		.in = cursor_of(in, in_bytes),
		.out = out,
		.event = event,
	};

	assert(out->capacity_bytes >= NBDS_OUT_BYTES_MIN && out->used_bytes <= out->capacity_bytes);
	while (stage_steps[session->stage](&f))
		;
	*used = in_bytes - f.in.left_bytes;
	return f.progress;
}
