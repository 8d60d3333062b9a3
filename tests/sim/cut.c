/* SPDX-License-Identifier: MIT */
/*
 * The end of a run: every state in which its files may be found.
 *
 * A candidate is a write or punch that may have reached what survives. A slot
 * is a sector on which candidates leave their mark; its version 0 is what is
 * there for certain, the others come from candidates, oldest first. A state
 * picks one version of every slot.
 */
#include "sim/digest.h"
#include "sim/state.h"

#include <stdlib.h>
#include <string.h>

enum {
	CELLS_MAX = 63, /* one bit of a state's index each */
	UNIT_BYTES = 16,
};

struct touch {
	uint32_t file;
	uint32_t candidate;
	uint64_t sector;
};

struct version {
	uint32_t candidate; /* nr_candidates: the image as it is */
	bool is_distinct;   /* reads unlike every older version */
	uint64_t hash;	    /* sparse_hash() */
};

struct slot {
	uint32_t file;
	uint64_t sector;
	uint32_t first_version;
	uint32_t nr_versions;
	uint32_t nr_distinct;
	uint64_t stride; /* SIM_SECTORS: product of nr_distinct of the slots before */
	uint64_t image_hash;
};

struct sim_cut {
	const struct sim *sim;
	struct sim_cut_plan plan;
	uint64_t nr_states;
	bool is_exhaustive;

	struct effect *candidates; /* oldest first; payloads borrowed from @sim */
	uint32_t *cells;	   /* of each candidate: its number among the undecided */
	uint32_t nr_candidates;
	uint32_t nr_cells;

	struct slot *slots; /* by file and sector */
	uint32_t nr_slots;
	struct version *versions;
};

struct touches {
	struct touch *all;
	uint32_t nr;
	uint32_t room;
};

/* What stays for certain when the candidates are left aside. */
static const struct sparse *image_of(const struct sim_cut *cut, uint32_t file)
{
	const struct sim_file *from = &cut->sim->files[file];

	return cut->plan.kind == SIM_POWER_CUT ? &from->medium : &from->cache;
}

static uint64_t image_bytes_of(const struct sim_cut *cut, uint32_t file)
{
	const struct sim_file *from = &cut->sim->files[file];

	return cut->plan.kind == SIM_POWER_CUT ? from->medium_bytes : from->cache_bytes;
}

/* ---- candidates ----------------------------------------------------------- */

static void add_candidate(struct sim_cut *cut, const struct effect *effect)
{
	cut->candidates[cut->nr_candidates] = *effect;
	cut->cells[cut->nr_candidates] = effect->durable ? UINT32_MAX : cut->nr_cells++;
	cut->nr_candidates++;
}

static void find_candidates(struct sim_cut *cut)
{
	const struct sim *sim = cut->sim;
	const size_t nr_most = (size_t)sim->nr_effects + sim->nr_flights;

	cut->candidates = sparse_alloc(nr_most * sizeof(*cut->candidates));
	cut->cells = sparse_alloc(nr_most * sizeof(*cut->cells));
	if (cut->plan.kind == SIM_POWER_CUT)
		for (uint32_t i = 0; i < sim->nr_effects; i++)
			add_candidate(cut, &sim->effects[i]);
	for (uint32_t i = 0; i < sim->nr_flights; i++) {
		const struct flight *flight = &sim->flights[i];

		if (kind_changes_file(flight->kind) && !flight->executed &&
		    flight->file < SIM_FILES_MAX) {
			const struct effect rest = flight_rest(flight);

			add_candidate(cut, &rest);
		}
	}
}

/* ---- slots ---------------------------------------------------------------- */

static void add_touch(struct touches *touches, struct touch touch)
{
	touches->all = sparse_grow(touches->all, touches->nr, &touches->room, sizeof(touch));
	touches->all[touches->nr++] = touch;
}

/* A punch may be long, so it touches only what is stored or may come to be. */
static void touch_punched(const struct sim_cut *cut, uint32_t candidate, uint32_t nr_written,
			  struct touches *touches)
{
	const struct effect *punch = &cut->candidates[candidate];
	const struct sparse *image = image_of(cut, punch->file);
	const uint64_t end = punch->first_sector + punch->nr_sectors;

