/* SPDX-License-Identifier: MIT */
/*
 * The client's side for tests of the NBD session: scripts of bytes, and a
 * connection that delivers them in pieces and keeps what came back.
 */
#ifndef TESTS_NBD_SCRIPT_H
#define TESTS_NBD_SCRIPT_H

#include <criterion/criterion.h>
#include <string.h>

#include "base/cursor.h"
#include "nbd/session.h"

enum {
	SCRIPT_BYTES_MAX = NBD_OPTION_SKIP_MAX + (64 << 10),
	TALK_OUT_BYTES_MAX = 256 << 10,
	TALK_EVENTS_MAX = 16,
	ALL_AT_ONCE = SCRIPT_BYTES_MAX,
	ROOM_PLENTY = 64 << 10,
	BOTH_CLIENT_FLAGS = NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES,
	/* Shown to who negotiated structured replies; what needs more is another one. */
	TEST_FLAGS = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_DF,
	EXPORT_FLAGS = TEST_FLAGS | NBD_FLAG_BLOCK_STATUS_PAYLOAD,
};

static const struct nbds_export test_exports[] = {
	{ "disk", "first disk", 8 * MIB, 512, 4096, 32 << 20, EXPORT_FLAGS },
	{ "", NULL, 3 * TIB, 512, 4096, 32 << 20, EXPORT_FLAGS | NBD_FLAG_READ_ONLY },
};

struct script {
	uint8_t bytes[SCRIPT_BYTES_MAX];
	size_t nr_bytes;
};

static inline void script_bytes(struct script *s, const void *bytes, size_t nr_bytes)
{
	cr_assert_leq(nr_bytes, sizeof(s->bytes) - s->nr_bytes);
	if (nr_bytes)
		memcpy(s->bytes + s->nr_bytes, bytes, nr_bytes);
	s->nr_bytes += nr_bytes;
}

static inline void script_be16(struct script *s, uint16_t n)
{
	script_bytes(s, &(be16[]){ be16_of(n) }, 2);
}

static inline void script_be32(struct script *s, uint32_t n)
{
	script_bytes(s, &(be32[]){ be32_of(n) }, 4);
}

static inline void script_be64(struct script *s, uint64_t n)
{
	script_bytes(s, &(be64[]){ be64_of(n) }, 8);
}

/* Only the header: @data_bytes is what it claims. */
static inline void script_option(struct script *s, uint32_t option, uint32_t data_bytes)
{
	script_be64(s, NBD_OPTION_MAGIC);
	script_be32(s, option);
	script_be32(s, data_bytes);
}

static inline void script_fill(struct script *s, uint8_t byte, size_t nr_bytes)
{
	cr_assert_leq(nr_bytes, sizeof(s->bytes) - s->nr_bytes);
	memset(s->bytes + s->nr_bytes, byte, nr_bytes);
	s->nr_bytes += nr_bytes;
}

/* A fresh script that begins with the client's flags. */
static inline void script_begin(struct script *s, uint32_t client_flags)
{
	s->nr_bytes = 0;
	script_be32(s, client_flags);
}

/* INFO or GO asking for the types in @types, a string of digits. */
static inline void script_go(struct script *s, uint32_t option, const char *name, const char *types)
{
	size_t name_bytes = strlen(name);

	script_option(s, option, (uint32_t)(4 + name_bytes + 2 + 2 * strlen(types)));
	script_be32(s, (uint32_t)name_bytes);
	script_bytes(s, name, name_bytes);
	script_be16(s, (uint16_t)strlen(types));
	for (; *types; types++)
		script_be16(s, (uint16_t)(*types - '0'));
}

/* LIST or SET_META_CONTEXT; @queries ends with NULL. */
static inline void script_contexts(struct script *s, uint32_t option, const char *name,
				   const char *const *queries)
{
	uint32_t nr_queries = 0;
	uint32_t data_bytes = (uint32_t)(8 + strlen(name));

	for (; queries[nr_queries]; nr_queries++)
		data_bytes += (uint32_t)(4 + strlen(queries[nr_queries]));
	script_option(s, option, data_bytes);
	script_be32(s, (uint32_t)strlen(name));
	script_bytes(s, name, strlen(name));
	script_be32(s, nr_queries);
	for (uint32_t i = 0; i < nr_queries; i++) {
		script_be32(s, (uint32_t)strlen(queries[i]));
		script_bytes(s, queries[i], strlen(queries[i]));
	}
}

static inline void script_request(struct script *s, const struct nbds_request *r)
{
	script_be32(s, r->extended ? NBD_REQUEST_EXT_MAGIC : NBD_REQUEST_MAGIC);
	script_be16(s, r->flags);
	script_be16(s, r->command);
	script_be64(s, r->cookie);
	script_be64(s, r->offset_bytes);
	if (r->extended)
		script_be64(s, r->length_bytes);
	else
		script_be32(s, (uint32_t)r->length_bytes);
}

/* One connection: what the session said and did. */
struct talk {
	enum nbds_tls tls; /* what the server has, set before talk_run() */
	struct nbds_session session;
	uint8_t out[TALK_OUT_BYTES_MAX];
	size_t out_bytes;
	struct nbds_event events[TALK_EVENTS_MAX];
	unsigned int nr_events;
	enum nbds_progress end;
	size_t eaten_bytes;
};

