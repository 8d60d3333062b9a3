/* SPDX-License-Identifier: MIT */
/*
 * What a load did, in the order of its events, and what a disk may hold after a
 * power cut in its midst.
 *
 * Changes are numbered from 1, their versions; those of one sector never overlap in
 * time. A FLUSH promises what was done when it was sent, a FUA its own change. A
 * mark (content.h) with the number k on a disk says that all events before MARK k
 * had happened, and, since marks survive every cut, that none after MARK k + 1 had.
 */
#ifndef TESTS_POWERCUT_HISTORY_H
#define TESTS_POWERCUT_HISTORY_H

#include <stdint.h>

#include "sealblk/units.h"

enum { FLUSHES_MAX = 2 };

enum event_kind {
	EVENT_WRITE,   /* sent; @number: its version */
	EVENT_ZERO,    /* sent, a trim or zeroing; @number: its version */
	EVENT_DONE,    /* a change is acknowledged; @number: its version */
	EVENT_DURABLE, /* and it was FUA */
	EVENT_FLUSH,   /* sent; @number: below FLUSHES_MAX, and not on its way */
	EVENT_FLUSHED, /* acknowledged; @number: as when it was sent */
	EVENT_MARK,    /* @number: the mark's */
};

struct event {
	enum event_kind kind;
	uint32_t nr_sectors; /* of a change */
	uint64_t first_sector;
	uint64_t number;
};

struct history {
	uint64_t seed;
	uint64_t disk_sectors;
	uint64_t nr_events;
	struct event *events;
	uint64_t events_max;
};

void history_add(struct history *history, struct event event);
void history_save(const struct history *history, const char *path);
struct history history_load(const char *path);

/* What each sector may hold, after a cut with mark @mark. */
struct oracle;

struct oracle *oracle_new(const struct history *history, uint64_t mark);

/* NULL: it may hold that. Otherwise what is wrong, until the next call. */
const char *oracle_judge(const struct oracle *oracle, uint64_t sector,
			 const uint8_t bytes[SECTOR_BYTES]);

#endif
