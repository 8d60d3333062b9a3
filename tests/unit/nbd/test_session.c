/* SPDX-License-Identifier: MIT */
/* The session machine: stages, pieces of any size, and hostile streams. */
#include <stdio.h>

#include "unit/nbd/nbd_script.h"

static struct script script;
static struct talk talk, other;

static void expect_same_talk(const char *what, size_t how)
{
	cr_assert_eq(talk.end, other.end, "%s, %zu: ends otherwise", what, how);
	cr_assert_eq(talk.out_bytes, other.out_bytes, "%s, %zu: says more or less", what, how);
	cr_assert_arr_eq(talk.out, other.out, talk.out_bytes, "%s, %zu: says else", what, how);
	cr_assert_eq(talk.nr_events, other.nr_events, "%s, %zu: does more or less", what, how);
	for (unsigned int i = 0; i < talk.nr_events; i++) {
		cr_assert_eq(talk.events[i].kind, other.events[i].kind);
		cr_assert_eq(talk.events[i].request.cookie, other.events[i].request.cookie);
	}
}

static void write_and_read(struct script *s)
{
	script_request(s, &(struct nbds_request){
				  .command = NBD_CMD_WRITE, .cookie = 1, .length_bytes = 512 });
	script_fill(s, 0x25, 512); /* like the first byte of a request */
	script_request(s, &(struct nbds_request){
				  .command = NBD_CMD_READ, .cookie = 2, .length_bytes = 512 });
}

/* Handshakes of every kind, for the tests that deliver them in pieces. */
static void script_modern(struct script *s)
{
	static const char *const queries[] = { "x-sealblk:", "base:allocation", NULL };

	script_begin(s, BOTH_CLIENT_FLAGS);
	script_option(s, NBD_OPT_STARTTLS, 0);
	script_option(s, NBD_OPT_STRUCTURED_REPLY, 0);
	script_option(s, NBD_OPT_LIST, 0);
	script_contexts(s, NBD_OPT_LIST_META_CONTEXT, "disk", queries);
	script_contexts(s, NBD_OPT_SET_META_CONTEXT, "disk", queries);
	script_go(s, NBD_OPT_INFO, "nothing", "0123");
	script_go(s, NBD_OPT_INFO, "disk", "0123");
	script_go(s, NBD_OPT_GO, "disk", "0123");
	write_and_read(s);
}

static void script_extended(struct script *s)
{
	static const char *const queries[] = { "base:allocation", NULL };

	script_begin(s, BOTH_CLIENT_FLAGS);
	script_option(s, NBD_OPT_EXTENDED_HEADERS, 0);
	script_option(s, NBD_OPT_STRUCTURED_REPLY, 0);
	script_contexts(s, NBD_OPT_SET_META_CONTEXT, "disk", queries);
	script_go(s, NBD_OPT_GO, "disk", "0123");
	script_request(s, &(struct nbds_request){ .extended = true,
						  .flags = NBD_CMD_FLAG_PAYLOAD_LEN,
						  .command = NBD_CMD_WRITE,
						  .cookie = 1,
						  .length_bytes = 512 });
	script_fill(s, 0x21, 512); /* like the first byte of a request */
	script_request(s, &(struct nbds_request){ .extended = true,
						  .command = NBD_CMD_TRIM,
						  .cookie = 2,
						  .length_bytes = 8 * MIB });
}

static void script_wrong_header(struct script *s)
{
	script_begin(s, BOTH_CLIENT_FLAGS);
	script_option(s, NBD_OPT_EXTENDED_HEADERS, 0);
	script_go(s, NBD_OPT_GO, "disk", "");
	write_and_read(s);
}

static void script_old(struct script *s)
{
	script_begin(s, 0);
	script_option(s, NBD_OPT_EXPORT_NAME, 4);
	script_bytes(s, "disk", 4);
	write_and_read(s);
}

static void script_aborting(struct script *s)
{
	script_begin(s, NBD_FLAG_C_FIXED_NEWSTYLE);
	script_option(s, NBD_OPT_LIST, 3);
	script_bytes(s, "all", 3);
	script_option(s, NBD_OPT_ABORT, 0);
	script_bytes(s, "ignored", 7);
}

static void script_losing_sync(struct script *s)
{
	script_begin(s, BOTH_CLIENT_FLAGS);
	script_option(s, NBD_OPT_LIST, 0);
	script_bytes(s, "GET / HTTP/1.1\r\n\r\n", 18);
}

static void script_unknown_flags(struct script *s)
{
	script_begin(s, 1 << 2);
	script_option(s, NBD_OPT_LIST, 0);
}

