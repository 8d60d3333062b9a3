/* SPDX-License-Identifier: MIT */
#include "powercut/log.h"

#include <fcntl.h>

#include "powercut/util.h"
#include "sealblk/byteorder.h"

#define LOG_MAGIC UINT64_C(0x6a736677736872)

/* The first sector of the log. */
struct log_super {
	le64 magic;
	le64 version;
	le64 nr_entries;
	le32 sector_bytes;
};

/*
 * The head of an entry: a sector of its own, then the data: of a write @nr_sectors, of a mark
 * @data_bytes, rounded up to a sector; of a discard none.
 */
struct log_head {
	le64 sector;
	le64 nr_sectors;
	le64 flags;
	le64 data_bytes;
};

struct log log_open(const char *path)
{
	struct log log = { .fd = must_open(path, O_RDONLY) };
	struct log_super super;
	uint64_t sector_bytes, at;

	must_read(log.fd, &super, sizeof(super), 0);
	if (le64_get(super.magic) != LOG_MAGIC || le64_get(super.version) != 1)
		die(0, "%s: not a log of writes", path);
	log.nr_entries = le64_get(super.nr_entries);
	log.entries = must_alloc(log.nr_entries, sizeof(*log.entries));
	sector_bytes = le32_get(super.sector_bytes);
	at = sector_bytes;
	for (uint64_t i = 0; i < log.nr_entries; i++) {
		struct log_entry *entry = &log.entries[i];
		struct log_head head;

		must_read(log.fd, &head, sizeof(head), at);
		at += sector_bytes;
		entry->offset_bytes = le64_get(head.sector) * sector_bytes;
		entry->disk_bytes = le64_get(head.nr_sectors) * sector_bytes;
		entry->flags = le64_get(head.flags);
		entry->data_offset_bytes = at;
		if (entry->flags & LOG_MARK)
			entry->data_bytes = le64_get(head.data_bytes);
		else if (!(entry->flags & LOG_DISCARD))
			entry->data_bytes = entry->disk_bytes;
		at += (entry->data_bytes + sector_bytes - 1) / sector_bytes * sector_bytes;
	}
	return log;
}
