/* SPDX-License-Identifier: MIT */
/*
 * powercut load SOCKET EXPORT DEVICE MARK_OFFSET HISTORY SEED CHANGES
 *
 * Writes, zeroes, trims, flushes and reads an export at random over two connections,
 * several requests at a time. After each acknowledged FLUSH and FUA a mark goes to
 * DEVICE, the disk on which all of it lies in the end. HISTORY is written last.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "powercut/client.h"
#include "powercut/content.h"
#include "powercut/history.h"
#include "powercut/util.h"
#include "powercut/verbs.h"
#include "sealblk/nbd_wire.h"

enum {
	CONNECTIONS = 2,
	SLOTS = 24,
	REQUEST_SECTORS_MAX = 96,
	FLUSH_ONE_IN = 60,
	FUA_ONE_IN = 60,
};

struct slot {
	bool used;
	uint16_t command;
	uint16_t flags;
	uint64_t first_sector;
	uint32_t nr_sectors;
	uint64_t number; /* version of a change; which flush */
	unsigned int connection;
};

struct load {
	struct client clients[CONNECTIONS];
	struct history history;
	struct dice dice;
	struct slot slots[SLOTS];
	unsigned int nr_used;
	unsigned int flushes; /* bits: on their way */
	bool *busy;	      /* sectors that some request is about */
	uint64_t *held;	      /* versions acknowledged; 0: zeros */
	uint64_t nr_changes;
	uint64_t nr_marks;
	int mark_fd;
	uint64_t mark_offset_bytes;
	uint8_t buffer[REQUEST_SECTORS_MAX * SECTOR_BYTES];
};

static void add_event(struct load *load, enum event_kind kind, const struct slot *slot)
{
	history_add(&load->history, (struct event){ .kind = kind,
						    .nr_sectors = slot->nr_sectors,
						    .first_sector = slot->first_sector,
						    .number = slot->number });
}

static void mark(struct load *load)
{
	struct slot what = { .number = ++load->nr_marks };

	mark_write(load->mark_fd, load->mark_offset_bytes, load->history.seed, load->nr_marks);
	add_event(load, EVENT_MARK, &what);
}

static void set_busy(struct load *load, const struct slot *slot, bool busy)
{
	for (uint32_t i = 0; i < slot->nr_sectors; i++)
		load->busy[slot->first_sector + i] = busy;
}

/*
 * Sectors that no other request is about; false: somebody is. Half of all go to a
 * sixteenth of the disk: many then come back to a sector that is already in its place.
 */
static bool pick_range(struct load *load, struct slot *slot)
{
	uint64_t longest = dice_below(&load->dice, 8) ? 16 : REQUEST_SECTORS_MAX;
	uint64_t limit = load->history.disk_sectors;

	if (dice_below(&load->dice, 2))
		limit /= 16;
	slot->nr_sectors = 1 + (uint32_t)dice_below(&load->dice, longest);
	slot->first_sector = dice_below(&load->dice, limit - slot->nr_sectors + 1);
	for (uint32_t i = 0; i < slot->nr_sectors; i++)
		if (load->busy[slot->first_sector + i])
			return false;
	return true;
}

static bool pick_flush(struct load *load, struct slot *slot)
{
	for (slot->number = 0; slot->number < FLUSHES_MAX; slot->number++)
		if (!(load->flushes & 1u << slot->number))
			break;
	if (slot->number == FLUSHES_MAX)
		return false;
	slot->command = NBD_CMD_FLUSH;
	load->flushes |= 1u << slot->number;
	add_event(load, EVENT_FLUSH, slot);
	return true;
}

static void pick_change(struct load *load, struct slot *slot)
{
	uint64_t kind = dice_below(&load->dice, 10);

	slot->command = NBD_CMD_WRITE;
	if (kind == 0)
		slot->command = NBD_CMD_TRIM;
	if (kind == 1)
		slot->command = NBD_CMD_WRITE_ZEROES;
	if (kind == 1 && dice_below(&load->dice, 2))
		slot->flags |= NBD_CMD_FLAG_NO_HOLE;
	if (dice_below(&load->dice, FUA_ONE_IN) == 0)
		slot->flags |= NBD_CMD_FLAG_FUA;
	slot->number = ++load->nr_changes;
	add_event(load, slot->command == NBD_CMD_WRITE ? EVENT_WRITE : EVENT_ZERO, slot);
	for (uint32_t i = 0; slot->command == NBD_CMD_WRITE && i < slot->nr_sectors; i++)
		content_fill(load->buffer + (size_t)i * SECTOR_BYTES, load->history.seed,
			     slot->first_sector + i, slot->number);
}