static void script_bad_request(struct script *s)
{
	script_begin(s, BOTH_CLIENT_FLAGS);
	script_go(s, NBD_OPT_GO, "", "");
	write_and_read(s);
	script_fill(s, 0, 28);
}

static void script_long_option(struct script *s)
{
	script_begin(s, BOTH_CLIENT_FLAGS);
	script_option(s, NBD_OPT_GO, NBD_OPTION_BYTES_MAX + 1);
	script_fill(s, 0, NBD_OPTION_BYTES_MAX + 1);
	script_go(s, NBD_OPT_GO, "", "3");
}

static const struct {
	const char *name;
	void (*write)(struct script *s);
	enum nbds_progress end;
	unsigned int nr_events;
} scripts[] = {
	{ "modern", script_modern, NBDS_NEED_MORE, 3 },
	{ "extended", script_extended, NBDS_NEED_MORE, 3 },
	{ "wrong header", script_wrong_header, NBDS_BROKEN, 1 },
	{ "old", script_old, NBDS_NEED_MORE, 3 },
	{ "aborting", script_aborting, NBDS_FINISHED, 0 },
	{ "losing sync", script_losing_sync, NBDS_BROKEN, 0 },
	{ "unknown flags", script_unknown_flags, NBDS_BROKEN, 0 },
	{ "bad request", script_bad_request, NBDS_BROKEN, 3 },
	{ "long option", script_long_option, NBDS_NEED_MORE, 1 },
};

Test(nbds_session, every_script_ends_as_it_should)
{
	for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
		scripts[i].write(&script);
		talk_at_once(&talk, &script);
		cr_assert_eq(talk.end, scripts[i].end, "%s", scripts[i].name);
		cr_assert_eq(talk.nr_events, scripts[i].nr_events, "%s", scripts[i].name);
	}
}

Test(nbds_session, a_stream_cut_at_any_byte_gives_the_same)
{
	for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
		scripts[i].write(&script);
		talk_at_once(&talk, &script);
		for (size_t cut = 0; cut <= script.nr_bytes; cut++) {
			talk_run(&other, &script,
				 (struct delivery){ cut, ALL_AT_ONCE, ROOM_PLENTY });
			expect_same_talk(scripts[i].name, cut);
		}
	}
}

Test(nbds_session, a_stream_in_small_pieces_gives_the_same)
{
	for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
		scripts[i].write(&script);
		talk_at_once(&talk, &script);
		for (size_t step = 1; step <= 33; step++) {
			talk_run(&other, &script, (struct delivery){ 0, step, ROOM_PLENTY });
			expect_same_talk(scripts[i].name, step);
		}
	}
}

Test(nbds_session, any_room_from_the_minimum_on_gives_the_same)
{
	for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
		scripts[i].write(&script);
		talk_at_once(&talk, &script);
		for (size_t more = 0; more < 200; more++) {
			size_t room_bytes = NBDS_OUT_BYTES_MIN + more;

			talk_run(&other, &script,
				 (struct delivery){ ALL_AT_ONCE, ALL_AT_ONCE, room_bytes });
			expect_same_talk(scripts[i].name, room_bytes);
			talk_run(&other, &script, (struct delivery){ 1, 1 + more, room_bytes });
			expect_same_talk(scripts[i].name, room_bytes);
		}
	}
}

/* Feeds @s through a buffer of the smallest size, emptied after every call. */
Test(nbds_session, a_list_of_the_longest_exports_passes_the_smallest_room)
{
	static char name[EXPORTS_MAX][EXPORT_NAME_BYTES_MAX + 1];
	static char description[EXPORT_DESCRIPTION_BYTES_MAX + 1];
	static uint8_t room[NBDS_OUT_BYTES_MIN];
	static struct nbds_export exports[EXPORTS_MAX];
	struct nbds_out out = { .bytes = room, .capacity_bytes = sizeof(room) };
	struct nbds_session session;
	enum nbds_progress progress;
	struct nbds_event event;
	size_t eaten_bytes = 0, total_bytes = 0;

	memset(description, 'd', EXPORT_DESCRIPTION_BYTES_MAX);
	for (unsigned int i = 0; i < EXPORTS_MAX; i++) {
		snprintf(name[i], sizeof(name[i]), "%0*u", EXPORT_NAME_BYTES_MAX, i);
		exports[i] = test_exports[0];
		exports[i].name = name[i];
		exports[i].description = description;
	}
	nbds_init(&session, exports, EXPORTS_MAX);
	script_begin(&script, BOTH_CLIENT_FLAGS);
	script_option(&script, NBD_OPT_LIST, 0);
	do {
		size_t used;

		progress = nbds_feed(&session, script.bytes + eaten_bytes,
				     script.nr_bytes - eaten_bytes, &used, &out, &event);
		eaten_bytes += used;
		total_bytes += out.used_bytes;
		out.used_bytes = 0;
	} while (progress == NBDS_NEED_ROOM);
	cr_assert_eq(progress, NBDS_NEED_MORE);
	cr_assert_eq(total_bytes, 18 + EXPORTS_MAX * NBDS_OUT_BYTES_MIN + 20);
}

