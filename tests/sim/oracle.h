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

#include "sim/content.h"

enum {
	ORACLE_SECTORS_MAX = 16,
	ORACLE_VERSIONS_MAX = CONTENT_SET_MAX, /* of a sector, that may still be found */
};

/* Something the client asked for, on the oracle's clock; 0: not yet. */
struct deed {
	uint32_t issued_at;
	uint32_t answered_at;
	bool failed; /* it was answered with an error */
};

struct sector_version {
	struct deed deed;
	uint32_t content;
	bool durable;
};

struct sector_history {
	uint32_t nr;
	struct sector_version versions[ORACLE_VERSIONS_MAX];
};

struct oracle {
	uint32_t clock;
	uint32_t nr_sectors;
	struct sector_history sectors[ORACLE_SECTORS_MAX];
	bool enabled;	     /* encryption, as last answered */
	bool enabled_wanted; /* and as asked for: during the change either may be found */
};

/* How bad was what happened since the client last saw the sectors? */
enum severity { SEVERITY_NONE, SEVERITY_KILL, SEVERITY_POWER };

/* Sector @n of the @nr_sectors under test holds contents[n] for certain. */
void oracle_init(struct oracle *oracle, uint32_t nr_sectors, const uint32_t *contents,
		 bool enabled);

/*
 * A change of sectors [@first, @first + @nr) to @content was issued; answered,
 * @fua: durably. No two changes of a sector have the same content, zeros apart.
 */
struct oracle_change {
	uint32_t first, nr;
	uint32_t issued_at; /* by this the change is found again */
};
struct oracle_change oracle_issue(struct oracle *oracle, uint32_t first, uint32_t nr,
				  uint32_t content);
void oracle_answer(struct oracle *oracle, const struct oracle_change *change, int error, bool fua);

/*
 * Can oracle_issue() not take another change of any of these sectors until a
 * FLUSH? @oldest_read: when the oldest READ not yet answered was issued, which
 * may find what has become impossible since; UINT32_MAX: there is none.
 */
bool oracle_is_full(struct oracle *oracle, uint32_t first, uint32_t nr, uint32_t oldest_read);

/* A FLUSH, or the moment that begins a read. Returns when it was issued. */
uint32_t oracle_now(struct oracle *oracle);

/* The FLUSH issued at @issued_at was answered with success. */
void oracle_flushed(struct oracle *oracle, uint32_t issued_at);

/* What sector @n may hold. */
struct content_set oracle_allowed(const struct oracle *oracle, uint32_t n, enum severity severity);

/* The same for a READ issued at @since that is answered now. */
struct content_set oracle_readable(const struct oracle *oracle, uint32_t n, uint32_t since);

#endif
