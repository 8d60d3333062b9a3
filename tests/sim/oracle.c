/* SPDX-License-Identifier: MIT */
/* What sectors may read as: see oracle.h. */
#include "sim/oracle.h"

#include <stdio.h>
#include <string.h>

#include "sim/state.h"

void oracle_init(struct oracle *oracle, const uint8_t contents[ORACLE_SECTORS], bool enabled)
{
	*oracle = (struct oracle){ .clock = 1, .enabled = enabled, .enabled_wanted = enabled };
	for (uint32_t n = 0; n < ORACLE_SECTORS; n++) {
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
				  uint8_t content)
{
	struct oracle_change change = { .first = first, .nr = nr };
	const uint32_t now = oracle_now(oracle);

	for (uint32_t n = first; n < first + nr; n++) {
		struct sector_history *sector = &oracle->sectors[n];

		sim_require(sector->nr < ORACLE_VERSIONS_MAX, "too many versions of a sector");
		change.versions[n] = sector->nr;
		sector->versions[sector->nr++] = (struct sector_version){
			.deed = { .issued_at = now },
			.content = content,
		};
	}
	return change;
}

void oracle_answer(struct oracle *oracle, const struct oracle_change *change, int error, bool fua)
{
	const uint32_t now = oracle_now(oracle);

	for (uint32_t n = change->first; n < change->first + change->nr; n++) {
		struct sector_version *version = &oracle->sectors[n].versions[change->versions[n]];

		version->deed.answered_at = now;
		version->deed.failed = error < 0;
		version->durable = fua && error == 0;
	}
}

void oracle_flushed(struct oracle *oracle, uint32_t issued_at)
{
	for (uint32_t n = 0; n < ORACLE_SECTORS; n++) {
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

uint64_t oracle_allowed(const struct oracle *oracle, uint32_t n, enum severity severity)
{
	const struct sector_history *sector = &oracle->sectors[n];
	uint64_t allowed = 0;

	for (uint32_t i = 0; i < sector->nr; i++) {
		const struct sector_version *version = &sector->versions[i];
		bool out = false;

		for (uint32_t j = 0; j < sector->nr; j++) {
			const struct sector_version *later = &sector->versions[j];
			const bool certain = severity == SEVERITY_POWER
						     ? later->durable
						     : is_done(&later->deed, UINT32_MAX);

			out |= certain && comes_before(&version->deed, &later->deed);
		}
		if (!out)
			allowed |= UINT64_C(1) << version->content;
	}
	return allowed;
}

uint64_t oracle_readable(const struct oracle *oracle, uint32_t n, uint32_t since)
{
	const struct sector_history *sector = &oracle->sectors[n];
	uint64_t readable = 0;

	for (uint32_t i = 0; i < sector->nr; i++) {
		const struct sector_version *version = &sector->versions[i];
		bool out = false;

		for (uint32_t j = 0; j < sector->nr; j++) {
			const struct sector_version *later = &sector->versions[j];

			out |= is_done(&later->deed, since) &&
			       comes_before(&version->deed, &later->deed);
		}
		if (!out)
			readable |= UINT64_C(1) << version->content;
	}
	return readable;
}

/* ---- contents ------------------------------------------------------------- */

static uint64_t content_word(uint64_t sector, uint8_t content, uint32_t i)
{
	return content == CONTENT_ZERO ? 0 : mix64(mix64(sector * 64 + content) + i);
}

void content_fill(uint64_t sector, uint8_t content, uint8_t ret_bytes[SECTOR_BYTES])
{
	for (uint32_t i = 0; i < SECTOR_BYTES / 8; i++) {
		const uint64_t word = content_word(sector, content, i);

		memcpy(ret_bytes + i * 8, &word, sizeof(word));
	}
}

uint8_t content_of(uint64_t sector, const uint8_t bytes[SECTOR_BYTES])
{
	uint64_t first;

	memcpy(&first, bytes, sizeof(first));
	for (uint8_t content = 0; content <= CONTENT_LAST; content++) {
		uint8_t expected[SECTOR_BYTES];

		if (first != content_word(sector, content, 0))
			continue;
		content_fill(sector, content, expected);
		if (memcmp(bytes, expected, SECTOR_BYTES) == 0)
			return content;
	}
	return CONTENT_GARBAGE;
}

void content_name(uint8_t content, char ret_text[CONTENT_TEXT_BYTES])
{
	if (content == CONTENT_ZERO)
		strcpy(ret_text, "zeros");
	else if (content == CONTENT_BASE)
		strcpy(ret_text, "base");
	else if (content <= CONTENT_LAST)
		snprintf(ret_text, CONTENT_TEXT_BYTES, "data %u", content);
	else
		strcpy(ret_text, "garbage");
}

void content_names(uint64_t contents, char ret_text[CONTENT_TEXT_BYTES])
{
	size_t used = 0;

	ret_text[0] = 0;
	for (uint8_t content = 0; content <= CONTENT_LAST; content++) {
		char name[CONTENT_TEXT_BYTES];

		if (!(contents >> content & 1) || used >= CONTENT_TEXT_BYTES)
			continue;
		content_name(content, name);
		used += (size_t)snprintf(ret_text + used, CONTENT_TEXT_BYTES - used, "%s%s",
					 used ? " or " : "", name);
	}
}