Test(nbds_session, the_greeting_comes_before_any_input_and_once)
{
	static const uint8_t greeting[] = "NBDMAGICIHAVEOPT\0\3";
	uint8_t room[NBDS_OUT_BYTES_MIN];
	struct nbds_out out = { .bytes = room, .capacity_bytes = sizeof(room) };
	struct nbds_session session;
	struct nbds_event event;
	size_t used;

	nbds_init(&session, test_exports, ARRAY_LEN(test_exports));
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(nbds_feed(&session, NULL, 0, &used, &out, &event), NBDS_NEED_MORE);
		cr_assert_eq(used, 0);
		cr_assert_eq(out.used_bytes, 18);
		cr_assert_arr_eq(room, greeting, 18);
	}
}

Test(nbds_session, client_flags_we_do_not_know_break_it)
{
	for (int bit = 0; bit < 32; bit++) {
		script_begin(&script, UINT32_C(1) << bit);
		talk_at_once(&talk, &script);
		cr_assert_eq(talk.end, bit < 2 ? NBDS_NEED_MORE : NBDS_BROKEN, "bit %d", bit);
		cr_assert_eq(talk.out_bytes, 18);
	}
}

Test(nbds_session, an_option_too_long_to_skip_breaks_it_at_once)
{
	static const uint32_t data_bytes[] = { NBD_OPTION_SKIP_MAX + 1, INT32_MAX,
					       UINT32_C(1) << 31, UINT32_MAX };

	for (size_t i = 0; i < ARRAY_LEN(data_bytes); i++)
		for (uint32_t option = 0; option < 13; option++) {
			script_begin(&script, BOTH_CLIENT_FLAGS);
			script_option(&script, option, data_bytes[i]);
			talk_at_once(&talk, &script);
			cr_assert_eq(talk.end, NBDS_BROKEN, "option %u", option);
			cr_assert_eq(talk.out_bytes, 18);
		}
}

Test(nbds_session, one_option_too_many_breaks_it)
{
	struct cursor answers;

	script_begin(&script, BOTH_CLIENT_FLAGS);
	for (int i = 0; i < NBD_OPTIONS_MAX + 1; i++)
		script_option(&script, 99, 0);
	talk_run(&talk, &script, (struct delivery){ 1, 1, NBDS_OUT_BYTES_MIN });
	answers = talk_answers(&talk);
	for (int i = 0; i < NBD_OPTIONS_MAX; i++)
		take_error(&answers, 99, NBD_REP_ERR_UNSUP);
	cr_assert_eq(answers.left_bytes, 0);
	cr_assert_eq(talk.end, NBDS_BROKEN);
}

Test(nbds_session, a_session_that_is_over_stays_over_and_eats_nothing)
{
	static uint8_t room[NBDS_OUT_BYTES_MIN];

	for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
		struct nbds_out out = { .bytes = room, .capacity_bytes = sizeof(room) };
		struct nbds_event event;
		size_t used;

		if (scripts[i].end == NBDS_NEED_MORE)
			continue;
		scripts[i].write(&script);
		talk_at_once(&talk, &script);
		script_modern(&script);
		cr_assert_eq(nbds_feed(&talk.session, script.bytes, script.nr_bytes, &used, &out,
				       &event),
			     scripts[i].end);
		cr_assert_eq(used, 0);
		cr_assert_eq(out.used_bytes, 0);
	}
}

