/* SPDX-License-Identifier: MIT */
/* What each option of the handshake is answered with. */
#include "unit/nbd/nbd_script.h"

static struct script script;
static struct talk talk;

static void expect_end(enum nbds_progress end, struct cursor answers)
{
	cr_assert_eq(talk.end, end, "progress %d", (int)talk.end);
	cr_assert_eq(answers.left_bytes, 0, "%zu bytes too many", answers.left_bytes);
	cr_assert_not(answers.overrun);
}

static void expect_chosen(unsigned int index)
{
	cr_assert_eq(talk.nr_events, 1);
	cr_assert_eq(talk.events[0].kind, NBDS_EXPORT_CHOSEN);
	cr_assert_eq(talk.session.export_index, index);
	cr_assert_eq(talk.session.stage, NBDS_TRANSMISSION);
}

static void expect_info_export(struct cursor *answers, uint32_t option, uint64_t bytes,
			       uint16_t flags)
{
	struct cursor info = take_reply(answers, option, NBD_REP_INFO);

	cr_assert_eq(info.left_bytes, 12);
	cr_assert_eq(cursor_be16(&info), NBD_INFO_EXPORT);
	cr_assert_eq(cursor_be64(&info), bytes);
	cr_assert_eq(cursor_be16(&info), flags);
}

Test(nbds_options, export_name_is_answered_with_zeroes_unless_negotiated_away)
{
	static const uint8_t zeroes[124];
	struct cursor answers;

	for (int no_zeroes = 0; no_zeroes < 2; no_zeroes++) {
		script_begin(&script, no_zeroes ? BOTH_CLIENT_FLAGS : NBD_FLAG_C_FIXED_NEWSTYLE);
		script_option(&script, NBD_OPT_EXPORT_NAME, 4);
		script_bytes(&script, "disk", 4);
		talk_at_once(&talk, &script);
		answers = talk_answers(&talk);
		cr_assert_eq(cursor_be64(&answers), 8 * MIB);
		cr_assert_eq(cursor_be16(&answers), TEST_FLAGS & ~NBD_FLAG_SEND_DF);
		if (!no_zeroes)
			cr_assert_arr_eq(cursor_take(&answers, 124), zeroes, 124);
		expect_end(NBDS_NEED_MORE, answers);
		expect_chosen(0);
	}
}

Test(nbds_options, export_name_finds_the_default_export_by_its_empty_name)
{
	struct cursor answers;

	script_begin(&script, BOTH_CLIENT_FLAGS);
	script_option(&script, NBD_OPT_EXPORT_NAME, 0);
	talk_at_once(&talk, &script);
	answers = talk_answers(&talk);
	cr_assert_eq(cursor_be64(&answers), 3 * TIB);
	cr_assert_eq(cursor_be16(&answers), (TEST_FLAGS | NBD_FLAG_READ_ONLY) & ~NBD_FLAG_SEND_DF);
	expect_end(NBDS_NEED_MORE, answers);
	expect_chosen(1);
}

