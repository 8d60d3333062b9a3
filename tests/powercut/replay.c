/* SPDX-License-Identifier: MIT */
/*
 * powercut log LOG
 *
 * Prints how many entries the log has and then, a line each, after how many of them a
 * flush or FUA is done.
 *
 * powercut replay LOG DISK POSITION SEED KEEP_OFFSET
 *
 * Makes of DISK, which is as the disk was at the log's start, what a power cut after
 * POSITION entries may have left. What a later flush covers is on the medium; of the
 * writes after the last flush, SEED 0 keeps all. Any other seed chooses how much
 * of them is lost: all, none or some, whole or torn between sectors, and keeps
 * what lies from KEEP_OFFSET on: the marks.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "powercut/log.h"
#include "powercut/util.h"
#include "powercut/verbs.h"
#include "sealblk/units.h"

enum loss { LOSE_NOTHING, LOSE_ALL, LOSE_FEW, LOSE_MANY, TEAR };

struct replay {
	struct log log;
	int disk_fd;
	struct dice dice;
	enum loss loss;
	uint64_t nr_writes, nr_lost, nr_torn; /* in the last epoch */
};

int verb_log(char **arguments)
{
	struct log log = log_open(arguments[0]);

	printf("%" PRIu64 "\n", log.nr_entries);
	for (uint64_t i = 0; i < log.nr_entries; i++)
		if (log_is_barrier(&log.entries[i]))
			printf("%" PRIu64 "\n", i + 1);
	return 0;
}

/* @first, @bytes: the part of the entry to apply. A discard leaves zeros. */
static void apply_part(struct replay *r, const struct log_entry *entry, uint64_t first,
		       uint64_t bytes)
{
	uint8_t *data = must_alloc(1, bytes);

	if (entry->data_bytes > 0)
		must_read(r->log.fd, data, bytes, entry->data_offset_bytes + first);
	must_write(r->disk_fd, data, bytes, entry->offset_bytes + first);
	free(data);
}

static void apply(struct replay *r, const struct log_entry *entry)
{
	if (entry->disk_bytes > 0 && !(entry->flags & LOG_MARK))
		apply_part(r, entry, 0, entry->disk_bytes);
}

/* Each sector is kept or lost on its own. */
static void apply_torn(struct replay *r, const struct log_entry *entry)
{
	uint64_t kept = 0;

	for (uint64_t at = 0; at < entry->disk_bytes; at += SECTOR_BYTES)
		if (dice_below(&r->dice, 2)) {
			apply_part(r, entry, at, SECTOR_BYTES);
			kept++;
		}
	r->nr_lost += kept == 0;
	r->nr_torn += kept > 0 && kept * SECTOR_BYTES < entry->disk_bytes;
}

static bool is_lost(struct replay *r)
{
	switch (r->loss) {
	case LOSE_NOTHING:
		return false;
	case LOSE_ALL:
		return true;
	case LOSE_FEW:
		return dice_below(&r->dice, 8) == 0;
	case LOSE_MANY:
		return dice_below(&r->dice, 8) != 0;
	case TEAR:
		return dice_below(&r->dice, 4) == 0;
	}
	return false;
}

static void apply_unflushed(struct replay *r, const struct log_entry *entry, uint64_t keep_offset)
{
	if (entry->disk_bytes == 0)
		return;
	if (entry->offset_bytes >= keep_offset) {
		apply(r, entry);
		return;
	}
	r->nr_writes++;
	if (is_lost(r))
		r->nr_lost++;
	else if (r->loss == TEAR && dice_below(&r->dice, 2))
		apply_torn(r, entry);
	else
		apply(r, entry);
}

/* Where the last epoch begins: behind the last flush among the first @position entries. */
static uint64_t epoch_of(const struct log *log, uint64_t position)
{
	while (position > 0 && !log_is_barrier(&log->entries[position - 1]))
		position--;
	return position;
}

int verb_replay(char **arguments)
{
	struct replay r = { .log = log_open(arguments[0]) };
	uint64_t position = must_number(arguments[2]);
	uint64_t seed = must_number(arguments[3]);
	uint64_t keep_offset = must_number(arguments[4]);
	uint64_t epoch;

	if (position > r.log.nr_entries)
		die(0, "the log has %" PRIu64 " entries only", r.log.nr_entries);
	r.disk_fd = must_open(arguments[1], O_WRONLY);
	r.dice = dice_of(seed);
	r.loss = seed ? (enum loss)(LOSE_ALL + dice_below(&r.dice, 4)) : LOSE_NOTHING;
	epoch = epoch_of(&r.log, position);
	for (uint64_t i = 0; i < epoch; i++)
		apply(&r, &r.log.entries[i]);
	for (uint64_t i = epoch; i < position; i++)
		apply_unflushed(&r, &r.log.entries[i], keep_offset);
	if (close(r.disk_fd) < 0)
		die(errno, "%s", arguments[1]);
	printf("cut after %" PRIu64 " entries, seed %" PRIu64 ": of %" PRIu64
	       " unflushed writes %" PRIu64 " lost, %" PRIu64 " torn\n",
	       position, seed, r.nr_writes, r.nr_lost, r.nr_torn);
	return 0;
}
