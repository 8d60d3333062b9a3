/* SPDX-License-Identifier: MIT */
/* The simulated machine: its files and stores, its choices, and a look inside. */
#include "sim/sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim/state.h"

void sim_die(const char *complaint)
{
	fprintf(stderr, "simulator: %s\n", complaint);
	abort();
}

uint32_t sim_file_of(const struct sim *sim, int fd)
{
	const unsigned int file = (unsigned int)fd - SIM_FD_FIRST;

	sim_require(file < sim->nr_files, "no file has this descriptor");
	return file;
}

static const struct sparse *content_of(const struct sim_file *file, enum sim_view view)
{
	return view == SIM_CACHE ? &file->cache : &file->medium;
}

/* ---- stores --------------------------------------------------------------- */

/* Every file has a table of its own, so that a bare struct store leads back to it. */
static const struct sim_file *file_of_store(const struct store *store)
{
	return (const struct sim_file *)(const void *)((const char *)store->ops -
						       offsetof(struct sim_file, ops));
}

static int store_extent_at(const struct store *store, uint64_t offset_bytes, uint64_t limit_bytes,
			   bool *ret_hole, uint64_t *ret_bytes)
{
	const struct sparse *content = &file_of_store(store)->cache;
	const uint64_t first = offset_bytes / SECTOR_BYTES;
	const uint64_t end_bytes = offset_bytes + min_u64(limit_bytes, INT64_MAX - offset_bytes);
	uint64_t end = round_up(end_bytes, SECTOR_BYTES) / SECTOR_BYTES;
	const uint64_t data = sparse_next(content, first, end);

	if (data > first) {
		end = data;
	} else {
		uint64_t at = first;

		while (at < end && sparse_find(content, at))
			at++;
		end = at;
	}
	*ret_hole = data > first;
	*ret_bytes = min_u64(sectors_to_bytes(end) - offset_bytes, limit_bytes);
	return 0;
}

/* What is dirty stays; everything else is from the medium again. */
static int store_forget_clean(const struct store *store)
{
	const struct sim_file *found = file_of_store(store);
	const uint32_t number = found - found->sim->files;
	struct sim_file *file = &found->sim->files[number];

	sparse_done(&file->cache);
	sparse_copy(&file->cache, &file->medium);
	file->cache_bytes = file->medium_bytes;
	for (uint32_t i = 0; i < file->sim->nr_effects; i++)
		if (file->sim->effects[i].file == number)
			effect_apply(&file->sim->effects[i], &file->cache, &file->cache_bytes);
	return 0;
}

static void store_leave(struct store *store)
{
	store->fd = -1;
}

void sim_store(struct sim *sim, int fd, struct store *ret_store)
{
	const struct sim_file *file = &sim->files[sim_file_of(sim, fd)];

	*ret_store = (struct store){ .ops = &file->ops, .fd = fd, .bytes = file->cache_bytes };
}

/* ---- the machine ---------------------------------------------------------- */

struct sim *sim_new(uint64_t seed)
{
	struct sim *sim = sparse_alloc(sizeof(*sim));

	sim->has_random = seed != 0;
	sim->random = seed;
	sim->crash_at = UINT64_MAX;
	sim->clock = 1;
	return sim;
}

int sim_file(struct sim *sim, uint64_t bytes)
{
	struct sim_file *file = &sim->files[sim->nr_files];

	sim_require(sim->nr_files < SIM_FILES_MAX, "too many files");
	*file = (struct sim_file){
		.ops = {
			.extent = store_extent_at,
			.drop_cache = store_forget_clean,
			.close = store_leave,
		},
		.sim = sim,
		.cache_bytes = bytes,
		.medium_bytes = bytes,
	};
	return SIM_FD_FIRST + (int)sim->nr_files++;
}

struct sim *sim_clone(const struct sim *sim, uint64_t seed)
{
	sim_require(sim->nr_flights == 0 || sim->crashed, "a clone while operations are in flight");
	return sim_copy_files(sim, seed);
}