	for (uint64_t at = sparse_next(image, punch->first_sector, end); at < end;
	     at = sparse_next(image, at + 1, end))
		add_touch(touches, (struct touch){ punch->file, candidate, at });
	for (uint32_t i = 0; i < nr_written; i++) {
		const struct touch written = touches->all[i];

		if (written.file == punch->file && written.sector >= punch->first_sector &&
		    written.sector < end)
			add_touch(touches,
				  (struct touch){ punch->file, candidate, written.sector });
	}
}

static int compare_touches(const void *left, const void *right)
{
	const struct touch *a = left;
	const struct touch *b = right;

	if (a->file != b->file)
		return a->file < b->file ? -1 : 1;
	if (a->sector != b->sector)
		return a->sector < b->sector ? -1 : 1;
	return (a->candidate > b->candidate) - (a->candidate < b->candidate);
}

/* In order of file, sector and age. */
static struct touches find_touches(const struct sim_cut *cut)
{
	struct touches touches = { 0 };
	uint32_t nr_written;

	for (uint32_t i = 0; i < cut->nr_candidates; i++) {
		const struct effect *write = &cut->candidates[i];

		for (uint64_t at = 0; write->payload && at < write->nr_sectors; at++)
			add_touch(&touches,
				  (struct touch){ write->file, i, write->first_sector + at });
	}
	nr_written = touches.nr;
	for (uint32_t i = 0; i < cut->nr_candidates; i++)
		if (!cut->candidates[i].payload)
			touch_punched(cut, i, nr_written, &touches);
	if (touches.nr)
		qsort(touches.all, touches.nr, sizeof(*touches.all), compare_touches);
	return touches;
}

/* The bytes of a version, NULL for a hole. */
static const uint8_t *version_bytes(const struct sim_cut *cut, const struct slot *slot,
				    uint32_t version)
{
	const uint32_t candidate = cut->versions[slot->first_version + version].candidate;

	if (candidate == cut->nr_candidates)
		return sparse_find(image_of(cut, slot->file), slot->sector);
	return effect_sector(&cut->candidates[candidate], slot->sector);
}

/* Beyond the end of the file zeros that were written differ from none: it grows. */
static bool reads_same(const struct sim_cut *cut, const struct slot *slot, uint32_t a, uint32_t b)
{
	const struct version *versions = &cut->versions[slot->first_version];

	if (sectors_to_bytes(slot->sector) >= image_bytes_of(cut, slot->file) &&
	    !version_bytes(cut, slot, a) != !version_bytes(cut, slot, b))
		return false;
	return versions[a].hash == versions[b].hash;
}

static void add_version(struct sim_cut *cut, struct slot *slot, uint32_t candidate)
{
	struct version *version = &cut->versions[slot->first_version + slot->nr_versions];

	*version = (struct version){ .candidate = candidate, .is_distinct = true };
	version->hash = sparse_hash(slot->sector, version_bytes(cut, slot, slot->nr_versions));
	for (uint32_t older = 0; older < slot->nr_versions && version->is_distinct; older++)
		version->is_distinct = !reads_same(cut, slot, older, slot->nr_versions);
	slot->nr_distinct += version->is_distinct;
	slot->nr_versions++;
}

/* Build the slot of the touches from @at on. Returns where the next begins. */
static uint32_t fill_slot(struct sim_cut *cut, struct slot *slot, const struct touches *touches,
			  uint32_t at)
{
	const struct touch first = touches->all[at];

	slot->file = first.file;
	slot->sector = first.sector;
	add_version(cut, slot, cut->nr_candidates);
	slot->image_hash = cut->versions[slot->first_version].hash;
	for (; at < touches->nr; at++) {
		const struct touch *touch = &touches->all[at];

		if (touch->file != first.file || touch->sector != first.sector)
			break;
		if (at > 0 && compare_touches(touch, touch - 1) == 0)
			continue;
		/* Nothing older than a durable version can come back. */
		if (cut->candidates[touch->candidate].durable) {
			slot->nr_versions = 0;
			slot->nr_distinct = 0;
		}
		add_version(cut, slot, touch->candidate);
	}
	return at;
}

static void find_slots(struct sim_cut *cut)
{
	struct touches touches = find_touches(cut);
	uint32_t nr_versions = 0;
	uint32_t at = 0;

	/* At most one slot for each touch, and in it the touch and the image. */
	cut->slots = sparse_alloc(touches.nr * sizeof(*cut->slots));
	cut->versions = sparse_alloc(2 * touches.nr * sizeof(*cut->versions));
	while (at < touches.nr) {
		struct slot *slot = &cut->slots[cut->nr_slots++];

		slot->first_version = nr_versions;
		at = fill_slot(cut, slot, &touches, at);
		nr_versions += slot->nr_versions;
	}
	free(touches.all);
}

