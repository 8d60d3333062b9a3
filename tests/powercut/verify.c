/* SPDX-License-Identifier: MIT */
/*
 * powercut verify SOCKET EXPORT DISK MARK_OFFSET HISTORY
 *
 * Reads an export that was under a load, after a power cut that left the disk below
 * as DISK, and wants each sector to hold what it may.
 */
#include <inttypes.h>
#include <stdio.h>

#include "powercut/client.h"
#include "powercut/content.h"
#include "powercut/history.h"
#include "powercut/util.h"
#include "powercut/verbs.h"
#include "sealblk/nbd_wire.h"

enum { PIECE_BYTES = 1 << 20, TOLD_MAX = 10 };

int verb_verify(char **arguments)
{
	struct client client = client_connect(arguments[0], arguments[1]);
	struct history history = history_load(arguments[4]);
	uint64_t mark = mark_read(arguments[2], must_number(arguments[3]), history.seed);
	struct oracle *oracle = oracle_new(&history, mark);
	uint8_t *piece = must_alloc(1, PIECE_BYTES);
	uint64_t nr_wrong = 0;

	if (history.disk_sectors != bytes_to_sectors(client.disk_bytes))
		die(0, "the disk's size is another");
	for (uint64_t at = 0; at < client.disk_bytes; at += PIECE_BYTES) {
		uint32_t bytes = (uint32_t)min_u64(PIECE_BYTES, client.disk_bytes - at);

		client_send(&client, &(struct client_request){ .command = NBD_CMD_READ,
							       .offset_bytes = at,
							       .length_bytes = bytes });
		client_receive(&client);
		client_receive_data(&client, piece, bytes);
		for (uint32_t i = 0; i < bytes; i += SECTOR_BYTES) {
			uint64_t sector = bytes_to_sectors(at + i);
			const char *wrong = oracle_judge(oracle, sector, piece + i);

			if (wrong && nr_wrong++ < TOLD_MAX)
				fprintf(stderr, "sector %" PRIu64 ": %s\n", sector, wrong);
		}
	}
	if (nr_wrong > 0)
		fprintf(stderr, "mark %" PRIu64 ": %" PRIu64 " sectors are wrong\n", mark,
			nr_wrong);
	return nr_wrong > 0;
}
