/* SPDX-License-Identifier: MIT */
/* Digests and sets of them: see digest.h. */
#include "sim/digest.h"

#include <stdlib.h>
#include <string.h>

#include "sim/sparse.h"
#include "sim/state.h"

uint64_t digest_number(uint64_t digest, uint64_t number)
{
	return mix64(digest + SIM_GOLDEN + number);
}

uint64_t digest_text(uint64_t digest, const char *text)
{
	for (; *text; text++)
		digest = digest_number(digest, (unsigned char)*text);
	return digest_number(digest, 0);
}

static void digest_words(uint64_t *lanes, int nr_lanes, const char *at)
{
	for (int lane = 0; lane < nr_lanes; lane++) {
		uint64_t word;

		memcpy(&word, at + lane * sizeof(word), sizeof(word));
		lanes[lane] = (lanes[lane] ^ word) * SIM_GOLDEN;
		lanes[lane] ^= lanes[lane] >> 29;
	}
}

/* Eight chains of multiplications side by side, since each waits for the one before. */
uint64_t digest_bytes(uint64_t digest, const void *bytes, size_t nr_bytes)
{
	uint64_t lanes[8] = { digest, 1, 2, 3, 4, 5, 6, 7 };
	const char *at = bytes;

	for (; nr_bytes >= sizeof(lanes); nr_bytes -= sizeof(lanes), at += sizeof(lanes))
		digest_words(lanes, 8, at);
	if (nr_bytes)
		digest_words(lanes, 4, at);
	for (int lane = 1; lane < 8; lane++)
		lanes[0] = mix64(lanes[0] + SIM_GOLDEN + lanes[lane]);
	return lanes[0];
}

/* Returns where @digest is, or the free place where it belongs. */
static uint64_t *place_of(const struct digest_set *set, uint64_t digest)
{
	uint64_t at = digest & (set->nr_places - 1);

	while (set->places[at] && set->places[at] != digest)
		at = (at + 1) & (set->nr_places - 1);
	return &set->places[at];
}

static void grow(struct digest_set *set)
{
	struct digest_set larger = { .nr_places = set->nr_places ? 4 * set->nr_places : 1 << 12 };

	larger.places = sparse_alloc(larger.nr_places * sizeof(*larger.places));
	for (uint64_t i = 0; i < set->nr_places; i++)
		if (set->places[i])
			*place_of(&larger, set->places[i]) = set->places[i];
	free(set->places);
	set->places = larger.places;
	set->nr_places = larger.nr_places;
}

bool digest_set_add(struct digest_set *set, uint64_t digest)
{
	uint64_t *place;

	if (2 * set->nr >= set->nr_places)
		grow(set);
	digest |= digest == 0;
	place = place_of(set, digest);
	if (*place)
		return false;
	*place = digest;
	set->nr++;
	return true;
}

void digest_set_done(struct digest_set *set)
{
	free(set->places);
	*set = (struct digest_set){ 0 };
}