Test(nbds_session, requests_are_decoded_as_they_are)
{
	static const struct nbds_request requests[] = {
		{ NBD_CMD_FLAG_DF, NBD_CMD_READ, 0x0102030405060708, 1 << 20, 65536, false },
		{ UINT16_MAX, UINT16_MAX, UINT64_MAX, UINT64_MAX, UINT32_MAX, false },
		{ 0, NBD_CMD_TRIM, 0, 513, 0xfffffe00, false },
		{ 0, NBD_CMD_DISC, 0, 0, 0, false },
		{ NBD_CMD_FLAG_DF, NBD_CMD_READ, 0x0102030405060708, 1 << 20, 65536, true },
		{ UINT16_MAX & ~NBD_CMD_FLAG_PAYLOAD_LEN, UINT16_MAX, UINT64_MAX, UINT64_MAX,
		  UINT64_MAX, true },
		{ 0, NBD_CMD_TRIM, 0, 513, 0x0102030405060708, true },
		{ 0, NBD_CMD_WRITE, 0, 0, UINT64_MAX, true },
	};

	for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
		const struct nbds_request *got = &talk.events[1].request;

		script_begin(&script, BOTH_CLIENT_FLAGS);
		if (requests[i].extended)
			script_option(&script, NBD_OPT_EXTENDED_HEADERS, 0);
		script_go(&script, NBD_OPT_GO, "disk", "");
		script_request(&script, &requests[i]);
		talk_at_once(&talk, &script);
		cr_assert_eq(talk.nr_events, 2);
		cr_assert_eq(talk.eaten_bytes, script.nr_bytes);
		cr_assert_eq(talk.events[1].kind, NBDS_REQUEST);
		cr_assert_eq(got->flags, requests[i].flags);
		cr_assert_eq(got->command, requests[i].command);
		cr_assert_eq(got->cookie, requests[i].cookie);
		cr_assert_eq(got->offset_bytes, requests[i].offset_bytes);
		cr_assert_eq(got->length_bytes, requests[i].length_bytes);
		cr_assert_eq(got->extended, requests[i].extended);
	}
}

Test(nbds_session, a_payload_comes_with_writes_or_where_an_extended_header_says_so)
{
	for (uint16_t command = 0; command < 10; command++) {
		struct nbds_request r = { .command = command, .length_bytes = UINT32_MAX };

		cr_assert_eq(nbds_request_payload_bytes(&r),
			     command == NBD_CMD_WRITE ? UINT32_MAX : 0);
		r.flags = NBD_CMD_FLAG_PAYLOAD_LEN;
		cr_assert_eq(nbds_request_payload_bytes(&r),
			     command == NBD_CMD_WRITE ? UINT32_MAX : 0);
		r.extended = true;
		cr_assert_eq(nbds_request_payload_bytes(&r), UINT32_MAX);
		r.flags = (uint16_t)~NBD_CMD_FLAG_PAYLOAD_LEN;
		cr_assert_eq(nbds_request_payload_bytes(&r), 0);
	}
}

/* A client with the other kind of header may wait for our word before it sends more. */
Test(nbds_session, a_wrong_magic_breaks_it_before_the_header_is_whole)
{
	for (int extended = 0; extended < 2; extended++) {
		script_begin(&script, BOTH_CLIENT_FLAGS);
		if (extended)
			script_option(&script, NBD_OPT_EXTENDED_HEADERS, 0);
		script_go(&script, NBD_OPT_GO, "disk", "");
		script_be32(&script, extended ? NBD_REQUEST_MAGIC : NBD_REQUEST_EXT_MAGIC);
		talk_at_once(&talk, &script);
		cr_assert_eq(talk.end, NBDS_BROKEN);
	}
}

/* A random stream; every other one keeps the magics right, to get further in. */
static void script_random(struct script *s, uint64_t *random, bool likely)
{
	size_t nr_options = next_random(random) % 8;

	script_begin(s, likely ? BOTH_CLIENT_FLAGS : (uint32_t)next_random(random));
	for (size_t i = 0; i < nr_options; i++) {
		uint32_t data_bytes = (uint32_t)(next_random(random) % 40);

		if (likely)
			script_option(s, (uint32_t)(next_random(random) % 13), data_bytes);
		for (uint32_t j = 0; j < data_bytes; j++) {
			uint64_t n = next_random(random);
			uint8_t byte = (uint8_t)(n >> 8);

			script_bytes(s, &(uint8_t){ n & 1 ? byte : byte & 7 }, 1);
		}
	}
}

Test(nbds_session, random_streams_do_no_harm_and_read_the_same_in_pieces)
{
	uint64_t random = 20240607;

	for (int run = 0; run < 20000; run++) {
		script_random(&script, &random, run % 2);
		talk_run(&talk, &script, (struct delivery){ ALL_AT_ONCE, 1, ROOM_PLENTY });
		if (run % 8)
			continue;
		talk_run(&other, &script, (struct delivery){ 0, 1 + run % 7, NBDS_OUT_BYTES_MIN });
		expect_same_talk("random", (size_t)run);
	}
}
