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

void verify_failed(const struct explorer *x, const char *format, ...)
{
	va_list args;

	printf("violation: script %s (sectors %" PRIu64 " and next)\n", x->script_text,
	       explore_geometries[x->geometry].first_sector);
	if (x->fault_text)
		printf("  %s, number %" PRIu64 "\n", x->fault_text, x->fault_nth);
	for (unsigned int i = 0; i < x->nr_notes; i++) {
		const struct crash_note *note = &x->notes[i];

		printf("  %s after step %" PRIu64 ", state %" PRIu64 " of %" PRIu64
		       " (%u pending)\n",
		       note->kind == SIM_KILL ? "kill" : "power cut", note->steps, note->state,
		       note->nr_states, note->nr_pending);
	}
	printf("  ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	exit(EXIT_FAILURE);
}

void verify_failed_content(const struct explorer *x, uint32_t n, uint8_t found, uint64_t allowed)
{
	char found_text[CONTENT_TEXT_BYTES], allowed_text[CONTENT_TEXT_BYTES];

	content_name(found, found_text);
	content_names(allowed, allowed_text);
	verify_failed(x, "sector %u reads as %s, allowed: %s", n, found_text, allowed_text);
}

/* ---- what must be true ---------------------------------------------------- */

static void verify_contents(struct explorer *x, const struct world *world,
			    const struct oracle *oracle, enum severity severity,
			    uint8_t ret_contents[ORACLE_SECTORS])
{
	for (uint32_t i = 0; i < WINDOW_SECTORS; i++) {
		const uint32_t n = i - WINDOW_BEFORE;
		const uint8_t found =
			content_of(window_first(world) + i, world->window + i * SECTOR_BYTES);
		uint64_t allowed = 1u << CONTENT_BASE;

		if (n < ORACLE_SECTORS) {
			allowed = oracle_allowed(oracle, n, severity);
			ret_contents[n] = found;
		}
		if (!(allowed >> found & 1))
			verify_failed_content(x, n, found, allowed);
	}
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
		for (unsigned int plane = WORLD_SEALED; plane < WORLD_PLANES_END; plane++)
			if (found.entry != plane &&
			    !sim_is_zero(world->sim, world->fd, SIM_MEDIUM,
					 world_place(world, plane, sector),
					 sectors_to_bytes(found.nr_sectors)))
				verify_failed(x,
					      "plane %u holds superseded data in sectors "
					      "%" PRIu64 " to %" PRIu64 ", whose entry is %u",
					      plane, sector, sector + found.nr_sectors - 1,
					      found.entry);
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
	if (super->current_plane != (enabled ? WORLD_SEALED : WORLD_PLAIN))
		verify_failed(x, "the current plane is %u", super->current_plane);
}

void verify_world(struct explorer *x, struct world *world, const struct oracle *oracle,
		  enum severity severity, uint8_t ret_contents[ORACLE_SECTORS])
{
	void (*moment)(void *arg) = world->tap.moment;
	int r;

	world->tap.moment = NULL;
	if (world->image->nr_damaged_blocks > 0 || atomic_load(&world->image->disk.map.damaged))
		verify_failed(x, "a map block is damaged");
	verify_policy(x, world, oracle);
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
}

void verify_opens(struct explorer *x, struct world *world)
{
	const int r = world_open(world, false);

	if (r < 0)
		verify_failed(x, "does not open: %s", world->problem.text);
}

struct oracle verify_oracle(const struct world *world, const uint8_t contents[ORACLE_SECTORS])
{
	struct oracle oracle;

	oracle_init(&oracle, contents, world->image->super.encryption_enabled);
	return oracle;
}

void verify_close(struct explorer *x, struct world *world, const struct oracle *oracle)
{
	uint8_t contents[ORACLE_SECTORS];
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