struct sim *sim_copy_files(const struct sim *sim, uint64_t seed)
{
	struct sim *clone = sim_new(seed);

	for (uint32_t i = 0; i < sim->nr_files; i++) {
		const struct sim_file *from = &sim->files[i];
		struct sim_file *to = &clone->files[i];

		(void)sim_file(clone, from->medium_bytes);
		sparse_copy(&to->medium, &from->medium);
		sparse_copy(&to->cache, &from->cache);
		to->cache_bytes = from->cache_bytes;
		to->late_error = from->late_error;
	}
	clone->effects = sparse_alloc(sim->nr_effects * sizeof(*clone->effects));
	clone->nr_effects = sim->nr_effects;
	clone->room_effects = sim->nr_effects;
	for (uint32_t i = 0; i < sim->nr_effects; i++) {
		clone->effects[i] = sim->effects[i];
		payload_get(clone->effects[i].payload);
		clone->effects[i].flight_id = 0;
		clone->effects[i].delivered_at = clone->clock;
	}
	return clone;
}

void sim_free(struct sim *sim)
{
	if (!sim)
		return;
	while (sim->rings) {
		struct sim_ring *ring = sim->rings;

		sim->rings = ring->next;
		free(ring);
	}
	for (uint32_t i = 0; i < sim->nr_files; i++) {
		sparse_done(&sim->files[i].cache);
		sparse_done(&sim->files[i].medium);
	}
	for (uint32_t i = 0; i < sim->nr_effects; i++)
		payload_put(sim->effects[i].payload);
	for (uint32_t i = 0; i < sim->nr_flights; i++)
		payload_put(sim->flights[i].payload);
	free(sim->effects);
	free(sim->flights);
	free(sim);
}

struct ring *sim_ring(struct sim *sim)
{
	struct sim_ring *ring = sparse_alloc(sizeof(*ring));

	*ring = (struct sim_ring){ .ring = { .ops = &sim_ring_ops },
				   .sim = sim,
				   .next = sim->rings };
	sim->rings = ring;
	return &ring->ring;
}

void sim_trace(struct sim *sim, FILE *to)
{
	sim->trace = to;
}

void sim_fault(struct sim *sim, const struct sim_fault *fault)
{
	const bool is_transfer = fault->kind == RING_READ || fault->kind == RING_WRITE;

	sim_require(sim->nr_faults < SIM_FAULTS_MAX, "too many faults");
	sim_require(fault->nth > 0 && fault->error <= 0, "a fault that means nothing");
	sim_require(is_transfer || fault->moved_bytes == 0, "only transfers are short");
	sim_require(fault->kind != RING_WRITE || fault->moved_bytes % SECTOR_BYTES == 0,
		    "a short write is of whole sectors");
	sim_require(fault->error != 0 || fault->moved_bytes != 0, "a fault that does nothing");
	sim->faults[sim->nr_faults++].fault = *fault;
}

void sim_forget_faults(struct sim *sim)
{
	sim->nr_faults = 0;
	memset(sim->faults, 0, sizeof(sim->faults));
}

/* ---- choices -------------------------------------------------------------- */

void sim_follow(struct sim *sim, struct sim_choices *choices)
{
	sim->choices = choices;
}

static uint32_t follow(struct sim_choices *choices, uint32_t possibilities)
{
	const uint32_t at = choices->nr_made;

	if (at == SIM_CHOICES_MAX) {
		choices->overflow = true;
		return 0;
	}
	if (at == choices->nr) {
		choices->taken[at] = 0;
		choices->of[at] = (uint16_t)possibilities;
		choices->nr++;
	}
	sim_require(choices->of[at] == possibilities, "the run does not repeat itself");
	choices->nr_made++;
	return choices->taken[at];
}

uint32_t sim_choose(struct sim *sim, uint32_t possibilities)
{
	sim_require(possibilities > 0 && possibilities <= UINT16_MAX, "a choice among nothing");
	if (possibilities == 1)
		return 0;
	if (sim->choices)
		return follow(sim->choices, possibilities);
	if (!sim->has_random)
		return 0;
	sim->random += SIM_GOLDEN;
	return mix64(sim->random) % possibilities;
}

