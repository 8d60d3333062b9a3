/* SPDX-License-Identifier: MIT */
/* What sectors may read as: see oracle.h. */
#include "sim/oracle.h"

#include <string.h>

#include "sim/state.h"

void oracle_init(struct oracle *oracle, uint32_t nr_sectors, const uint32_t *contents, bool enabled)
{
	memset(oracle, 0, sizeof(*oracle));
	oracle->clock = 1;
	oracle->nr_sectors = nr_sectors;
	oracle->enabled = enabled;
	oracle->enabled_wanted = enabled;
	for (uint32_t n = 0; n < nr_sectors; n++) {
		oracle->sectors[n].nr = 1;
		oracle->sectors[n].versions[0] = (struct sector_version){
			.deed = { .issued_at = 1, .answered_at = 1 },
			.content = contents[n],
			.durable = true,
		};
	}
}

uint32_t oracle_now(struct oracle *oracle)
{
	return ++oracle->clock;
}

struct oracle_change oracle_issue(struct oracle *oracle, uint32_t first, uint32_t nr,
				  uint32_t content)
{
	const struct oracle_change change = { .first = first,
					      .nr = nr,
					      .issued_at = oracle_now(oracle) };

	for (uint32_t n = first; n < first + nr; n++) {
		struct sector_history *sector = &oracle->sectors[n];

		sim_require(sector->nr < ORACLE_VERSIONS_MAX, "too many versions of a sector");
		sector->versions[sector->nr++] = (struct sector_version){
			.deed = { .issued_at = change.issued_at },
			.content = content,
		};
	}
	return change;
}

void oracle_answer(struct oracle *oracle, const struct oracle_change *change, int error, bool fua)
{
	const uint32_t now = oracle_now(oracle);

	for (uint32_t n = change->first; n < change->first + change->nr; n++) {
		struct sector_history *sector = &oracle->sectors[n];
		uint32_t i = sector->nr - 1;

		while (sector->versions[i].deed.issued_at != change->issued_at)
			i--;
		sector->versions[i].deed.answered_at = now;
		sector->versions[i].deed.failed = error < 0;
		sector->versions[i].durable = fua && error == 0;
	}
}

void oracle_flushed(struct oracle *oracle, uint32_t issued_at)
{
	for (uint32_t n = 0; n < oracle->nr_sectors; n++) {
		struct sector_history *sector = &oracle->sectors[n];

		for (uint32_t i = 0; i < sector->nr; i++) {
			struct sector_version *version = &sector->versions[i];

			if (version->deed.answered_at && version->deed.answered_at < issued_at &&
			    !version->deed.failed)
				version->durable = true;
		}
	}
}

static bool comes_before(const struct deed *a, const struct deed *b)
{
	return a->answered_at && a->answered_at < b->issued_at;
}

/* Was it answered with success before @when? */
static bool is_done(const struct deed *deed, uint32_t when)
{
	return deed->answered_at && deed->answered_at < when && !deed->failed;
}

/* Is version @i of @sector out after @severity, by what was answered before @when? */
static bool is_out(const struct sector_history *sector, uint32_t i, enum severity severity,
		   uint32_t when)
{
	for (uint32_t j = 0; j < sector->nr; j++) {
		const struct sector_version *later = &sector->versions[j];

		if (is_done(&later->deed, when) && (severity != SEVERITY_POWER || later->durable) &&
		    comes_before(&sector->versions[i].deed, &later->deed))
			return true;
	}
	return false;
}

/*
 * Forget what is out after a power cut: it is so for ever, and whatever it puts
 * out is also put out by what comes after it.
 */
static void forget(struct sector_history *sector, uint32_t oldest_read)
{
	uint32_t i = 0;

	while (i < sector->nr) {
		struct sector_version *version = &sector->versions[i];

		if (is_out(sector, i, SEVERITY_POWER, oldest_read))
			memmove(version, version + 1, (--sector->nr - i) * sizeof(*version));
		else
			i++;
	}
}

bool oracle_is_full(struct oracle *oracle, uint32_t first, uint32_t nr, uint32_t oldest_read)
{
	bool full = false;

	for (uint32_t n = first; n < first + nr; n++) {
		forget(&oracle->sectors[n], oldest_read);
		full |= oracle->sectors[n].nr == ORACLE_VERSIONS_MAX;
	}
	return full;
}

struct content_set oracle_allowed(const struct oracle *oracle, uint32_t n, enum severity severity)
{
	const struct sector_history *sector = &oracle->sectors[n];
	struct content_set allowed = { 0 };

	for (uint32_t i = 0; i < sector->nr; i++)
		if (!is_out(sector, i, severity, UINT32_MAX))
			content_set_add(&allowed, sector->versions[i].content);
	return allowed;
}

struct content_set oracle_readable(const struct oracle *oracle, uint32_t n, uint32_t since)
{
	const struct sector_history *sector = &oracle->sectors[n];
	struct content_set readable = { 0 };

	for (uint32_t i = 0; i < sector->nr; i++)
		if (!is_out(sector, i, SEVERITY_NONE, since))
			content_set_add(&readable, sector->versions[i].content);
	return readable;
}