Test(nbds_options, export_name_it_cannot_satisfy_ends_the_session_without_a_word)
{
	static const struct {
		const char *what;
		uint32_t name_bytes;
		const char *begin;
		size_t begin_bytes;
	} rows[] = {
		{ "unknown", 5, "disks", 5 },
		{ "shorter", 3, "dis", 3 },
		{ "NUL at the end", 5, "disk\0", 5 },
		{ "longest string", NBD_NAME_BYTES_MAX, "disk", 4 },
		{ "longer than a string", NBD_NAME_BYTES_MAX + 1, "disk", 4 },
		{ "longer than an option", NBD_OPTION_BYTES_MAX + 1, "disk", 4 },
		{ "longest skipped", NBD_OPTION_SKIP_MAX, "", 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		script_begin(&script, BOTH_CLIENT_FLAGS);
		script_option(&script, NBD_OPT_EXPORT_NAME, rows[i].name_bytes);
		script_bytes(&script, rows[i].begin, rows[i].begin_bytes);
		script_fill(&script, 'x', rows[i].name_bytes - rows[i].begin_bytes);
		talk_at_once(&talk, &script);
		expect_end(NBDS_FINISHED, talk_answers(&talk));
		cr_assert_eq(talk.nr_events, 0, "%s", rows[i].what);
	}
}

Test(nbds_options, abort_is_acknowledged_whatever_data_comes_with_it)
{
	static const uint32_t data_bytes[] = { 0, 1, NBD_OPTION_BYTES_MAX, NBD_OPTION_BYTES_MAX + 1,
					       NBD_OPTION_SKIP_MAX };

	for (size_t i = 0; i < ARRAY_LEN(data_bytes); i++) {
		struct cursor answers;

		script_begin(&script, BOTH_CLIENT_FLAGS);
		script_option(&script, NBD_OPT_ABORT, data_bytes[i]);
		script_fill(&script, 0, data_bytes[i]);
		talk_at_once(&talk, &script);
		answers = talk_answers(&talk);
		take_ack(&answers, NBD_OPT_ABORT);
		expect_end(NBDS_FINISHED, answers);
	}
}

Test(nbds_options, list_names_and_describes_every_export)
{
	struct cursor answers, server;

	script_begin(&script, BOTH_CLIENT_FLAGS);
	script_option(&script, NBD_OPT_LIST, 0);
	talk_at_once(&talk, &script);
	answers = talk_answers(&talk);

	server = take_reply(&answers, NBD_OPT_LIST, NBD_REP_SERVER);
	cr_assert_eq(cursor_be32(&server), 4);
	expect_text(&server, "diskfirst disk");
	server = take_reply(&answers, NBD_OPT_LIST, NBD_REP_SERVER);
	cr_assert_eq(cursor_be32(&server), 0);
	expect_text(&server, "");
	take_ack(&answers, NBD_OPT_LIST);
	expect_end(NBDS_NEED_MORE, answers);
}

/* Options that fail must leave the session able to go on. */
Test(nbds_options, refused_options_get_an_error_with_a_text_and_stay_in_sync)
{
	static const struct {
		uint32_t option;
		uint32_t data_bytes;
		uint32_t error;
	} rows[] = {
		{ NBD_OPT_LIST, 1, NBD_REP_ERR_INVALID },
		{ NBD_OPT_LIST, NBD_OPTION_BYTES_MAX + 1, NBD_REP_ERR_INVALID },
		{ NBD_OPT_STRUCTURED_REPLY, 4, NBD_REP_ERR_INVALID },
		{ NBD_OPT_STARTTLS, 0, NBD_REP_ERR_UNSUP },
		{ NBD_OPT_STARTTLS, 9, NBD_REP_ERR_INVALID },
		{ NBD_OPT_EXTENDED_HEADERS, 4, NBD_REP_ERR_INVALID },
		{ NBD_OPT_EXTENDED_HEADERS, NBD_OPTION_SKIP_MAX, NBD_REP_ERR_INVALID },
		{ 0, 0, NBD_REP_ERR_UNSUP },
		{ 4, 3, NBD_REP_ERR_UNSUP },
		{ UINT32_MAX, 0, NBD_REP_ERR_UNSUP },
		{ 12, NBD_OPTION_BYTES_MAX, NBD_REP_ERR_UNSUP },
		{ 12, NBD_OPTION_SKIP_MAX, NBD_REP_ERR_UNSUP },
		{ NBD_OPT_GO, 0, NBD_REP_ERR_INVALID },
		{ NBD_OPT_GO, NBD_OPTION_BYTES_MAX, NBD_REP_ERR_INVALID },
		{ NBD_OPT_GO, NBD_OPTION_BYTES_MAX + 1, NBD_REP_ERR_TOO_BIG },
		{ NBD_OPT_INFO, NBD_OPTION_SKIP_MAX, NBD_REP_ERR_TOO_BIG },
		{ NBD_OPT_SET_META_CONTEXT, NBD_OPTION_SKIP_MAX, NBD_REP_ERR_TOO_BIG },
		{ NBD_OPT_LIST_META_CONTEXT, NBD_OPTION_BYTES_MAX + 1, NBD_REP_ERR_TOO_BIG },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct cursor answers;

		script_begin(&script, BOTH_CLIENT_FLAGS);
		script_option(&script, rows[i].option, rows[i].data_bytes);
		script_fill(&script, 0xff, rows[i].data_bytes);
		script_option(&script, NBD_OPT_ABORT, 0);
		talk_at_once(&talk, &script);
		answers = talk_answers(&talk);
		take_error(&answers, rows[i].option, rows[i].error);
		take_ack(&answers, NBD_OPT_ABORT);
		expect_end(NBDS_FINISHED, answers);
		cr_assert_not(talk.session.structured);
		cr_assert_not(talk.session.extended);
	}
}

Test(nbds_options, info_and_go_with_malformed_data_are_invalid)
{
	static const struct {
		const char *what;
		uint32_t name_bytes; /* as claimed */
		const char *rest;
		uint32_t rest_bytes;
	} rows[] = {
		{ "name to the option's end", 6, "disk\0\0", 6 },
		{ "name past the option", 7, "disk\0\0", 6 },
		{ "name of 4 GiB", UINT32_MAX, "disk\0\0", 6 },
		{ "name wraps to the count", UINT32_MAX - 3, "disk\0\0", 6 },
		{ "no count", 4, "disk", 4 },
		{ "half a count", 4, "disk\0", 5 },
		{ "one type missing", 4, "disk\0\1", 6 },
		{ "half a type missing", 4, "disk\0\1\0", 7 },
		{ "a byte left over", 4, "disk\0\0\0", 7 },
		{ "a type left over", 4, "disk\0\0\0\3", 8 },
		{ "65535 types missing", 4, "disk\xff\xff\0\0", 8 },
		{ "NUL inside the name", 4, "d\0sk\0\0", 6 },
	};

	for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
		size_t row = i / 2;
		uint32_t option = i % 2 ? NBD_OPT_GO : NBD_OPT_INFO;
		struct cursor answers;

		script_begin(&script, BOTH_CLIENT_FLAGS);
		script_option(&script, option, 4 + rows[row].rest_bytes);
		script_be32(&script, rows[row].name_bytes);
		script_bytes(&script, rows[row].rest, rows[row].rest_bytes);
		script_go(&script, NBD_OPT_GO, "disk", "");
		talk_at_once(&talk, &script);
		answers = talk_answers(&talk);
		take_error(&answers, option, NBD_REP_ERR_INVALID);
		expect_info_export(&answers, NBD_OPT_GO, 8 * MIB, TEST_FLAGS & ~NBD_FLAG_SEND_DF);
		take_ack(&answers, NBD_OPT_GO);
		expect_end(NBDS_NEED_MORE, answers);
		cr_assert_eq(talk.nr_events, 1, "%s", rows[row].what);
	}
}

