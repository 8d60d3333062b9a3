/* SPDX-License-Identifier: MIT */
/*
 * What a disk may hold, sector by sector, while requests overlap.
 *
 * Time is a counter of events. A sector has a set of values, each from the write
 * that brought it, alive from the moment the write was sent. A write that is
 * acknowledged ends the life of all values whose writes were acknowledged before
 * it was sent; concurrent ones may have come before or after it, and stay. What
 * was in flight when the daemon died may or may not have happened: it stays too.
 */
#ifndef TESTS_MODEL_DISK_H
#define TESTS_MODEL_DISK_H

#include <stdbool.h>
#include <stdint.h>

enum { SECTOR = 512 };

/* Values; from VALUE_WRITTEN on, the number of a write and with it the content. */
enum { VALUE_BASE, VALUE_ZERO, VALUE_STORED_ZERO, VALUE_WRITTEN };

/* Values of the context x-sealblk:encryption. */
enum { STATE_BASE, STATE_ZERO, STATE_PLAIN, STATE_SEALED };

/* @base: @nr_sectors of it, the caller's for good. */
void disk_init(const uint8_t *base, uint64_t nr_sectors);

/* The next event's time. */
uint64_t disk_now(void);

/* What a write of @value puts into @sector. */
void disk_fill(uint64_t sector, uint32_t value, uint8_t bytes[SECTOR]);

/* A write was sent, is acknowledged, or is lost with the daemon: who knows. */
void disk_write_sent(uint64_t sector, uint64_t nr_sectors, uint32_t value);
void disk_write_done(uint64_t sector, uint64_t nr_sectors, uint32_t value, uint64_t sent_at);
void disk_write_lost(uint64_t sector, uint64_t nr_sectors, uint32_t value);

/* Nothing sent before @time is in flight any more: older values are forgotten. */
void disk_forget_before(uint64_t time);

/*
 * A READ, sent at @sent_at, brought @bytes. What it shows is from then on the
 * only truth, unless writes were in flight. False: it must not be; said on stderr.
 */
bool disk_check_read(uint64_t sector, uint64_t nr_sectors, const uint8_t *bytes, uint64_t sent_at);

/* A BLOCK_STATUS, sent at @sent_at, says that all of the range is in @state. */
bool disk_check_state(uint64_t sector, uint64_t nr_sectors, uint32_t state, uint64_t sent_at);

#endif
