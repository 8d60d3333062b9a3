/* SPDX-License-Identifier: MIT */
/* The client's side of the handshake: beside our own server, and beside ones that lie. */
#include "nbd/client.h"

#include <errno.h>

#include "unit/nbd/nbd_script.h"

static struct script script;
static struct talk talk;

/* Feed all of @from that is wanted. Returns what the client made of it. */
static int feed_all(struct nbdc *client, struct cursor from)
{
	int r = 0;

	nbdc_begin(client);
	while (r == 0 && client->wanted_bytes > 0) {
		const uint8_t *bytes = cursor_take(&from, client->wanted_bytes);

		cr_assert(bytes, "more is wanted than there is");
		r = nbdc_feed(client, bytes);
	}
	return r;
}

/* What our server answers to the client. */
static int ask_our_server(struct nbdc *client, const char *name, enum nbds_tls tls)
{
	uint8_t go[NBDC_GO_BYTES_MAX];

	script.nr_bytes = 0;
	script_bytes(&script, go, nbdc_encode_go(name, go));
	talk.tls = tls;
	talk_run(&talk, &script, (struct delivery){ ALL_AT_ONCE, 1, ROOM_PLENTY });
	return feed_all(client, cursor_of(talk.out, talk.out_bytes));
}

Test(nbd_client, learns_of_the_export_it_asks_for)
{
	struct nbdc client;

	cr_assert_eq(ask_our_server(&client, "disk", NBDS_TLS_NONE), 0);
	cr_assert_eq(talk.session.stage, NBDS_TRANSMISSION);
	cr_assert_eq(client.export.bytes, 8 * MIB);
	cr_assert_eq(client.export.minimum_bytes, 512);
	cr_assert_eq(client.export.transmission_flags, NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH);
	cr_assert_eq(ask_our_server(&client, "", NBDS_TLS_NONE), 0);
	cr_assert_eq(client.export.bytes, 3 * TIB);
	cr_assert(client.export.transmission_flags & NBD_FLAG_READ_ONLY);
}

Test(nbd_client, is_told_why_it_is_refused)
{
	struct nbdc client;

	cr_assert_eq(ask_our_server(&client, "other", NBDS_TLS_NONE), -ENOENT);
	cr_assert_eq(ask_our_server(&client, "disk", NBDS_TLS_REQUIRED), -EACCES);
}

Test(nbd_client, takes_the_longest_name)
{
	static char name[EXPORT_NAME_BYTES_MAX + 1];
	struct nbdc client;

	memset(name, 'n', sizeof(name) - 1);
	cr_assert_eq(ask_our_server(&client, name, NBDS_TLS_NONE), -ENOENT);
}

/* ---- servers that lie ---- */

static void greet(uint64_t magic, uint16_t flags)
{
	script.nr_bytes = 0;
	script_be64(&script, magic);
	script_be64(&script, NBD_OPTION_MAGIC);
	script_be16(&script, flags);
}

static void greet_well(void)
{
	greet(NBD_MAGIC, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
}

static void reply(uint32_t option, uint32_t type, uint32_t data_bytes)
{
	script_be64(&script, NBD_OPTION_REPLY_MAGIC);
	script_be32(&script, option);
	script_be32(&script, type);
	script_be32(&script, data_bytes);
}

static void reply_export(uint64_t bytes, uint16_t flags)
{
	reply(NBD_OPT_GO, NBD_REP_INFO, 12);
	script_be16(&script, NBD_INFO_EXPORT);
	script_be64(&script, bytes);
	script_be16(&script, flags);
}

static void reply_block_size(uint32_t minimum)
{
	reply(NBD_OPT_GO, NBD_REP_INFO, 14);
	script_be16(&script, NBD_INFO_BLOCK_SIZE);
	script_be32(&script, minimum);
	script_be32(&script, 4096);
	script_be32(&script, 1 << 20);
}

static void expect(int wanted)
{
	struct nbdc client;

	cr_assert_eq(feed_all(&client, cursor_of(script.bytes, script.nr_bytes)), wanted);
}

Test(nbd_client, wants_fixed_newstyle)
{
	greet(NBD_MAGIC + 1, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	expect(-EPROTO);
	greet(NBD_MAGIC, NBD_FLAG_NO_ZEROES);
	expect(-EOPNOTSUPP);
	greet(NBD_MAGIC, NBD_FLAG_FIXED_NEWSTYLE);
	expect(-EOPNOTSUPP);
}

Test(nbd_client, believes_no_reply_to_another_option_and_no_unknown_one)
{
	greet_well();
	reply(NBD_OPT_INFO, NBD_REP_ACK, 0);
	expect(-EPROTO);
	greet_well();
	reply(NBD_OPT_GO, NBD_REP_SERVER, 0);
	expect(-EPROTO);
	greet_well();
	reply(NBD_OPT_GO, NBD_REP_INFO, NBDC_FEED_BYTES_MAX + 1);
	expect(-EPROTO);
	greet_well();
	reply(NBD_OPT_GO, NBD_REP_FLAG_ERROR | 77, 0);
	expect(-EIO);
}

Test(nbd_client, wants_the_export_once_and_before_the_end)
{
	greet_well();
	reply(NBD_OPT_GO, NBD_REP_ACK, 0);
	expect(-EPROTO);
	greet_well();
	reply_export(1 << 20, NBD_FLAG_HAS_FLAGS);
	reply_export(1 << 20, NBD_FLAG_HAS_FLAGS);
	expect(-EPROTO);
	greet_well();
	reply_export(1 << 20, 0);
	expect(-EPROTO);
	greet_well();
	reply(NBD_OPT_GO, NBD_REP_INFO, 1);
	script_bytes(&script, "", 1);
	expect(-EPROTO);
	greet_well();
	reply(NBD_OPT_GO, NBD_REP_INFO, 13);
	script_be16(&script, NBD_INFO_EXPORT);
	script_fill(&script, 1, 11);
	expect(-EPROTO);
}

Test(nbd_client, wants_blocks_and_a_size_that_a_disk_can_have)
{
	static const uint32_t bad[] = { 0, 513, 3 << 9 };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		greet_well();
		reply_block_size(bad[i]);
		expect(-EPROTO);
	}
	greet_well();
	reply_block_size(128 << 10);
	expect(-EOPNOTSUPP);
	greet_well();
	reply_block_size(4096);
	reply_export(4096 + 512, NBD_FLAG_HAS_FLAGS);
	reply(NBD_OPT_GO, NBD_REP_ACK, 0);
	expect(-EPROTO);
	greet_well();
	reply_block_size(1);
	reply_export(4096 + 512, NBD_FLAG_HAS_FLAGS);
	reply(NBD_OPT_GO, NBD_REP_ACK, 0);
	expect(0);
}

Test(nbd_client, does_not_listen_for_ever)
{
	greet_well();
	for (unsigned int i = 0; i <= NBDC_REPLIES_MAX; i++) {
		reply(NBD_OPT_GO, NBD_REP_INFO, 2);
		script_be16(&script, NBD_INFO_NAME);
	}
	expect(-EPROTO);
}