Test(nbds_options, the_longest_name_is_unknown_and_a_longer_one_invalid)
{
	for (uint32_t longer = 0; longer < 2; longer++) {
		uint32_t name_bytes = NBD_NAME_BYTES_MAX + longer;
		struct cursor answers;

		script_begin(&script, BOTH_CLIENT_FLAGS);
		script_option(&script, NBD_OPT_INFO, 4 + name_bytes + 2);
		script_be32(&script, name_bytes);
		script_fill(&script, 'n', name_bytes);
		script_be16(&script, 0);
		talk_at_once(&talk, &script);
		answers = talk_answers(&talk);
		take_error(&answers, NBD_OPT_INFO,
			   longer ? NBD_REP_ERR_INVALID : NBD_REP_ERR_UNKNOWN);
		expect_end(NBDS_NEED_MORE, answers);
	}
}

Test(nbds_options, go_on_an_unknown_export_fails_and_a_known_one_may_follow)
{
	struct cursor answers;

	script_begin(&script, BOTH_CLIENT_FLAGS);
	script_go(&script, NBD_OPT_GO, "disk2", "3");
	script_go(&script, NBD_OPT_GO, "", "");
	talk_at_once(&talk, &script);
	answers = talk_answers(&talk);
	take_error(&answers, NBD_OPT_GO, NBD_REP_ERR_UNKNOWN);
	expect_info_export(&answers, NBD_OPT_GO, 3 * TIB,
			   (TEST_FLAGS | NBD_FLAG_READ_ONLY) & ~NBD_FLAG_SEND_DF);
	take_ack(&answers, NBD_OPT_GO);
	expect_end(NBDS_NEED_MORE, answers);
	expect_chosen(1);
}

