/* SPDX-License-Identifier: MIT */
/* What must be true: see verify.h. */
#include "sim/verify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "map/entries.h"

/* ---- reports -------------------------------------------------------------- */

static const char *const grain_texts[] = {
	[SIM_WHOLE_WRITES] = "",
	[SIM_SECTORS] = ", writes torn between sectors",
	[SIM_UNITS] = ", sectors torn inside",
};

void verify_failed(const struct explorer *x, const char *format, ...)
{
	va_list args;

	printf("violation: %s, seed %" PRIu64 "\n", x->script_text, x->seed);
	if (x->fault_text)
		printf("  %s, number %" PRIu64 "\n", x->fault_text, x->fault_nth);
	for (unsigned int i = 0; i < x->nr_notes; i++) {
		const struct crash_note *note = &x->notes[i];

		printf("  %s after step %" PRIu64 ", state %" PRIu64 " of %" PRIu64
		       " (%u pending%s)\n",
		       note->kind == SIM_KILL ? "kill" : "power cut", note->steps, note->state,
		       note->nr_states, note->nr_pending, grain_texts[note->grain]);
	}
	printf("  ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n  again: %s\n", x->again);
	exit(EXIT_FAILURE);
}

void verify_failed_content(const struct explorer *x, uint32_t n, uint32_t found,
			   const struct content_set *allowed)
{
	char found_text[CONTENT_TEXT_BYTES], allowed_text[CONTENT_TEXT_BYTES];

	content_name(found, found_text);
	content_names(allowed, allowed_text);
	verify_failed(x, "sector %u reads as %s, allowed: %s", n, found_text, allowed_text);
}

/* ---- what must be true ---------------------------------------------------- */

static void verify_contents(struct explorer *x, const struct world *world,
			    const struct oracle *oracle, enum severity severity,
			    uint32_t ret_contents[ORACLE_SECTORS_MAX])
{
	for (uint32_t i = 0; i < window_sectors(world); i++) {
		const uint32_t n = i - WINDOW_BEFORE;
		const uint64_t sector = window_first(world) + i;
		const uint8_t *bytes = world->window + sectors_to_bytes(i);
		const uint32_t found = content_of(sector, bytes);
		struct content_set allowed = { .nr = 1, .contents = { CONTENT_BASE } };

		if (n < oracle->nr_sectors) {
			allowed = oracle_allowed(oracle, n, severity);
			ret_contents[n] = found;
		}
		if (content_set_has(&allowed, found))
			continue;
		if (!x->may_be_torn || !content_is_torn(sector, bytes, &allowed))
			verify_failed_content(x, n, found, &allowed);
		x->nr_torn++;
	}
}

static void verify_base(struct explorer *x, const struct world *world, const struct map_run *run)
{
	if (run->entry != SEAL_ENTRY_BASE && world->geometry->owns_base &&
	    !sim_is_zero(world->sim, world->base_fd, SIM_MEDIUM,
			 sectors_to_bytes(run->first_sector), sectors_to_bytes(run->nr_sectors)))
		verify_failed(x,
			      "the base holds superseded data in sectors %" PRIu64 " to %" PRIu64
			      ", whose entry is %u",
			      run->first_sector, run->first_sector + run->nr_sectors - 1,
			      run->entry);
}

/* Invariants 4 and 11: a place that the map does not name holds nothing. */
static void verify_places(struct explorer *x, const struct world *world)
{
	const struct map *map = &world->image->disk.map;
	uint64_t sector = 0;

	while (sector < world->geometry->disk_sectors) {
		struct map_run found;

		if (map_find(map, sector, world->geometry->disk_sectors - sector, &found) < 0) {
			/* Not in memory: nothing was done to it since it was closed. */
			sector = min_u64(map_block_first(map_block_of(sector) + 1),
					 world->geometry->disk_sectors);
			continue;
		}
		for (unsigned int plane = SEAL_ENTRY_PLANE_FIRST; plane < MAP_VALUES; plane++)
			if (found.entry != plane &&
			    map->config.planes[plane].kind != SEAL_PLANE_NONE &&
			    !sim_is_zero(world->sim, world->fd, SIM_MEDIUM,
					 world_place(world, plane, sector),
					 sectors_to_bytes(found.nr_sectors)))
				verify_failed(x,
					      "plane %u holds superseded data in sectors "
					      "%" PRIu64 " to %" PRIu64 ", whose entry is %u",
					      plane, sector, sector + found.nr_sectors - 1,
					      found.entry);
		verify_base(x, world, &found);
		sector += found.nr_sectors;
	}
}

