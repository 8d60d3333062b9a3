/* SPDX-License-Identifier: MIT */
/* Recorded streams of ordinary clients are understood to their last byte. */
#include "unit/nbd/nbd_script.h"
#include "vectors/nbd_clients.h"

static struct script script;
static struct talk talk;

static void replay(const uint8_t *stream, size_t nr_bytes)
{
	script.nr_bytes = 0;
	script_bytes(&script, stream, nr_bytes);
	talk_run(&talk, &script, (struct delivery){ 0, 1, NBDS_OUT_BYTES_MIN });
	cr_assert_eq(talk.eaten_bytes, nr_bytes);
}

Test(nbds_clients, nbdinfo_map_asks_for_the_status_of_the_whole_disk)
{
	replay(client_nbdinfo_map, sizeof(client_nbdinfo_map));
	cr_assert_eq(talk.end, NBDS_NEED_MORE);
	cr_assert_eq(talk.nr_events, 3);
	cr_assert(talk.session.structured);
	cr_assert_eq(talk.session.contexts, nbds_context_bit(NBDS_CONTEXT_ENCRYPTION));
	cr_assert_eq(talk.events[1].request.command, NBD_CMD_BLOCK_STATUS);
	cr_assert_eq(talk.events[1].request.length_bytes, 64 << 20);
	cr_assert_eq(talk.events[2].request.command, NBD_CMD_DISC);
}

Test(nbds_clients, nbdinfo_list_is_answered_to_its_abort)
{
	struct cursor answers;

	replay(client_nbdinfo_list, sizeof(client_nbdinfo_list));
	cr_assert_eq(talk.end, NBDS_FINISHED);
	cr_assert_eq(talk.nr_events, 0);

	answers = talk_answers(&talk);
	take_ack(&answers, NBD_OPT_STRUCTURED_REPLY);
	take_reply(&answers, NBD_OPT_LIST, NBD_REP_SERVER);
	take_reply(&answers, NBD_OPT_LIST, NBD_REP_SERVER);
	take_ack(&answers, NBD_OPT_LIST);
	for (int i = 0; i < 3; i++)
		take_reply(&answers, NBD_OPT_INFO, NBD_REP_INFO);
	take_ack(&answers, NBD_OPT_INFO);
	take_reply(&answers, NBD_OPT_LIST_META_CONTEXT, NBD_REP_META_CONTEXT);
	take_reply(&answers, NBD_OPT_LIST_META_CONTEXT, NBD_REP_META_CONTEXT);
	take_ack(&answers, NBD_OPT_LIST_META_CONTEXT);

	/* The second export it knew of is not among the tests'. */
	take_error(&answers, NBD_OPT_INFO, NBD_REP_ERR_UNKNOWN);
	take_error(&answers, NBD_OPT_LIST_META_CONTEXT, NBD_REP_ERR_UNKNOWN);
	take_ack(&answers, NBD_OPT_ABORT);
	cr_assert_eq(answers.left_bytes, 0);
}

Test(nbds_clients, qemu_io_selects_allocation_and_reads)
{
	replay(client_qemu_io, sizeof(client_qemu_io));
	cr_assert_eq(talk.end, NBDS_NEED_MORE);
	cr_assert_eq(talk.nr_events, 2);
	cr_assert_eq(talk.session.export_index, 1);
	cr_assert(talk.session.contexts & nbds_context_bit(NBDS_CONTEXT_ALLOCATION));
	cr_assert_eq(talk.events[1].request.command, NBD_CMD_READ);
	cr_assert_eq(talk.events[1].request.length_bytes, 4096);
}