/* INFO_EXPORT always, the others once each when asked for, unknown types never. */
Test(nbds_options, info_gives_what_was_asked_for_and_go_gives_the_same)
{
	script_begin(&script, BOTH_CLIENT_FLAGS);
	script_option(&script, NBD_OPT_STRUCTURED_REPLY, 0);
	script_go(&script, NBD_OPT_INFO, "disk", "3219333");
	script_go(&script, NBD_OPT_GO, "disk", "3219333");
	talk_at_once(&talk, &script);

	struct cursor answers = talk_answers(&talk);

	take_ack(&answers, NBD_OPT_STRUCTURED_REPLY);
	for (uint32_t option = NBD_OPT_INFO; option <= NBD_OPT_GO; option++) {
		struct cursor info;

		expect_info_export(&answers, option, 8 * MIB, TEST_FLAGS);
		info = take_reply(&answers, option, NBD_REP_INFO);
		cr_assert_eq(cursor_be16(&info), NBD_INFO_NAME);
		expect_text(&info, "disk");
		info = take_reply(&answers, option, NBD_REP_INFO);
		cr_assert_eq(cursor_be16(&info), NBD_INFO_DESCRIPTION);
		expect_text(&info, "first disk");
		info = take_reply(&answers, option, NBD_REP_INFO);
		cr_assert_eq(info.left_bytes, 14);
		cr_assert_eq(cursor_be16(&info), NBD_INFO_BLOCK_SIZE);
		cr_assert_eq(cursor_be32(&info), 512);
		cr_assert_eq(cursor_be32(&info), 4096);
		cr_assert_eq(cursor_be32(&info), 32 << 20);
		take_ack(&answers, option);
	}
	expect_end(NBDS_NEED_MORE, answers);
	expect_chosen(0);
}

Test(nbds_options, an_export_without_description_sends_none)
{
	struct cursor answers;

	script_begin(&script, BOTH_CLIENT_FLAGS);
	script_go(&script, NBD_OPT_INFO, "", "2");
	talk_at_once(&talk, &script);
	answers = talk_answers(&talk);
	take_reply(&answers, NBD_OPT_INFO, NBD_REP_INFO);
	take_ack(&answers, NBD_OPT_INFO);
	expect_end(NBDS_NEED_MORE, answers);
	cr_assert_eq(talk.nr_events, 0);
}

Test(nbds_options, df_is_offered_only_with_structured_replies)
{
	for (int structured = 0; structured < 2; structured++) {
		struct cursor answers;

		script_begin(&script, BOTH_CLIENT_FLAGS);
		if (structured)
			script_option(&script, NBD_OPT_STRUCTURED_REPLY, 0);
		script_go(&script, NBD_OPT_GO, "disk", "");
		talk_at_once(&talk, &script);
		answers = talk_answers(&talk);
		if (structured)
			take_ack(&answers, NBD_OPT_STRUCTURED_REPLY);
		expect_info_export(&answers, NBD_OPT_GO, 8 * MIB,
				   structured ? TEST_FLAGS : TEST_FLAGS & ~NBD_FLAG_SEND_DF);
		cr_assert_eq(talk.session.structured, structured);
	}
}

