/* SPDX-License-Identifier: MIT */
/*
 * What the sectors under test may read as, from what the client was told.
 *
 * Every sector has versions: the one it began with, and one for each write,
 * zero or trim, whether it was answered or not. Version a comes before b when a
 * was answered before b was issued; versions that overlap have no order. A
 * version is out once one that comes after it is certain:
 *
 *   after a power cut: covered by a FLUSH or FUA that was answered with success
 *   after a kill, or while the daemon runs: itself answered with success
 *
 * Nothing else is allowed: no version from before, no mixture, no garbage.
 */
#ifndef TESTS_SIM_ORACLE_H
#define TESTS_SIM_ORACLE_H

#include <stdbool.h>
#include <stdint.h>

#include "sealblk/units.h"

enum {
	ORACLE_SECTORS = 2,
	ORACLE_VERSIONS_MAX = 8, /* of a sector; also flushes and policy changes */
};

/* What a sector holds; from CONTENT_FIRST on: the data of that number. */
enum content {
	CONTENT_ZERO,
	CONTENT_BASE,
	CONTENT_FIRST,
	CONTENT_LAST = 31,
	CONTENT_GARBAGE = 63,
};

/* Something the client asked for, on the oracle's clock; 0: not yet. */
struct deed {
	uint32_t issued_at;
	uint32_t answered_at;
	bool failed; /* it was answered with an error */
};

struct sector_version {
	struct deed deed;
	uint8_t content; /* enum content */
	bool durable;
};

struct sector_history {
	uint32_t nr;
	struct sector_version versions[ORACLE_VERSIONS_MAX];
};

struct oracle {
	uint32_t clock;
	struct sector_history sectors[ORACLE_SECTORS];
	bool enabled;	     /* encryption, as last answered */
	bool enabled_wanted; /* and as asked for: during the change either may be found */
};

/* How bad was what happened since the client last saw the sectors? */
enum severity { SEVERITY_NONE, SEVERITY_KILL, SEVERITY_POWER };

/* Sector @n of those under test holds contents[n] for certain. */
void oracle_init(struct oracle *oracle, const uint8_t contents[ORACLE_SECTORS], bool enabled);

/*
 * A change of sectors [@first, @first + @nr) to @content was issued; answered,
 * @fua: durably. The number that issue returns is for answer; on every sector
 * the change has the same one or none.
 */
struct oracle_change {
	uint32_t first, nr;
	uint32_t versions[ORACLE_SECTORS];
};
struct oracle_change oracle_issue(struct oracle *oracle, uint32_t first, uint32_t nr,
				  uint8_t content);
void oracle_answer(struct oracle *oracle, const struct oracle_change *change, int error, bool fua);

/* A FLUSH, or the moment that begins a read. Returns when it was issued. */
uint32_t oracle_now(struct oracle *oracle);

/* The FLUSH issued at @issued_at was answered with success. */
void oracle_flushed(struct oracle *oracle, uint32_t issued_at);

/* Bit c: sector @n may hold content c. */
uint64_t oracle_allowed(const struct oracle *oracle, uint32_t n, enum severity severity);

/* The same for a READ issued at @since that is answered now. */
uint64_t oracle_readable(const struct oracle *oracle, uint32_t n, uint32_t since);

/* ---- contents ------------------------------------------------------------- */

/* What disk sector @sector looks like with @content. */
void content_fill(uint64_t sector, uint8_t content, uint8_t ret_bytes[SECTOR_BYTES]);

/* Which content of @sector is this? CONTENT_GARBAGE: none. */
uint8_t content_of(uint64_t sector, const uint8_t bytes[SECTOR_BYTES]);

enum { CONTENT_TEXT_BYTES = 160 };

/* "zeros", "base", "data 3", "garbage"; of a set, all of them. */
void content_name(uint8_t content, char ret_text[CONTENT_TEXT_BYTES]);
void content_names(uint64_t contents, char ret_text[CONTENT_TEXT_BYTES]);

#endif