bool sim_choices_next(struct sim_choices *choices)
{
	choices->nr = choices->nr_made;
	choices->nr_made = 0;
	while (choices->nr > 0) {
		const uint32_t last = choices->nr - 1;

		if (++choices->taken[last] < choices->of[last])
			return true;
		choices->nr--;
	}
	return false;
}

void sim_newest_first(struct sim *sim, bool newest_first)
{
	sim->newest_first = newest_first;
}

void sim_split_completions(struct sim *sim, bool split)
{
	sim->split = split;
}

/* ---- crash and inspection ------------------------------------------------- */

void sim_crash_at(struct sim *sim, uint64_t step)
{
	sim->crash_at = step;
}

bool sim_crashed(const struct sim *sim)
{
	return sim->crashed;
}

uint64_t sim_steps(const struct sim *sim)
{
	return sim->steps;
}

uint64_t sim_count(const struct sim *sim, enum ring_kind kind)
{
	return sim->counts[kind];
}

uint64_t sim_file_bytes(const struct sim *sim, int fd)
{
	return sim->files[sim_file_of(sim, fd)].cache_bytes;
}

void sim_peek(const struct sim *sim, int fd, enum sim_view view, uint64_t offset_bytes,
	      void *ret_data, size_t bytes)
{
	const struct sim_file *file = &sim->files[sim_file_of(sim, fd)];

	sparse_read(content_of(file, view), offset_bytes, ret_data, bytes);
}

static void poke_content(struct sparse *content, uint64_t offset_bytes, const uint8_t *data,
			 size_t bytes)
{
	while (bytes > 0) {
		const uint64_t sector = offset_bytes / SECTOR_BYTES;
		const size_t inside = offset_bytes % SECTOR_BYTES;
		const size_t part = min_u64(SECTOR_BYTES - inside, bytes);
		uint8_t whole[SECTOR_BYTES];

		sparse_read(content, sectors_to_bytes(sector), whole, sizeof(whole));
		memcpy(whole + inside, data, part);
		sparse_set(content, sector, whole);
		data += part;
		offset_bytes += part;
		bytes -= part;
	}
}

void sim_poke(struct sim *sim, int fd, uint64_t offset_bytes, const void *data, size_t bytes)
{
	struct sim_file *file = &sim->files[sim_file_of(sim, fd)];

	poke_content(&file->cache, offset_bytes, data, bytes);
	poke_content(&file->medium, offset_bytes, data, bytes);
	if (file->cache_bytes < offset_bytes + bytes)
		file->cache_bytes = offset_bytes + bytes;
	if (file->medium_bytes < offset_bytes + bytes)
		file->medium_bytes = offset_bytes + bytes;
}

bool sim_is_hole(const struct sim *sim, int fd, enum sim_view view, uint64_t offset_bytes,
		 uint64_t bytes)
{
	const struct sim_file *file = &sim->files[sim_file_of(sim, fd)];
	const uint64_t end = round_up(offset_bytes + bytes, SECTOR_BYTES) / SECTOR_BYTES;

	return sparse_next(content_of(file, view), offset_bytes / SECTOR_BYTES, end) == end;
}

bool sim_is_zero(const struct sim *sim, int fd, enum sim_view view, uint64_t offset_bytes,
		 uint64_t bytes)
{
	static const uint8_t zeros[SECTOR_BYTES];
	const struct sparse *content = content_of(&sim->files[sim_file_of(sim, fd)], view);
	const uint64_t end = bytes_to_sectors(offset_bytes + bytes);

	for (uint64_t at = sparse_next(content, bytes_to_sectors(offset_bytes), end); at < end;
	     at = sparse_next(content, at + 1, end))
		if (memcmp(sparse_find(content, at), zeros, SECTOR_BYTES) != 0)
			return false;
	return true;
}