Test(nbds_options, extended_headers_take_the_place_of_structured_replies)
{
	for (int first = 0; first < 2; first++) {
		struct cursor answers;

		script_begin(&script, BOTH_CLIENT_FLAGS);
		if (first)
			script_option(&script, NBD_OPT_STRUCTURED_REPLY, 0);
		script_option(&script, NBD_OPT_EXTENDED_HEADERS, 0);
		script_option(&script, NBD_OPT_STRUCTURED_REPLY, 0);
		script_option(&script, NBD_OPT_EXTENDED_HEADERS, 0);
		script_go(&script, NBD_OPT_GO, "disk", "");
		talk_at_once(&talk, &script);
		answers = talk_answers(&talk);
		if (first)
			take_ack(&answers, NBD_OPT_STRUCTURED_REPLY);
		take_ack(&answers, NBD_OPT_EXTENDED_HEADERS);
		take_error(&answers, NBD_OPT_STRUCTURED_REPLY, NBD_REP_ERR_EXT_HEADER_REQD);
		take_ack(&answers, NBD_OPT_EXTENDED_HEADERS);
		expect_info_export(&answers, NBD_OPT_GO, 8 * MIB, TEST_FLAGS);
		take_ack(&answers, NBD_OPT_GO);
		expect_end(NBDS_NEED_MORE, answers);
		cr_assert(talk.session.extended);
		cr_assert(talk.session.structured, "all that needs chunks is open");
	}
}