/* ---- states --------------------------------------------------------------- */

static void count_states(struct sim_cut *cut)
{
	const uint64_t most = cut->plan.states_max ? cut->plan.states_max : 1;
	uint64_t nr = 1;

	cut->is_exhaustive = true;
	if (cut->plan.grain == SIM_UNITS) {
		cut->is_exhaustive = false;
	} else if (cut->plan.grain == SIM_WHOLE_WRITES) {
		cut->is_exhaustive = cut->nr_cells <= CELLS_MAX;
		nr = cut->is_exhaustive ? UINT64_C(1) << cut->nr_cells : 0;
	} else {
		for (uint32_t i = 0; i < cut->nr_slots && cut->is_exhaustive; i++) {
			cut->slots[i].stride = nr;
			cut->is_exhaustive =
				!__builtin_mul_overflow(nr, cut->slots[i].nr_distinct, &nr);
		}
	}
	if (nr > most)
		cut->is_exhaustive = false;
	cut->nr_states = cut->is_exhaustive ? nr : most;
}

/* Does undecided candidate number @cell keep @slot in sampled state @index? */
static bool is_sampled(const struct sim_cut *cut, uint64_t index, uint32_t cell,
		       const struct slot *slot)
{
	const uint64_t nr_cells = cut->nr_cells;
	uint64_t chance;

	if (index < 2)
		return index == 1;
	if (2 + 2 * nr_cells <= cut->nr_states / 2) {
		if (index < 2 + nr_cells)
			return cell == index - 2;
		if (index < 2 + 2 * nr_cells)
			return cell != index - 2 - nr_cells;
	}
	chance = mix64(mix64(mix64(cut->plan.seed + SIM_GOLDEN) + index) + cell);
	if (cut->plan.grain == SIM_WHOLE_WRITES)
		return chance & 1;
	if (chance % 3 < 2)
		return chance % 3;
	return mix64(mix64(chance + slot->file) + slot->sector) & 1;
}

static bool is_kept(const struct sim_cut *cut, uint64_t index, uint32_t candidate,
		    const struct slot *slot)
{
	const uint32_t cell = cut->cells[candidate];

	if (cut->is_exhaustive)
		return index >> cell & 1;
	return is_sampled(cut, index, cell, slot);
}

/* The version of @slot that survives in state @index. */
static uint32_t survivor(const struct sim_cut *cut, uint64_t index, const struct slot *slot)
{
	const struct version *versions = &cut->versions[slot->first_version];
	uint32_t at = slot->nr_versions - 1;

	if (cut->is_exhaustive && cut->plan.grain == SIM_SECTORS) {
		uint64_t digit = index / slot->stride % slot->nr_distinct;

		for (at = 0; digit > 0; digit -= versions[at].is_distinct)
			at++;
		return at;
	}
	while (at > 0 && !is_kept(cut, index, versions[at].candidate, slot))
		at--;
	return at;
}

/*
 * The bytes of @slot in state @index, NULL for a hole; made in @buffer when the
 * sector is torn inside.
 */
static const uint8_t *slot_bytes(const struct sim_cut *cut, uint64_t index, const struct slot *slot,
				 uint8_t buffer[SECTOR_BYTES])
{
	const uint32_t version = survivor(cut, index, slot);
	const uint8_t *bytes = version_bytes(cut, slot, version);
	const uint8_t *before = version > 0 ? version_bytes(cut, slot, version - 1) : NULL;
	uint64_t chance = mix64(mix64(cut->plan.seed + slot->sector) + index);

	if (cut->plan.grain != SIM_UNITS || version == 0 || !bytes)
		return bytes;
	for (size_t at = 0; at < SECTOR_BYTES; at += UNIT_BYTES, chance >>= 1) {
		if (chance & 1)
			memcpy(buffer + at, bytes + at, UNIT_BYTES);
		else if (before)
			memcpy(buffer + at, before + at, UNIT_BYTES);
		else
			memset(buffer + at, 0, UNIT_BYTES);
	}
	return buffer;
}

static struct sim *take_power_cut(const struct sim_cut *cut, uint64_t index)
{
	const struct sim *sim = cut->sim;
	struct sim *after = sim_new(cut->plan.seed);

