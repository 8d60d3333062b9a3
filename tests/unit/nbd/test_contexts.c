/* SPDX-License-Identifier: MIT */
/* LIST_META_CONTEXT and SET_META_CONTEXT. */
#include <errno.h>

#include "unit/nbd/nbd_script.h"

#define QUERIES(...) ((const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })

enum {
	ALLOCATION = 1 << NBDS_CONTEXT_ALLOCATION,
	ENCRYPTION = 1 << NBDS_CONTEXT_ENCRYPTION,
};

static struct script script;
static struct talk talk;

static void begin_structured(void)
{
	script_begin(&script, BOTH_CLIENT_FLAGS);
	script_option(&script, NBD_OPT_STRUCTURED_REPLY, 0);
}

static struct cursor run_structured(void)
{
	struct cursor answers;

	talk_at_once(&talk, &script);
	answers = talk_answers(&talk);
	take_ack(&answers, NBD_OPT_STRUCTURED_REPLY);
	return answers;
}

/* The replies to @option name exactly the contexts in @wanted, and end well. */
static void take_contexts(struct cursor *answers, uint32_t option, unsigned int wanted)
{
	static const char *const names[] = { "base:allocation", "x-sealblk:encryption" };

	for (uint32_t id = 1; id <= ARRAY_LEN(names); id++) {
		struct cursor reply;

		if (!(wanted & 1u << id))
			continue;
		reply = take_reply(answers, option, NBD_REP_META_CONTEXT);
		cr_assert_eq(cursor_be32(&reply), option == NBD_OPT_SET_META_CONTEXT ? id : 0);
		expect_text(&reply, names[id - 1]);
	}
	take_ack(answers, option);
}