Test(nbds_options, status_payloads_are_offered_only_with_extended_headers_and_a_context)
{
	static const char *const queries[] = { "base:allocation", NULL };
	static const char *const nothing[] = { "base:", NULL };
	static const struct {
		bool extended;
		const char *selected_for; /* NULL: nothing is */
		const char *const *queries;
		bool shown;
	} rows[] = {
		{ true, "disk", queries, true },   { true, "", queries, false },
		{ true, "disk", nothing, false },  { true, NULL, NULL, false },
		{ false, "disk", queries, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const uint32_t how = rows[i].extended ? NBD_OPT_EXTENDED_HEADERS
						      : NBD_OPT_STRUCTURED_REPLY;
		struct cursor answers;

		script_begin(&script, BOTH_CLIENT_FLAGS);
		script_option(&script, how, 0);
		if (rows[i].selected_for)
			script_contexts(&script, NBD_OPT_SET_META_CONTEXT, rows[i].selected_for,
					rows[i].queries);
		script_go(&script, NBD_OPT_INFO, "disk", "");
		script_go(&script, NBD_OPT_GO, "disk", "");
		talk_at_once(&talk, &script);
		answers = talk_answers(&talk);
		take_ack(&answers, how);
		if (rows[i].queries == queries)
			take_reply(&answers, NBD_OPT_SET_META_CONTEXT, NBD_REP_META_CONTEXT);
		if (rows[i].selected_for)
			take_ack(&answers, NBD_OPT_SET_META_CONTEXT);
		for (uint32_t option = NBD_OPT_INFO; option <= NBD_OPT_GO; option++) {
			expect_info_export(&answers, option, 8 * MIB,
					   rows[i].shown ? EXPORT_FLAGS : TEST_FLAGS);
			take_ack(&answers, option);
		}
		expect_end(NBDS_NEED_MORE, answers);
	}
}

Test(nbds_options, export_name_after_extended_headers_ends_the_session)
{
	struct cursor answers;

	script_begin(&script, BOTH_CLIENT_FLAGS);
	script_option(&script, NBD_OPT_EXTENDED_HEADERS, 0);
	script_option(&script, NBD_OPT_EXPORT_NAME, 4);
	script_bytes(&script, "disk", 4);
	talk_at_once(&talk, &script);
	answers = talk_answers(&talk);
	take_ack(&answers, NBD_OPT_EXTENDED_HEADERS);
	expect_end(NBDS_FINISHED, answers);
	cr_assert_eq(talk.nr_events, 0);
}

/* Feeds what there is, and keeps what is said behind what was said before. */
static enum nbds_progress feed_all(struct nbds_session *session, const struct script *s,
				   size_t *eaten_bytes, struct nbds_out *out)
{
	struct nbds_event event;
	size_t used;
	enum nbds_progress progress = nbds_feed(session, s->bytes + *eaten_bytes,
						s->nr_bytes - *eaten_bytes, &used, out, &event);

	*eaten_bytes += used;
	return progress;
}

Test(nbds_options, a_server_that_stops_says_so_to_all_but_abort)
{
	static const uint32_t options[] = { NBD_OPT_LIST, NBD_OPT_STRUCTURED_REPLY,
					    NBD_OPT_STARTTLS, 99 };
	struct nbds_out out = { .bytes = talk.out, .capacity_bytes = sizeof(talk.out) };
	struct nbds_session session;
	struct cursor answers;
	size_t eaten_bytes = 0;

	nbds_init(&session, test_exports, ARRAY_LEN(test_exports));
	script_begin(&script, BOTH_CLIENT_FLAGS);
	script_option(&script, NBD_OPT_LIST, 0);
	cr_assert_eq(feed_all(&session, &script, &eaten_bytes, &out), NBDS_NEED_MORE);
	out.used_bytes = 0;

	nbds_stop(&session);
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		script_option(&script, options[i], 0);
	script_go(&script, NBD_OPT_GO, "disk", "");
	script_option(&script, NBD_OPT_SET_META_CONTEXT, NBD_OPTION_BYTES_MAX + 1);
	script_fill(&script, 0, NBD_OPTION_BYTES_MAX + 1);
	script_option(&script, NBD_OPT_ABORT, 0);
	cr_assert_eq(feed_all(&session, &script, &eaten_bytes, &out), NBDS_FINISHED);
	answers = cursor_of(talk.out, out.used_bytes);
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		take_error(&answers, options[i], NBD_REP_ERR_SHUTDOWN);
	take_error(&answers, NBD_OPT_GO, NBD_REP_ERR_SHUTDOWN);
	take_error(&answers, NBD_OPT_SET_META_CONTEXT, NBD_REP_ERR_SHUTDOWN);
	take_ack(&answers, NBD_OPT_ABORT);
	cr_assert_eq(answers.left_bytes, 0);
}

Test(nbds_options, a_server_that_stops_ends_a_session_by_export_name)
{
	struct nbds_out out = { .bytes = talk.out, .capacity_bytes = sizeof(talk.out) };
	struct nbds_session session;
	size_t eaten_bytes = 0;

	nbds_init(&session, test_exports, ARRAY_LEN(test_exports));
	nbds_stop(&session);
	script_begin(&script, BOTH_CLIENT_FLAGS);
	script_option(&script, NBD_OPT_EXPORT_NAME, 4);
	script_bytes(&script, "disk", 4);
	cr_assert_eq(feed_all(&session, &script, &eaten_bytes, &out), NBDS_FINISHED);
	cr_assert_eq(out.used_bytes, sizeof(struct nbd_greeting));
}

/* The client counts the replies to an option: it must not lose the last ones. */
Test(nbds_options, an_answer_that_has_begun_is_finished_by_a_server_that_stops)
{
	static struct talk whole;
	static uint8_t room[NBDS_OUT_BYTES_MIN];
	struct nbds_out out = { .bytes = room, .capacity_bytes = sizeof(room) };
	struct nbds_session session;
	size_t eaten_bytes = 0;

	script_begin(&script, BOTH_CLIENT_FLAGS);
	script_option(&script, NBD_OPT_LIST, 0);
	talk_at_once(&whole, &script);

	nbds_init(&session, test_exports, ARRAY_LEN(test_exports));
	/* The greeting and the first of two exports fit, what follows does not. */
	out.used_bytes = sizeof(room) - (18 + 20 + 4 + strlen("diskfirst disk"));
	cr_assert_eq(feed_all(&session, &script, &eaten_bytes, &out), NBDS_NEED_ROOM);
	cr_assert_eq(out.used_bytes, sizeof(room));
	nbds_stop(&session);
	out.used_bytes = 0;
	cr_assert_eq(feed_all(&session, &script, &eaten_bytes, &out), NBDS_NEED_MORE);
	cr_assert_arr_eq(room, whole.out + whole.out_bytes - out.used_bytes, out.used_bytes);
	cr_assert_eq(out.used_bytes, 20 + 4 + 20);
}

/* ---- STARTTLS ---- */

static void talk_with_tls(const struct script *s, enum nbds_tls tls, size_t step_bytes)
{
	talk.tls = tls;
	talk_run(&talk, s, (struct delivery){ step_bytes, step_bytes, ROOM_PLENTY });
	talk.tls = NBDS_TLS_NONE;
}

Test(nbds_options, starttls_forgets_what_was_negotiated_and_drops_what_came_behind_it)
{
	static const char *const queries[] = { "base:allocation", NULL };
	struct cursor answers;

	script_begin(&script, BOTH_CLIENT_FLAGS);
	script_option(&script, NBD_OPT_EXTENDED_HEADERS, 0);
	script_contexts(&script, NBD_OPT_SET_META_CONTEXT, "disk", queries);
	script_option(&script, NBD_OPT_STARTTLS, 0);
	script_option(&script, NBD_OPT_ABORT, 0);
	talk_with_tls(&script, NBDS_TLS_OFFERED, ALL_AT_ONCE);
	answers = talk_answers(&talk);
	take_ack(&answers, NBD_OPT_EXTENDED_HEADERS);
	(void)take_reply(&answers, NBD_OPT_SET_META_CONTEXT, NBD_REP_META_CONTEXT);
	take_ack(&answers, NBD_OPT_SET_META_CONTEXT);
	take_ack(&answers, NBD_OPT_STARTTLS);
	expect_end(NBDS_NEED_MORE, answers);
	cr_assert_eq(talk.nr_events, 1);
	cr_assert_eq(talk.events[0].kind, NBDS_TLS_BEGINS);
	cr_assert_eq(talk.session.tls, NBDS_TLS_ON);
	cr_assert_eq(talk.session.stage, NBDS_OPTIONS);
	cr_assert_not(talk.session.structured);
	cr_assert_not(talk.session.extended);
	cr_assert_eq(talk.session.contexts, 0);
}

Test(nbds_options, where_tls_is_required_nothing_but_starttls_and_abort_comes_before_it)
{
	static const uint32_t refused[] = { NBD_OPT_LIST,
					    NBD_OPT_GO,
					    NBD_OPT_STRUCTURED_REPLY,
					    NBD_OPT_EXTENDED_HEADERS,
					    NBD_OPT_SET_META_CONTEXT,
					    99 };
	struct cursor answers;

	script_begin(&script, BOTH_CLIENT_FLAGS);
	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		script_option(&script, refused[i], 0);
	script_option(&script, NBD_OPT_ABORT, 0);
	talk_with_tls(&script, NBDS_TLS_REQUIRED, ALL_AT_ONCE);
	answers = talk_answers(&talk);
	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		take_error(&answers, refused[i], NBD_REP_ERR_TLS_REQD);
	take_ack(&answers, NBD_OPT_ABORT);
	expect_end(NBDS_FINISHED, answers);

	script_begin(&script, BOTH_CLIENT_FLAGS);
	script_option(&script, NBD_OPT_EXPORT_NAME, 0);
	talk_with_tls(&script, NBDS_TLS_REQUIRED, ALL_AT_ONCE);
	expect_end(NBDS_FINISHED, talk_answers(&talk));
	cr_assert_eq(talk.nr_events, 0);
}

/* In pieces of one byte what follows STARTTLS counts as having come behind TLS. */
Test(nbds_options, behind_tls_options_are_answered_and_a_second_starttls_is_refused)
{
	struct cursor answers;

	script_begin(&script, BOTH_CLIENT_FLAGS);
	script_option(&script, NBD_OPT_STARTTLS, 0);
	script_option(&script, NBD_OPT_STARTTLS, 0);
	script_go(&script, NBD_OPT_GO, "", "");
	talk_with_tls(&script, NBDS_TLS_REQUIRED, 1);
	answers = talk_answers(&talk);
	take_ack(&answers, NBD_OPT_STARTTLS);
	take_error(&answers, NBD_OPT_STARTTLS, NBD_REP_ERR_INVALID);
	(void)take_reply(&answers, NBD_OPT_GO, NBD_REP_INFO);
	take_ack(&answers, NBD_OPT_GO);
	expect_end(NBDS_NEED_MORE, answers);
	cr_assert_eq(talk.nr_events, 2);
	cr_assert_eq(talk.events[1].kind, NBDS_EXPORT_CHOSEN);
}