	for (uint32_t i = 0; i < sim->nr_files; i++) {
		(void)sim_file(after, sim->files[i].medium_bytes);
		sparse_copy(&after->files[i].medium, &sim->files[i].medium);
	}
	for (uint32_t i = 0; i < cut->nr_slots; i++) {
		const struct slot *slot = &cut->slots[i];
		struct sim_file *file = &after->files[slot->file];
		uint8_t buffer[SECTOR_BYTES];
		const uint8_t *bytes = slot_bytes(cut, index, slot, buffer);
		const uint64_t end_bytes = sectors_to_bytes(slot->sector + 1);

		sparse_set(&file->medium, slot->sector, bytes);
		if (bytes && file->medium_bytes < end_bytes)
			file->medium_bytes = end_bytes;
	}
	for (uint32_t i = 0; i < after->nr_files; i++) {
		sparse_copy(&after->files[i].cache, &after->files[i].medium);
		after->files[i].cache_bytes = after->files[i].medium_bytes;
	}
	return after;
}

/* Who gives @slot its content in state @index; nr_candidates: the image. */
static uint32_t author(const struct sim_cut *cut, uint64_t index, const struct slot *slot)
{
	return cut->versions[slot->first_version + survivor(cut, index, slot)].candidate;
}

/* What the kept writes did is pending again, in pieces as large as survived. */
static struct sim *take_kill(const struct sim_cut *cut, uint64_t index)
{
	struct sim *after = sim_copy_files(cut->sim, cut->plan.seed);
	uint32_t next;

	for (uint32_t i = 0; i < cut->nr_slots; i = next) {
		const struct slot *first = &cut->slots[i];
		const uint32_t candidate = author(cut, index, first);
		struct effect piece;

		for (next = i + 1; next < cut->nr_slots; next++)
			if (cut->slots[next].file != first->file ||
			    cut->slots[next].sector != first->sector + (next - i) ||
			    author(cut, index, &cut->slots[next]) != candidate)
				break;
		if (candidate == cut->nr_candidates)
			continue;
		piece = cut->candidates[candidate];
		piece.payload_at_bytes += sectors_to_bytes(first->sector - piece.first_sector);
		piece.first_sector = first->sector;
		piece.nr_sectors = next - i;
		piece.flight_id = 0;
		piece.delivered_at = after->clock;
		sim_add_effect(after, &piece);
	}
	return after;
}

struct sim *sim_cut_take(const struct sim_cut *cut, uint64_t index)
{
	sim_require(index < cut->nr_states, "a state beyond the last");
	return cut->plan.kind == SIM_KILL ? take_kill(cut, index) : take_power_cut(cut, index);
}

uint64_t sim_cut_digest(const struct sim_cut *cut, uint64_t index)
{
	uint64_t sums[SIM_FILES_MAX];
	uint64_t digest = cut->plan.kind;

	for (uint32_t i = 0; i < cut->sim->nr_files; i++)
		sums[i] = image_of(cut, i)->sum;
	for (uint32_t i = 0; i < cut->nr_slots; i++) {
		const struct slot *slot = &cut->slots[i];
		uint8_t buffer[SECTOR_BYTES];

		sums[slot->file] -= slot->image_hash;
		if (cut->plan.grain == SIM_UNITS)
			sums[slot->file] +=
				sparse_hash(slot->sector, slot_bytes(cut, index, slot, buffer));
		else
			sums[slot->file] +=
				cut->versions[slot->first_version + survivor(cut, index, slot)]
					.hash;
	}
	for (uint32_t i = 0; i < cut->sim->nr_files; i++)
		digest = digest_number(digest, sums[i]);
	return digest;
}

struct sim_cut *sim_cut_new(const struct sim *sim, const struct sim_cut_plan *plan)
{
	struct sim_cut *cut = sparse_alloc(sizeof(*cut));

	cut->sim = sim;
	cut->plan = *plan;
	find_candidates(cut);
	find_slots(cut);
	count_states(cut);
	return cut;
}

void sim_cut_free(struct sim_cut *cut)
{
	if (!cut)
		return;
	free(cut->candidates);
	free(cut->cells);
	free(cut->slots);
	free(cut->versions);
	free(cut);
}

uint32_t sim_cut_pending(const struct sim_cut *cut)
{
	return cut->nr_cells;
}

uint64_t sim_cut_states(const struct sim_cut *cut)
{
	return cut->nr_states;
}

bool sim_cut_exhaustive(const struct sim_cut *cut)
{
	return cut->is_exhaustive;
}
