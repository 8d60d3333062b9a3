/* SPDX-License-Identifier: MIT */
/* What the sectors of a test hold: see content.h. */
#include "sim/content.h"

#include <stdio.h>
#include <string.h>

#include "sim/state.h"

static uint32_t the_seed;

/* The head of a sector of data, in the host's byte order. */
struct head {
	uint64_t sector;
	uint32_t content;
	uint32_t seed;
};
_Static_assert(sizeof(struct head) == CONTENT_UNIT_BYTES, "a unit");

void content_use_seed(uint32_t seed)
{
	the_seed = seed;
}

static struct head head_of(uint64_t sector, uint32_t content)
{
	return (struct head){ .sector = sector,
			      .content = content,
			      .seed = content == CONTENT_BASE ? 0 : the_seed };
}

void content_fill(uint64_t sector, uint32_t content, uint8_t ret_bytes[SECTOR_BYTES])
{
	const struct head head = head_of(sector, content);
	uint64_t word = mix64(mix64(sector + SIM_GOLDEN) + content) + head.seed;

	if (content == CONTENT_ZERO) {
		memset(ret_bytes, 0, SECTOR_BYTES);
		return;
	}
	memcpy(ret_bytes, &head, sizeof(head));
	for (size_t at = sizeof(head); at < SECTOR_BYTES; at += sizeof(word)) {
		word = mix64(word + SIM_GOLDEN);
		memcpy(ret_bytes + at, &word, sizeof(word));
	}
}

uint32_t content_of(uint64_t sector, const uint8_t bytes[SECTOR_BYTES])
{
	uint8_t expected[SECTOR_BYTES];
	struct head head;
	uint32_t content;

	memcpy(&head, bytes, sizeof(head));
	content = head.sector || head.content ? head.content : CONTENT_ZERO;
	content_fill(sector, content, expected);
	return memcmp(bytes, expected, SECTOR_BYTES) == 0 ? content : CONTENT_GARBAGE;
}

void content_set_add(struct content_set *set, uint32_t content)
{
	if (content_set_has(set, content))
		return;
	sim_require(set->nr < CONTENT_SET_MAX, "too many contents");
	set->contents[set->nr++] = content;
}

bool content_set_has(const struct content_set *set, uint32_t content)
{
	for (uint32_t i = 0; i < set->nr; i++)
		if (set->contents[i] == content)
			return true;
	return false;
}

bool content_is_torn(uint64_t sector, const uint8_t bytes[SECTOR_BYTES],
		     const struct content_set *set)
{
	uint8_t allowed[CONTENT_SET_MAX][SECTOR_BYTES];

	for (uint32_t i = 0; i < set->nr; i++)
		content_fill(sector, set->contents[i], allowed[i]);
	for (size_t at = 0; at < SECTOR_BYTES; at += CONTENT_UNIT_BYTES) {
		uint32_t i = 0;

		while (i < set->nr && memcmp(bytes + at, allowed[i] + at, CONTENT_UNIT_BYTES) != 0)
			i++;
		if (i == set->nr)
			return false;
	}
	return true;
}

void content_name(uint32_t content, char ret_text[CONTENT_TEXT_BYTES])
{
	if (content == CONTENT_ZERO)
		strcpy(ret_text, "zeros");
	else if (content == CONTENT_BASE)
		strcpy(ret_text, "base");
	else if (content == CONTENT_GARBAGE)
		strcpy(ret_text, "garbage");
	else
		snprintf(ret_text, CONTENT_TEXT_BYTES, "data %u", content);
}

void content_names(const struct content_set *set, char ret_text[CONTENT_TEXT_BYTES])
{
	size_t used = 0;

	ret_text[0] = 0;
	for (uint32_t i = 0; i < set->nr && used < CONTENT_TEXT_BYTES; i++) {
		char name[CONTENT_TEXT_BYTES];

		content_name(set->contents[i], name);
		used += (size_t)snprintf(ret_text + used, CONTENT_TEXT_BYTES - used, "%s%.40s",
					 used ? " or " : "", name);
	}
}
