/* SPDX-License-Identifier: MIT */
/*
 * What storage was asked for, in order: the records of one image from the traces
 * of successive daemons, one session each, as one line of events.
 */
#ifndef TESTS_TRACE_TIMELINE_H
#define TESTS_TRACE_TIMELINE_H

#include <stdbool.h>
#include <stdint.h>

#include "sealblk/trace_format.h"

struct event {
	uint8_t type; /* enum trace_type; TRACE_FILE: a session begins */
	uint8_t kind; /* enum trace_kind */
	uint8_t ring;
	unsigned int session; /* from 0 */
	uint64_t time_ns;
	uint64_t id; /* unique within the session */
	int32_t result;
	uint64_t first_sector; /* of the image's file; WRITE and PUNCH */
	uint32_t nr_sectors;
	const uint8_t *data; /* WRITE */
};

struct timeline {
	struct event *events;
	uint32_t nr;
	uint32_t room;
	unsigned int nr_sessions;
	uint64_t nr_operations; /* issued */
};

/*
 * Add the session recorded in @path, of which exactly one image must be traced.
 * Half a record at the end is left out. Gives up on a file that is no trace.
 */
void timeline_add(struct timeline *timeline, const char *path);

enum { EVENT_TEXT_BYTES = 160 };
void event_text(const struct event *event, char ret_text[EVENT_TEXT_BYTES]);

#endif
