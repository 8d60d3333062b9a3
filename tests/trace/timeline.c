/* SPDX-License-Identifier: MIT */
/* Reading traces: see timeline.h. */
#include "trace/timeline.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "trace/common.h"

static struct event *append(struct timeline *timeline)
{
	if (timeline->nr == timeline->room) {
		timeline->room = timeline->room ? 2 * timeline->room : 1 << 12;
		timeline->events =
			realloc(timeline->events, timeline->room * sizeof(*timeline->events));
		if (!timeline->events)
			give_up("no memory");
	}
	return memset(&timeline->events[timeline->nr++], 0, sizeof(struct event));
}

struct reader {
	const char *path;
	const uint8_t *bytes;
	size_t nr_bytes;
	size_t at;
	uint64_t last_ns;
	bool has_file;
	uint32_t file;
};

/* False at the end, also at half a record there. */
static bool next_record(struct reader *reader, struct trace_record *ret_record,
			const uint8_t **ret_data)
{
	struct trace_record zeroed;
	const uint8_t *at = reader->bytes + reader->at;
	const size_t left = reader->nr_bytes - reader->at;
	uint32_t data_bytes;

	if (left < sizeof(*ret_record))
		return false;
	memcpy(ret_record, at, sizeof(*ret_record));
	zeroed = *ret_record;
	zeroed.crc = le32_of(0);
	data_bytes = le32_get(ret_record->data_bytes);
	if (le32_get(ret_record->magic) != TRACE_RECORD_MAGIC ||
	    crc32c(0, &zeroed, sizeof(zeroed)) != le32_get(ret_record->crc))
		give_up("%s: no record at byte %zu", reader->path, reader->at);
	if (left - sizeof(*ret_record) < data_bytes)
		return false;
	*ret_data = at + sizeof(*ret_record);
	if (crc32c(0, *ret_data, data_bytes) != le32_get(ret_record->data_crc))
		give_up("%s: wrong data at byte %zu", reader->path, reader->at);
	if (le64_get(ret_record->time_ns) < reader->last_ns)
		give_up("%s: time goes back at byte %zu", reader->path, reader->at);
	reader->last_ns = le64_get(ret_record->time_ns);
	reader->at += sizeof(*ret_record) + data_bytes;
	return true;
}

static void take_record(struct timeline *timeline, struct reader *reader,
			const struct trace_record *record, const uint8_t *data)
{
	const uint32_t data_bytes = le32_get(record->data_bytes);
	uint64_t bytes = 0;
	struct event *event;

	if (record->type == TRACE_FILE) {
		if (reader->has_file)
			give_up("%s: of more than one image", reader->path);
		reader->has_file = true;
		reader->file = le32_get(record->file);
	} else if (record->type != TRACE_END &&
		   (!reader->has_file || le32_get(record->file) != reader->file)) {
		give_up("%s: byte %zu: of a file without a name", reader->path, reader->at);
	}
	event = append(timeline);
	event->type = record->type;
	event->kind = record->kind;
	event->ring = record->ring;
	event->session = timeline->nr_sessions - 1;
	event->time_ns = le64_get(record->time_ns);
	event->id = le64_get(record->id);
	event->result = (int32_t)le32_get(record->result);
	if (record->type != TRACE_ISSUE)
		return;
	timeline->nr_operations++;
	event->data = data;
	if (record->kind == TRACE_WRITE)
		bytes = data_bytes;
	else if (record->kind == TRACE_PUNCH)
		bytes = le64_get(record->range_bytes);
	if ((bytes | le64_get(record->offset_bytes)) % SECTOR_BYTES != 0)
		give_up("%s: byte %zu: not of whole sectors", reader->path, reader->at);
	event->first_sector = bytes_to_sectors(le64_get(record->offset_bytes));
	event->nr_sectors = (uint32_t)bytes_to_sectors(bytes);
}

void timeline_add(struct timeline *timeline, const char *path)
{
	struct reader reader = { .path = path };
	struct trace_header header;
	struct trace_record record;
	const uint8_t *data;

	reader.bytes = must_map(path, &reader.nr_bytes);
	if (reader.nr_bytes < sizeof(header))
		give_up("%s: is not a trace", path);
	memcpy(&header, reader.bytes, sizeof(header));
	if (memcmp(header.magic, TRACE_MAGIC, sizeof(header.magic)) != 0 ||
	    le32_get(header.version) != TRACE_VERSION ||
	    le32_get(header.record_bytes) != sizeof(record))
		give_up("%s: is not a trace of version %d", path, TRACE_VERSION);
	reader.at = sizeof(header);
	timeline->nr_sessions++;
	while (next_record(&reader, &record, &data))
		take_record(timeline, &reader, &record, data);
	if (!reader.has_file)
		give_up("%s: of no image", path);
}

void event_text(const struct event *event, char ret_text[EVENT_TEXT_BYTES])
{
	static const char *const types[] = { "?", "begin", "issue", "done", "end" };
	static const char *const kinds[] = { "", " WRITE", " FDATASYNC", " PUNCH", " ALLOCATE" };
	int n = snprintf(ret_text, EVENT_TEXT_BYTES, "session %u, %s%s", event->session + 1,
			 types[event->type <= TRACE_END ? event->type : 0],
			 kinds[event->kind <= TRACE_ALLOCATE ? event->kind : 0]);

	if (event->nr_sectors > 0)
		snprintf(ret_text + n, EVENT_TEXT_BYTES - (size_t)n,
			 " of %" PRIu32 " sectors at byte %" PRIu64 " by ring %u",
			 event->nr_sectors, sectors_to_bytes(event->first_sector), event->ring);
}
