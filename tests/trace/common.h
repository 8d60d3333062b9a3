/* SPDX-License-Identifier: MIT */
/*
 * What the load and the replayer share: what sectors hold, the log of requests,
 * chance, and giving up.
 */
#ifndef TESTS_TRACE_COMMON_H
#define TESTS_TRACE_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/compiler.h"
#include "sealblk/units.h"

#define GOLDEN 0x9e3779b97f4a7c15u

static inline uint64_t mix64(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

/* Says what is wrong and exits 2: the run says nothing about the daemon. */
void give_up(const char *fmt, ...) PRINTF_LIKE(1, 2) __attribute__((noreturn));

/* Zeroed; gives up when there is none. */
void *must_alloc(size_t nr_bytes);

/* All of file @path, mapped privately: changes stay ours. Gives up when it cannot. */
uint8_t *must_map(const char *path, size_t *ret_bytes);

/* A decimal number and nothing else, or gives up. */
uint64_t must_number(const char *text);

/* ---- what sectors hold ---- */

/* By number of the request that wrote it; zeros and the base's bytes name nobody. */
void content_fill(uint64_t seed, uint64_t sector, uint32_t number, uint8_t ret_bytes[SECTOR_BYTES]);

/* The number of the request that wrote @bytes to @sector, every bit; 0: none did. */
uint32_t content_number(uint64_t seed, uint64_t sector, const uint8_t bytes[SECTOR_BYTES]);

/* ---- the log of a load: one session with a daemon ---- */

enum log_kind { LOG_WRITE, LOG_ZERO, LOG_TRIM, LOG_FLUSH, LOG_KINDS };

/*
 * Times are CLOCK_MONOTONIC, and on the safe side: a request is issued before
 * anything of it is sent, and answered after all of the reply has been received.
 */
struct log_request {
	uint32_t number; /* from 1; never twice in a run of several sessions */
	uint8_t kind;	 /* enum log_kind */
	bool fua;
	bool failed; /* it was answered with an error */
	uint64_t sector;
	uint32_t nr_sectors;
	uint64_t issued_ns;
	uint64_t answered_ns; /* 0: never */
};

/* Sectors that a load changes. */
struct window {
	uint64_t first_sector;
	uint32_t nr_sectors;
};

enum { WINDOWS_MAX = 16 };

struct load_log {
	uint64_t seed;
	uint64_t begin_ns; /* connected: no daemon from before is left */
	struct window windows[WINDOWS_MAX];
	unsigned int nr_windows;
	struct log_request *requests;
	uint32_t nr_requests;
};

/* Text, one line for each request. Both give up when they cannot. */
void log_write(const struct load_log *log, const char *path);
void log_read(struct load_log *ret_log, const char *path);

#endif