static void verify_policy(struct explorer *x, const struct world *world,
			  const struct oracle *oracle)
{
	const struct seal_superblock *super = &world->image->super;
	const bool enabled = super->encryption_enabled;

	if (enabled != oracle->enabled && enabled != oracle->enabled_wanted)
		verify_failed(x, "encryption is %s", enabled ? "on" : "off");
	/* That the plane is of the right kind is a rule of the format: it would not open. */
}

/* Invariant 6: each sealed plane has a key of its own, under an id that was given out once. */
static void verify_keys(struct explorer *x, const struct world *world)
{
	const struct image *image = world->image;
	const struct seal_plane *planes = image->super.planes;

	for (unsigned int i = 0; i < PLANES_MAX; i++) {
		const uint64_t key_id = le64_get(planes[i].key_id);

		if (planes[i].kind != SEAL_PLANE_SEALED)
			continue;
		if (key_id >= le64_get(image->keyring.next_key_id))
			verify_failed(x, "key id %" PRIu64 " may be given out again", key_id);
		for (unsigned int j = 0; j < i; j++)
			if (planes[j].kind == SEAL_PLANE_SEALED &&
			    le64_get(planes[j].key_id) == key_id)
				verify_failed(x, "two planes under key id %" PRIu64, key_id);
	}
}

/* As they are in memory or, if not there, on the medium: of a block that has not changed since. */
static void read_entries(const struct world *world, uint64_t index,
			 uint8_t ret_body[SEAL_BLOCK_BODY_BYTES])
{
	struct map *map = &world->image->disk.map;
	struct seal_block block;

	if (map_copy_block(map, index, ret_body) == 0)
		return;
	/* Opened after a clean close, so both slots are the same. */
	sim_peek(world->sim, world->fd, SIM_MEDIUM, map_pair_offset(map, index), &block,
		 sizeof(block));
	memcpy(ret_body, block.body, SEAL_BLOCK_BODY_BYTES);
}

/* What the map has counted is what a walk over it counts. */
static void verify_counts(struct explorer *x, const struct world *world)
{
	struct map *map = &world->image->disk.map;
	const struct map_counts counts = map_counts(map);
	struct map_counts walked = { 0 };
	uint8_t body[SEAL_BLOCK_BODY_BYTES];
	uint32_t nr;

	/* A block that cannot be read when the image is opened is not counted. */
	if (!counts.known && x->fault_text)
		return;
	for (uint64_t i = 0; i < map->nr_blocks; i++) {
		read_entries(world, i, body);
		for (uint32_t at = 0; at < map_block_sectors(map, i); at += nr) {
			const uint8_t entry = block_entry(body, at);

			nr = block_run(body, at, map_block_sectors(map, i));
			walked.sectors[entry] += nr;
			/* An image that was encrypted has no base any more. */
			if (entry == SEAL_ENTRY_BASE && map->config.base_extents)
				walked.base_data += extents_count_data(map->config.base_extents,
								       map_block_first(i) + at, nr);
		}
	}
	if (!counts.known || !counts.base_known)
		verify_failed(x, "sectors are not counted");
	for (unsigned int value = 0; value < MAP_VALUES; value++)
		if (counts.sectors[value] != walked.sectors[value])
			verify_failed(x,
				      "%" PRIu64 " sectors are counted with entry %u, but %" PRIu64
				      " have it",
				      counts.sectors[value], value, walked.sectors[value]);
	if (counts.base_data != walked.base_data)
		verify_failed(x,
			      "%" PRIu64 " sectors of the base are counted as data, but %" PRIu64
			      " are",
			      counts.base_data, walked.base_data);
}