Test(nbds_contexts, queries_find_what_they_name)
{
	static const struct {
		const char *queries[4];
		unsigned int listed;
		unsigned int selected;
	} rows[] = {
		{ { NULL }, ALLOCATION | ENCRYPTION, 0 },
		{ { "base:allocation" }, ALLOCATION, ALLOCATION },
		{ { "x-sealblk:encryption" }, ENCRYPTION, ENCRYPTION },
		{ { "x-sealblk:encryption", "base:allocation" },
		  ALLOCATION | ENCRYPTION,
		  ALLOCATION | ENCRYPTION },
		{ { "base:allocation", "base:allocation", "base:" }, ALLOCATION, ALLOCATION },
		{ { "base:" }, ALLOCATION, 0 },
		{ { "x-sealblk:" }, ENCRYPTION, 0 },
		{ { "x-sealblk:", "base:allocation" }, ALLOCATION | ENCRYPTION, ALLOCATION },
		{ { "qemu:dirty-bitmap:x" }, 0, 0 },
		{ { "qemu:allocation-depth", "base:allocation" }, ALLOCATION, ALLOCATION },
		{ { "base:nothing" }, 0, 0 },
		{ { "base:allocatio" }, 0, 0 },
		{ { "base:allocations" }, 0, 0 },
		{ { "no colon" }, 0, 0 },
		{ { "" }, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct cursor answers;

		begin_structured();
		script_contexts(&script, NBD_OPT_LIST_META_CONTEXT, "disk", rows[i].queries);
		script_contexts(&script, NBD_OPT_SET_META_CONTEXT, "disk", rows[i].queries);
		answers = run_structured();
		take_contexts(&answers, NBD_OPT_LIST_META_CONTEXT, rows[i].listed);
		take_contexts(&answers, NBD_OPT_SET_META_CONTEXT, rows[i].selected);
		cr_assert_eq(answers.left_bytes, 0, "row %zu", i);
		cr_assert_eq(talk.session.contexts, rows[i].selected, "row %zu", i);
	}
}

Test(nbds_contexts, both_options_need_structured_replies)
{
	for (uint32_t option = NBD_OPT_LIST_META_CONTEXT; option <= NBD_OPT_SET_META_CONTEXT;
	     option++) {
		struct cursor answers;

		script_begin(&script, BOTH_CLIENT_FLAGS);
		script_contexts(&script, option, "disk", QUERIES("base:allocation"));
		talk_at_once(&talk, &script);
		answers = talk_answers(&talk);
		take_error(&answers, option, NBD_REP_ERR_INVALID);
		cr_assert_eq(answers.left_bytes, 0);
		cr_assert_eq(talk.session.contexts, 0);
	}
}

Test(nbds_contexts, malformed_options_are_invalid_and_drop_the_earlier_set)
{
	static const struct {
		const char *what;
		const char *data;
		uint32_t data_bytes;
	} rows[] = {
		{ "nothing", "", 0 },
		{ "name past the end", "\0\0\0\11disk\0\0\0\0", 12 },
		{ "name of 4 GiB", "\377\377\377\377disk\0\0\0\0", 12 },
		{ "no number of queries", "\0\0\0\4disk", 8 },
		{ "a query missing", "\0\0\0\4disk\0\0\0\1", 12 },
		{ "4 G queries missing", "\0\0\0\4disk\377\377\377\377", 12 },
		{ "query past the end", "\0\0\0\4disk\0\0\0\1\0\0\0\6base:", 21 },
		{ "query of 4 GiB", "\0\0\0\4disk\0\0\0\1\377\377\377\377base:", 21 },
		{ "NUL in a query", "\0\0\0\4disk\0\0\0\1\0\0\0\5ba\0e:", 21 },
		{ "bytes left over", "\0\0\0\4disk\0\0\0\0\0", 13 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct cursor answers;

		begin_structured();
		script_contexts(&script, NBD_OPT_SET_META_CONTEXT, "disk",
				QUERIES("base:allocation"));
		script_option(&script, NBD_OPT_SET_META_CONTEXT, rows[i].data_bytes);
		script_bytes(&script, rows[i].data, rows[i].data_bytes);
		script_go(&script, NBD_OPT_GO, "disk", "");
		answers = run_structured();
		take_contexts(&answers, NBD_OPT_SET_META_CONTEXT, ALLOCATION);
		take_error(&answers, NBD_OPT_SET_META_CONTEXT, NBD_REP_ERR_INVALID);
		cr_assert_eq(talk.nr_events, 1, "%s: out of sync", rows[i].what);
		cr_assert_eq(talk.session.contexts, 0, "%s", rows[i].what);
	}
}

Test(nbds_contexts, an_unknown_export_or_an_oversized_option_drops_the_earlier_set)
{
	struct cursor answers;

	begin_structured();
	script_contexts(&script, NBD_OPT_SET_META_CONTEXT, "disk", QUERIES("base:allocation"));
	script_contexts(&script, NBD_OPT_SET_META_CONTEXT, "disc", QUERIES("base:allocation"));
	script_go(&script, NBD_OPT_GO, "disk", "");
	answers = run_structured();
	take_contexts(&answers, NBD_OPT_SET_META_CONTEXT, ALLOCATION);
	take_error(&answers, NBD_OPT_SET_META_CONTEXT, NBD_REP_ERR_UNKNOWN);
	cr_assert_eq(talk.session.contexts, 0);

	begin_structured();
	script_contexts(&script, NBD_OPT_SET_META_CONTEXT, "disk", QUERIES("base:allocation"));
	script_option(&script, NBD_OPT_SET_META_CONTEXT, NBD_OPTION_BYTES_MAX + 1);
	script_fill(&script, 0, NBD_OPTION_BYTES_MAX + 1);
	script_go(&script, NBD_OPT_GO, "disk", "");
	answers = run_structured();
	take_contexts(&answers, NBD_OPT_SET_META_CONTEXT, ALLOCATION);
	take_error(&answers, NBD_OPT_SET_META_CONTEXT, NBD_REP_ERR_TOO_BIG);
	cr_assert_eq(talk.session.contexts, 0);
}

Test(nbds_contexts, a_later_set_replaces_the_earlier_and_a_list_does_not)
{
	begin_structured();
	script_contexts(&script, NBD_OPT_SET_META_CONTEXT, "disk", QUERIES("base:allocation"));
	script_contexts(&script, NBD_OPT_SET_META_CONTEXT, "disk", QUERIES("x-sealblk:encryption"));
	script_contexts(&script, NBD_OPT_LIST_META_CONTEXT, "", QUERIES("base:allocation"));
	script_go(&script, NBD_OPT_GO, "disk", "");
	talk_at_once(&talk, &script);
	cr_assert_eq(talk.session.contexts, ENCRYPTION);

	begin_structured();
	script_contexts(&script, NBD_OPT_SET_META_CONTEXT, "disk", QUERIES("base:allocation"));
	script_contexts(&script, NBD_OPT_SET_META_CONTEXT, "disk", QUERIES());
	script_go(&script, NBD_OPT_GO, "disk", "");
	talk_at_once(&talk, &script);
	cr_assert_eq(talk.session.contexts, 0);
}

Test(nbds_contexts, a_set_counts_only_for_the_export_it_was_made_for)
{
	for (int other = 0; other < 2; other++) {
		begin_structured();
		script_contexts(&script, NBD_OPT_SET_META_CONTEXT, "disk",
				QUERIES("base:allocation"));
		script_go(&script, NBD_OPT_INFO, "", "");
		script_go(&script, NBD_OPT_GO, other ? "" : "disk", "");
		talk_at_once(&talk, &script);
		cr_assert_eq(talk.nr_events, 1);
		cr_assert_eq(talk.session.contexts, other ? 0 : ALLOCATION);
	}
}

Test(nbds_contexts, export_name_drops_a_set_made_for_another_export)
{
	begin_structured();
	script_contexts(&script, NBD_OPT_SET_META_CONTEXT, "disk", QUERIES("base:allocation"));
	script_option(&script, NBD_OPT_EXPORT_NAME, 0);
	talk_at_once(&talk, &script);
	cr_assert_eq(talk.nr_events, 1);
	cr_assert_eq(talk.session.contexts, 0);
}

/* As many queries as an option holds, all of the same length, @last at the end. */
static void script_many_queries(uint32_t option, const char *filler, const char *last)
{
	const uint32_t each_bytes = (uint32_t)(4 + strlen(filler));
	const uint32_t fixed_bytes = (uint32_t)(4 + strlen("disk") + 4 + 4 + strlen(last));
	const uint32_t nr = (NBD_OPTION_BYTES_MAX - fixed_bytes) / each_bytes;

	script_option(&script, option, fixed_bytes + nr * each_bytes);
	script_be32(&script, (uint32_t)strlen("disk"));
	script_bytes(&script, "disk", strlen("disk"));
	script_be32(&script, nr + 1);
	for (uint32_t i = 0; i < nr; i++) {
		script_be32(&script, (uint32_t)strlen(filler));
		script_bytes(&script, filler, strlen(filler));
	}
	script_be32(&script, (uint32_t)strlen(last));
	script_bytes(&script, last, strlen(last));
}

Test(nbds_contexts, thousands_of_queries_find_each_context_once)
{
	static const struct {
		const char *filler;
		const char *last;
		unsigned int listed;
		unsigned int selected;
	} rows[] = {
		{ "", "base:allocation", ALLOCATION, ALLOCATION },
		{ "q:x", "x-sealblk:encryption", ENCRYPTION, ENCRYPTION },
		{ "base:", "base:allocation", ALLOCATION, ALLOCATION },
		{ "base:allocation", "x-sealblk:", ALLOCATION | ENCRYPTION, ALLOCATION },
		{ "x-sealblk:encryption", "base:allocation", ALLOCATION | ENCRYPTION,
		  ALLOCATION | ENCRYPTION },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct cursor answers;

		begin_structured();
		script_many_queries(NBD_OPT_LIST_META_CONTEXT, rows[i].filler, rows[i].last);
		script_many_queries(NBD_OPT_SET_META_CONTEXT, rows[i].filler, rows[i].last);
		answers = run_structured();
		take_contexts(&answers, NBD_OPT_LIST_META_CONTEXT, rows[i].listed);
		take_contexts(&answers, NBD_OPT_SET_META_CONTEXT, rows[i].selected);
		cr_assert_eq(answers.left_bytes, 0, "row %zu", i);
	}
}

Test(nbds_contexts, the_longest_query_is_looked_up_and_a_longer_one_invalid)
{
	for (uint32_t longer = 0; longer < 2; longer++) {
		const uint32_t query_bytes = NBD_NAME_BYTES_MAX + longer;
		struct cursor answers;

		begin_structured();
		script_option(&script, NBD_OPT_LIST_META_CONTEXT, 4 + 4 + 4 + 4 + query_bytes);
		script_be32(&script, 4);
		script_bytes(&script, "disk", 4);
		script_be32(&script, 1);
		script_be32(&script, query_bytes);
		script_fill(&script, 'q', query_bytes);
		answers = run_structured();
		if (longer)
			take_error(&answers, NBD_OPT_LIST_META_CONTEXT, NBD_REP_ERR_INVALID);
		else
			take_ack(&answers, NBD_OPT_LIST_META_CONTEXT);
		cr_assert_eq(answers.left_bytes, 0);
	}
}

/* Room for one reply of the two and the ACK, or for less: the answer comes in pieces. */
Test(nbds_contexts, an_answer_longer_than_the_room_is_the_same_in_pieces)
{
	static struct talk whole;
	static uint8_t room[NBDS_OUT_BYTES_MIN];
	static const size_t filled_bytes[] = { 0, 100, 440, 480, 500, 510, 520, 533 };

	begin_structured();
	script_contexts(&script, NBD_OPT_SET_META_CONTEXT, "disk",
			QUERIES("base:allocation", "x-sealblk:encryption"));
	talk_at_once(&whole, &script);
	for (size_t i = 0; i < ARRAY_LEN(filled_bytes); i++) {
		struct nbds_out out = { .bytes = room, .capacity_bytes = sizeof(room) };
		size_t eaten_bytes = 0, said_bytes = 0, before_bytes = filled_bytes[i];
		enum nbds_progress progress;

		nbds_init(&talk.session, test_exports, ARRAY_LEN(test_exports));
		/* Replies of an earlier option that the client has not taken yet. */
		out.used_bytes = before_bytes;
		do {
			struct nbds_event event;
			size_t used;

			progress = nbds_feed(&talk.session, script.bytes + eaten_bytes,
					     script.nr_bytes - eaten_bytes, &used, &out, &event);
			eaten_bytes += used;
			cr_assert_arr_eq(room + before_bytes, whole.out + said_bytes,
					 out.used_bytes - before_bytes);
			said_bytes += out.used_bytes - before_bytes;
			out.used_bytes = 0;
			before_bytes = 0;
		} while (progress == NBDS_NEED_ROOM);
		cr_assert_eq(said_bytes, whole.out_bytes, "%zu bytes were full", filled_bytes[i]);
		cr_assert_eq(talk.session.contexts, ALLOCATION | ENCRYPTION);
	}
}

Test(nbds_contexts, a_query_is_decoded_or_refused)
{
	static const struct {
		const char *what;
		const char *payload;
		size_t payload_bytes;
		int rc;
		uint32_t contexts;
	} rows[] = {
		{ "one", "\1\2\3\4\5\6\7\x08\0\0\0\1", 12, 0, ALLOCATION },
		{ "the other", "\1\2\3\4\5\6\7\x08\0\0\0\2", 12, 0, ENCRYPTION },
		{ "both", "\1\2\3\4\5\6\7\x08\0\0\0\2\0\0\0\1", 16, 0, ALLOCATION | ENCRYPTION },
		{ "one twice", "\1\2\3\4\5\6\7\x08\0\0\0\1\0\0\0\1", 16, -EINVAL, 0 },
		{ "id 0", "\1\2\3\4\5\6\7\x08\0\0\0\0", 12, -EINVAL, 0 },
		{ "id 3", "\1\2\3\4\5\6\7\x08\0\0\0\3", 12, -EINVAL, 0 },
		{ "id 33", "\1\2\3\4\5\6\7\x08\0\0\0\41", 12, -EINVAL, 0 },
		{ "largest id", "\1\2\3\4\5\6\7\x08\377\377\377\377", 12, -EINVAL, 0 },
		{ "none", "\1\2\3\4\5\6\7\x08", 8, -EINVAL, 0 },
		{ "half a length", "\1\2\3\4", 4, -EINVAL, 0 },
		{ "nothing", "", 0, -EINVAL, 0 },
		{ "half an id", "\1\2\3\4\5\6\7\x08\0\0\0\1\0\0", 14, -EINVAL, 0 },
		{ "three", "\1\2\3\4\5\6\7\x08\0\0\0\1\0\0\0\2\0\0\0\1", 20, -EINVAL, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint64_t effect_bytes = 0;
		uint32_t contexts = 0;
		int rc = nbds_decode_query((const uint8_t *)rows[i].payload, rows[i].payload_bytes,
					   &effect_bytes, &contexts);

		cr_assert_eq(rc, rows[i].rc, "%s: %d", rows[i].what, rc);
		cr_assert_eq(contexts, rows[i].contexts, "%s", rows[i].what);
		cr_assert_eq(effect_bytes, rc ? 0 : 0x0102030405060708, "%s", rows[i].what);
	}
}