struct delivery {
	size_t first_bytes; /* what the first receive brings */
	size_t step_bytes;  /* and every later one */
	size_t room_bytes;  /* the send buffer */
};

static inline void talk_send(struct talk *t, struct nbds_out *out)
{
	cr_assert_leq(out->used_bytes, sizeof(t->out) - t->out_bytes);
	memcpy(t->out + t->out_bytes, out->bytes, out->used_bytes);
	t->out_bytes += out->used_bytes;
	out->used_bytes = 0;
}

static inline void talk_event(struct talk *t, const struct nbds_event *event)
{
	cr_assert_lt(t->nr_events, TALK_EVENTS_MAX);
	t->events[t->nr_events++] = *event;
	if (event->kind == NBDS_REQUEST)
		t->eaten_bytes += nbds_request_payload_bytes(&event->request);
}

/* Runs @s through a new session as a connection would; ends when there is nothing left to do. */
static inline void talk_run(struct talk *t, const struct script *s, struct delivery d)
{
	static uint8_t room[ROOM_PLENTY];
	struct nbds_out out = { .bytes = room, .capacity_bytes = d.room_bytes };
	size_t arrived_bytes = d.first_bytes < s->nr_bytes ? d.first_bytes : s->nr_bytes;

	t->out_bytes = 0;
	t->nr_events = 0;
	t->eaten_bytes = 0;
	nbds_init(&t->session, test_exports, ARRAY_LEN(test_exports));
	nbds_set_tls(&t->session, t->tls);
	for (;;) {
		struct nbds_event event;
		size_t used;

		t->end = NBDS_NEED_MORE;
		if (t->eaten_bytes <= arrived_bytes) {
			t->end = nbds_feed(&t->session, s->bytes + t->eaten_bytes,
					   arrived_bytes - t->eaten_bytes, &used, &out, &event);
			cr_assert_leq(used, arrived_bytes - t->eaten_bytes);
			t->eaten_bytes += used;
		}
		if (t->end == NBDS_EVENT) {
			talk_event(t, &event);
			continue;
		}
		if (t->end == NBDS_NEED_ROOM)
			cr_assert_gt(out.used_bytes, 0, "progress needs a reply to send");
		talk_send(t, &out);
		if (t->end == NBDS_NEED_ROOM)
			continue;
		if (t->end != NBDS_NEED_MORE || arrived_bytes == s->nr_bytes)
			return;
		if (t->eaten_bytes < arrived_bytes)
			cr_assert_lt(arrived_bytes - t->eaten_bytes, NBDS_IN_BYTES_MAX);
		arrived_bytes = min_u64(arrived_bytes + d.step_bytes, s->nr_bytes);
	}
}

static inline void talk_at_once(struct talk *t, const struct script *s)
{
	talk_run(t, s, (struct delivery){ ALL_AT_ONCE, ALL_AT_ONCE, ROOM_PLENTY });
}

/* What the server sent, behind its greeting. */
static inline struct cursor talk_answers(const struct talk *t)
{
	struct cursor c = cursor_of(t->out, t->out_bytes);

	cr_assert_eq(cursor_be64(&c), NBD_MAGIC);
	cr_assert_eq(cursor_be64(&c), NBD_OPTION_MAGIC);
	cr_assert_eq(cursor_be16(&c), NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	return c;
}

/* The next reply must be @type to @option; returns its data. */
static inline struct cursor take_reply(struct cursor *answers, uint32_t option, uint32_t type)
{
	uint64_t magic = cursor_be64(answers);
	uint32_t to_option = cursor_be32(answers);
	uint32_t got_type = cursor_be32(answers);
	uint32_t data_bytes = cursor_be32(answers);
	const uint8_t *data = cursor_take(answers, data_bytes);

	cr_assert_not_null(data, "no reply to option %u", option);
	cr_assert_eq(magic, NBD_OPTION_REPLY_MAGIC);
	cr_assert_eq(to_option, option, "reply to option %u, not %u", to_option, option);
	cr_assert_eq(got_type, type, "option %u: reply type %#x, not %#x", option, got_type, type);
	return cursor_of(data, data_bytes);
}

static inline void take_ack(struct cursor *answers, uint32_t option)
{
	cr_assert_eq(take_reply(answers, option, NBD_REP_ACK).left_bytes, 0);
}

/* An error reply, which must say something to a person. */
static inline void take_error(struct cursor *answers, uint32_t option, uint32_t type)
{
	struct cursor text = take_reply(answers, option, type);

	cr_assert_gt(text.left_bytes, 0, "option %u: no text", option);
	cr_assert_null(memchr(text.at, '\0', text.left_bytes));
}

/* The rest of a reply is exactly @text. */
static inline void expect_text(struct cursor *c, const char *text)
{
	cr_assert_eq(c->left_bytes, strlen(text), "%zu bytes, not '%s'", c->left_bytes, text);
	cr_assert_arr_eq(c->at, text, strlen(text));
}

/* xorshift64*: the same numbers on every run. */
static inline uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(0x2545f4914f6cdd1d);
}

#endif
