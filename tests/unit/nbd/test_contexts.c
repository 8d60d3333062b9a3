/* SPDX-License-Identifier: MIT */
/* LIST_META_CONTEXT and SET_META_CONTEXT. */
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
	cr_assert_not(nbds_has_context(&talk.session, NBDS_CONTEXT_ALLOCATION));
	cr_assert(nbds_has_context(&talk.session, NBDS_CONTEXT_ENCRYPTION));

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
		cr_assert_eq(nbds_has_context(&talk.session, NBDS_CONTEXT_ALLOCATION), !other);
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
