/* SPDX-License-Identifier: MIT */
/* Reading the log that QEMU's blklogwrites writes: that of the kernel's dm-log-writes. */
#ifndef TESTS_POWERCUT_LOG_H
#define TESTS_POWERCUT_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum {
	LOG_FLUSH = 1 << 0,
	LOG_FUA = 1 << 1,
	LOG_DISCARD = 1 << 2,
	LOG_MARK = 1 << 3,
};

struct log_entry {
	uint64_t offset_bytes; /* on the disk */
	uint64_t disk_bytes;   /* how much of the disk it is about */
	uint64_t flags;
	uint64_t data_offset_bytes; /* in the log; a discard has no data */
	uint64_t data_bytes;
};

struct log {
	int fd;
	uint64_t nr_entries;
	struct log_entry *entries;
};

struct log log_open(const char *path);

/* Has all that comes before @entry reached the medium when it is done? */
static inline bool log_is_barrier(const struct log_entry *entry)
{
	return entry->flags & (LOG_FLUSH | LOG_FUA);
}

#endif
