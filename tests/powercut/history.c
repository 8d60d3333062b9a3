/* SPDX-License-Identifier: MIT */
#include "powercut/history.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "powercut/content.h"
#include "powercut/util.h"

#define HISTORY_MAGIC UINT64_C(0x7365616c68697374)

/* The file's head; the events follow. Written and read by one build of this program. */
struct head {
	uint64_t magic;
	uint64_t seed;
	uint64_t disk_sectors;
	uint64_t nr_events;
};

struct oracle {
	const struct history *history;
	struct event *changes; /* by version */
	uint64_t nr_changes;   /* sent before the cut, for all that is known */
	uint64_t *done;	       /* by sector: the version acknowledged last */
	uint64_t *durable;     /* the version promised last */
	uint64_t *zeroed;      /* the version of the last zeroing sent */
	uint64_t *frozen[FLUSHES_MAX];
};

void history_add(struct history *history, struct event event)
{
	if (history->nr_events == history->events_max) {
		history->events_max = history->events_max * 2 + 1024;
		history->events =
			realloc(history->events, history->events_max * sizeof(*history->events));
		if (!history->events)
			die(ENOMEM, "history");
	}
	history->events[history->nr_events++] = event;
}

void history_save(const struct history *history, const char *path)
{
	struct head head = { HISTORY_MAGIC, history->seed, history->disk_sectors,
			     history->nr_events };
	int fd = must_open(path, O_WRONLY | O_CREAT);

	must_write(fd, &head, sizeof(head), 0);
	must_write(fd, history->events, history->nr_events * sizeof(*history->events),
		   sizeof(head));
	if (fsync(fd) < 0)
		die(errno, "%s", path);
	close(fd);
}

struct history history_load(const char *path)
{
	int fd = must_open(path, O_RDONLY);
	struct history history = { 0 };
	struct head head;

	must_read(fd, &head, sizeof(head), 0);
	if (head.magic != HISTORY_MAGIC)
		die(0, "%s: not a history", path);
	history.seed = head.seed;
	history.disk_sectors = head.disk_sectors;
	history.nr_events = history.events_max = head.nr_events;
	history.events = must_alloc(head.nr_events, sizeof(*history.events));
	must_read(fd, history.events, head.nr_events * sizeof(*history.events), sizeof(head));
	close(fd);
	return history;
}

static void set_range(uint64_t *versions, const struct event *change)
{
	for (uint64_t i = 0; i < change->nr_sectors; i++)
		versions[change->first_sector + i] = change->number;
}

static void promise_frozen(struct oracle *o, const uint64_t *frozen)
{
	for (uint64_t i = 0; i < o->history->disk_sectors; i++)
		if (o->durable[i] < frozen[i])
			o->durable[i] = frozen[i];
}

/* What is known to have happened before the mark on the disk. */
static void happened(struct oracle *o, const struct event *event)
{
	switch (event->kind) {
	case EVENT_DONE:
		set_range(o->done, &o->changes[event->number]);
		break;
	case EVENT_DURABLE:
		set_range(o->durable, &o->changes[event->number]);
		break;
	case EVENT_FLUSH:
		memcpy(o->frozen[event->number], o->done, o->history->disk_sectors * 8);
		break;
	case EVENT_FLUSHED:
		promise_frozen(o, o->frozen[event->number]);
		break;
	case EVENT_WRITE:
	case EVENT_ZERO:
	case EVENT_MARK:
		break;
	}
}

static void add_change(struct oracle *o, const struct event *event)
{
	o->changes[event->number] = *event;
	o->nr_changes = event->number;
	if (event->kind == EVENT_ZERO)
		set_range(o->zeroed, event);
}

struct oracle *oracle_new(const struct history *history, uint64_t mark)
{
	struct oracle *o = must_alloc(1, sizeof(*o));
	bool past_mark = mark == 0;

	o->history = history;
	o->changes = must_alloc(history->nr_events + 1, sizeof(*o->changes));
	o->done = must_alloc(history->disk_sectors, 8);
	o->durable = must_alloc(history->disk_sectors, 8);
	o->zeroed = must_alloc(history->disk_sectors, 8);
	for (int i = 0; i < FLUSHES_MAX; i++)
		o->frozen[i] = must_alloc(history->disk_sectors, 8);
	for (uint64_t i = 0; i < history->nr_events; i++) {
		const struct event *event = &history->events[i];

		if (event->kind == EVENT_MARK && event->number > mark)
			break;
		if (event->kind == EVENT_WRITE || event->kind == EVENT_ZERO)
			add_change(o, event);
		if (!past_mark)
			happened(o, event);
		if (event->kind == EVENT_MARK && event->number == mark)
			past_mark = true;
	}
	if (!past_mark)
		die(0, "the history has no mark %" PRIu64, mark);
	return o;
}

static bool has_written(const struct oracle *o, uint64_t version, uint64_t sector)
{
	const struct event *change;

	if (version == 0 || version > o->nr_changes)
		return false;
	change = &o->changes[version];
	return change->kind == EVENT_WRITE && sector >= change->first_sector &&
	       sector - change->first_sector < change->nr_sectors;
}

const char *oracle_judge(const struct oracle *o, uint64_t sector, const uint8_t bytes[SECTOR_BYTES])
{
	static char text[200];
	uint64_t promised = o->durable[sector];
	uint64_t version = 0;

	switch (content_read(bytes, o->history->seed, sector, &version)) {
	case CONTENT_ZEROS:
		/* Before its first change it was zero. */
		if (o->zeroed[sector] >= promised)
			return NULL;
		snprintf(text, sizeof(text), "zeros, but version %" PRIu64 " was promised",
			 promised);
		return text;
	case CONTENT_WRITTEN:
		if (version >= promised && has_written(o, version, sector))
			return NULL;
		snprintf(text, sizeof(text), "version %" PRIu64 ", but %" PRIu64 " was promised",
			 version, promised);
		return text;
	case CONTENT_WRONG:
		break;
	}
	snprintf(text, sizeof(text),
		 "garbage (%02x %02x %02x %02x ...), version %" PRIu64 " was promised", bytes[0],
		 bytes[1], bytes[2], bytes[3], promised);
	return text;
}