void verify_world(struct explorer *x, struct world *world, const struct oracle *oracle,
		  enum severity severity, uint32_t ret_contents[ORACLE_SECTORS_MAX])
{
	void (*moment)(void *arg) = world->tap.moment;
	int r;

	world->tap.moment = NULL;
	if (world->image->nr_damaged_blocks > 0 || atomic_load(&world->image->disk.map.damaged))
		verify_failed(x, "a map block is damaged");
	verify_policy(x, world, oracle);
	verify_keys(x, world);
	verify_counts(x, world);
	r = world_read(world);
	if (r < 0)
		verify_failed(x, "READ: %s", strerror(-r));
	verify_contents(x, world, oracle, severity, ret_contents);
	if (severity != SEVERITY_NONE)
		verify_places(x, world);
	world->tap.moment = moment;
}

/* ---- closing -------------------------------------------------------------- */

static bool slots_are_equal(const struct world *world, uint64_t offset_bytes)
{
	struct seal_block pair[2];

	sim_peek(world->sim, world->fd, SIM_MEDIUM, offset_bytes, pair, sizeof(pair));
	return memcmp(&pair[0], &pair[1], sizeof(pair[0])) == 0;
}

static void verify_closed(struct explorer *x, const struct world *world)
{
	static const uint64_t places[2] = { SEAL_SUPERBLOCK_A, SEAL_SUPERBLOCK_B };
	const struct map *map = &world->image->disk.map;

	for (int i = 0; i < 2; i++) {
		struct seal_superblock super;

		sim_peek(world->sim, world->fd, SIM_MEDIUM, places[i], &super, sizeof(super));
		if (super.open_state != SEAL_CLEAN)
			verify_failed(x, "closed, but superblock %d is not clean", i);
		if (le64_get(super.counts_generation) != le64_get(super.generation))
			verify_failed(x, "closed, but superblock %d has no counts", i);
	}
	if (!slots_are_equal(world, map->config.bitmap_offset))
		verify_failed(x, "closed, but the bitmap's slots differ");
	for (uint64_t i = 0; i < map->nr_blocks; i++)
		if (map_is_written(map, i) && !slots_are_equal(world, map_pair_offset(map, i)))
			verify_failed(x, "closed, but the slots of map block %" PRIu64 " differ",
				      i);
	for (int i = 0; i < MEMORY_FILES_MAX; i++)
		if (world->memory.files[i].exists &&
		    memcmp(world->memory.files[i].nonce, world->image->super.open_nonce,
			   SEAL_NONCE_BYTES) == 0)
			verify_failed(x, "closed, but a dirty file is left");
	verify_places(x, world);
	verify_counts(x, world);
}

void verify_opens(struct explorer *x, struct world *world)
{
	const int r = world_open(world, false);

	if (r < 0)
		verify_failed(x, "does not open: %s", world->problem.text);
}

struct oracle verify_oracle(const struct world *world, const uint32_t contents[ORACLE_SECTORS_MAX])
{
	struct oracle oracle;

	oracle_init(&oracle, world->geometry->nr_sectors, contents,
		    world->image->super.encryption_enabled);
	return oracle;
}

void verify_close(struct explorer *x, struct world *world, const struct oracle *oracle)
{
	uint32_t contents[ORACLE_SECTORS_MAX];
	int r = image_stop(world->image, &world->problem);

	if (r < 0)
		verify_failed(x, "does not close: %s", world->problem.text);
	verify_closed(x, world);
	world->tap.moment = NULL;
	world_abandon(world);
	verify_opens(x, world);
	verify_world(x, world, oracle, SEVERITY_KILL, contents);
	if (world->image->nr_recovered_records > 0)
		verify_failed(x, "closed, but there was something to merge");
	world_abandon(world);
}