static void start_one(struct load *load)
{
	struct slot slot = { .used = true };
	uint64_t i = 0;

	slot.connection = (unsigned int)dice_below(&load->dice, CONNECTIONS);
	if (dice_below(&load->dice, FLUSH_ONE_IN) == 0) {
		if (!pick_flush(load, &slot))
			return;
	} else {
		if (!pick_range(load, &slot))
			return;
		if (dice_below(&load->dice, 10) == 0)
			slot.command = NBD_CMD_READ;
		else
			pick_change(load, &slot);
		set_busy(load, &slot, true);
	}
	while (load->slots[i].used)
		i++;
	load->slots[i] = slot;
	load->nr_used++;
	client_send(&load->clients[slot.connection],
		    &(struct client_request){ .command = slot.command,
					      .flags = slot.flags,
					      .cookie = i,
					      .offset_bytes = sectors_to_bytes(slot.first_sector),
					      .length_bytes = slot.nr_sectors * SECTOR_BYTES,
					      .payload = load->buffer });
}

static void check_read(struct load *load, const struct slot *slot)
{
	client_receive_data(&load->clients[slot->connection], load->buffer,
			    slot->nr_sectors * SECTOR_BYTES);
	for (uint32_t i = 0; i < slot->nr_sectors; i++) {
		uint64_t sector = slot->first_sector + i;
		uint64_t version = 0;

		if (content_read(load->buffer + (size_t)i * SECTOR_BYTES, load->history.seed,
				 sector, &version) == CONTENT_WRONG ||
		    version != load->held[sector])
			die(0, "sector %" PRIu64 " reads wrong while all is well", sector);
	}
}

static void finish_change(struct load *load, const struct slot *slot)
{
	for (uint32_t i = 0; i < slot->nr_sectors; i++)
		load->held[slot->first_sector + i] = slot->command == NBD_CMD_WRITE ? slot->number
										    : 0;
	add_event(load, EVENT_DONE, slot);
	if (slot->flags & NBD_CMD_FLAG_FUA) {
		add_event(load, EVENT_DURABLE, slot);
		mark(load);
	}
}

static void finish_one(struct load *load, struct client *client)
{
	uint64_t cookie = client_receive(client);
	struct slot slot;

	if (cookie >= SLOTS || !load->slots[cookie].used)
		die(0, "a reply to nothing");
	slot = load->slots[cookie];
	load->slots[cookie].used = false;
	load->nr_used--;
	if (slot.command == NBD_CMD_FLUSH) {
		load->flushes &= ~(1u << slot.number);
		add_event(load, EVENT_FLUSHED, &slot);
		mark(load);
		return;
	}
	if (slot.command == NBD_CMD_READ)
		check_read(load, &slot);
	else
		finish_change(load, &slot);
	set_busy(load, &slot, false);
}

static void finish_some(struct load *load)
{
	struct pollfd fds[CONNECTIONS];

	for (int i = 0; i < CONNECTIONS; i++)
		fds[i] = (struct pollfd){ .fd = load->clients[i].fd, .events = POLLIN };
	if (poll(fds, CONNECTIONS, -1) < 0)
		die(errno, "poll");
	for (int i = 0; i < CONNECTIONS; i++)
		if (fds[i].revents)
			finish_one(load, &load->clients[i]);
}

int verb_load(char **arguments)
{
	struct load *load = must_alloc(1, sizeof(*load));
	uint64_t wanted = must_number(arguments[6]);

	for (int i = 0; i < CONNECTIONS; i++)
		load->clients[i] = client_connect(arguments[0], arguments[1]);
	load->mark_fd = must_open(arguments[2], O_WRONLY | O_DIRECT);
	load->mark_offset_bytes = must_number(arguments[3]);
	load->history.seed = must_number(arguments[5]);
	load->history.disk_sectors = bytes_to_sectors(load->clients[0].disk_bytes);
	load->dice = dice_of(load->history.seed);
	load->busy = must_alloc(load->history.disk_sectors, sizeof(*load->busy));
	load->held = must_alloc(load->history.disk_sectors, sizeof(*load->held));
	while (load->nr_changes < wanted || load->nr_used > 0) {
		for (int i = 0; i < SLOTS && load->nr_used < SLOTS; i++)
			if (load->nr_changes < wanted)
				start_one(load);
		if (load->nr_used > 0)
			finish_some(load);
	}
	history_save(&load->history, arguments[4]);
	printf("load: %" PRIu64 " changes, %" PRIu64 " marks\n", load->nr_changes, load->nr_marks);
	return 0;
}
