/* SPDX-License-Identifier: MIT */
/*
 * Bit rot: every byte of an image flipped, one at a time, in one that was closed,
 * one whose daemon was killed and one whose host lost its power. Then: is the
 * image refused, or does every sector read right, or do those of the block that
 * was hit answer EIO and all others read right? Does a check with the key tell
 * it? Does a repair give back the undamaged image, byte for byte, or leave the
 * damaged one as it is?
 *
 *	sim-bitrot [-v] [STATE OFFSET MASK]
 *
 * -v: a line for each area. With a STATE (clean, killed, cut), an OFFSET in the
 * image and a MASK only that flip. By default one bit of each byte is flipped, and
 * of stretches of one and the same byte some are taken. SEALBLK_LONG=1: all bytes,
 * and in the closed image all bits of those that lie in no such stretch.
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/crc32c.h"
#include "map/entries.h"
#include "sim/rot.h"
#include "sim/state.h"

struct figures {
	uint64_t nr_flips;
	uint64_t nr_told;     /* by a check: as a problem there, or in a note after a crash */
	uint64_t nr_harmless; /* not told, and everything reads right */
	uint64_t nr_repairs;  /* tried: */
	uint64_t nr_repaired;
	uint64_t nr_left;
	uint64_t nr_refused, nr_eio;
	uint64_t nr_data; /* flips in sectors, which nothing protects */
	uint64_t nr_forged;
	uint64_t nr_crashes;
};

struct run {
	const struct rot_image *image;
	struct figures figures;
	bool is_long, verbose;

	/* What is being tried, for the report. */
	const char *area;
	uint64_t offset_bytes;
	uint8_t mask;
};

/* ---- reports -------------------------------------------------------------- */

PRINTF_LIKE(2, 3)
static void failed(const struct run *run, const char *format, ...) __attribute__((noreturn));

static void failed(const struct run *run, const char *format, ...)
{
	va_list args;

	printf("bitrot: %s image, %s: ", rot_state_names[run->image->state], run->area);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n  again: sim-bitrot %s %" PRIu64 " 0x%02x\n", rot_state_names[run->image->state],
	       run->offset_bytes, run->mask);
	exit(EXIT_FAILURE);
}

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- what may become of a flip -------------------------------------------- */

/*
 * The table of what may happen, by place:
 *
 *	superblock, keyring, names	reads right, from the other copy
 *	bitmap of a closed image	refused: its slots must be the same
 *	map block of a closed image	EIO in its sectors
 *	either, after a crash		reads right, from the other slot; no finding where
 *					the slots differ: it may be a torn write
 */
static enum rot_opened wanted_of(const struct run *run)
{
	const struct rot_image *image = run->image;

	if (run->offset_bytes < SEAL_BITMAP_START || image->state != ROT_CLEAN)
		return ROT_RIGHT;
	return rot_block_at(image, run->offset_bytes) < 0 ? ROT_REFUSED : ROT_EIO;
}

static const char *const opened_names[] = {
	[ROT_REFUSED] = "is refused",
	[ROT_RIGHT] = "reads right",
	[ROT_EIO] = "answers EIO",
	[ROT_WRONG] = "is silently wrong",
};

static struct world *flipped(const struct run *run)
{
	uint8_t byte;
	const struct rot_damage damage = { .offset_bytes = run->offset_bytes,
					   .bytes = &byte,
					   .nr_bytes = 1 };

	sim_peek(run->image->world->sim, run->image->world->fd, SIM_MEDIUM, run->offset_bytes,
		 &byte, 1);
	byte ^= run->mask;
	return rot_damaged(run->image, &damage, 1);
}

static void try_open(struct run *run, bool again)
{
	struct world *world = flipped(run);
	const enum rot_opened wanted = wanted_of(run);
	const char *why = "";
	const enum rot_opened opened = rot_open(run->image, world, again, &why);

	if (opened == ROT_WRONG)
		failed(run, "%s", why);
	if (opened != wanted)
		failed(run, "%s, not: %s", opened_names[opened], opened_names[wanted]);
	run->figures.nr_refused += opened == ROT_REFUSED;
	run->figures.nr_eio += opened == ROT_EIO;
	world_free(world);
}

/* Every flip is told of; in a closed image, and in headers always, at its place. */
static void judge_told(struct run *run, const struct rot_told *told)
{
	const bool in_header = run->offset_bytes < SEAL_BITMAP_START;

	if (rot_is_in_unlike_pair(run->image, run->offset_bytes)) {
		if (told->nr_problems > 0)
			failed(run, "%u problems told of what a crash may leave",
			       told->nr_problems);
		run->figures.nr_harmless++;
		return;
	}
	if (told->digest == run->image->findings)
		failed(run, "a check does not see it");
	if ((in_header || run->image->state == ROT_CLEAN) && !told->names_it)
		failed(run, "a check does not say where it is");
	run->figures.nr_told++;
}

static void try_check(struct run *run)
{
	struct world *world = flipped(run);
	struct rot_told told = { .at = run->offset_bytes };

	if (rot_check(world, &told) < 0)
		failed(run, "the check has failed");
	judge_told(run, &told);
	world_free(world);
}

/* After a crash slots and places are recovery's to mend; as long as the host is up, all is. */
static bool can_be_repaired(const struct run *run)
{
	return run->image->state == ROT_CLEAN ||
	       (run->image->state == ROT_CUT && run->offset_bytes < SEAL_BITMAP_START);
}

static void try_repair(struct run *run)
{
	struct world *damaged = flipped(run), *world = flipped(run);
	struct rot_told told = { .at = run->offset_bytes };

	if (rot_repair(world, &told) < 0)
		failed(run, "the repair has failed");
	judge_told(run, &told);
	run->figures.nr_repairs++;
	if (told.nr_repairs > 0) {
		if (!rot_is_original(run->image, world))
			failed(run, "repaired, but not what it was");
		if (told.nr_left > 0)
			failed(run, "repaired, but %u problems are left", told.nr_left);
		if (rot_repair(world, &told) < 0 || told.nr_repairs > 0)
			failed(run, "a second repair finds something to repair");
		run->figures.nr_repaired++;
	} else {
		if (!rot_is_same(run->image, world, damaged))
			failed(run, "not repaired, and not left as it was");
		run->figures.nr_left++;
	}
	if ((told.nr_repairs > 0 || rot_is_original(run->image, world)) != can_be_repaired(run))
		failed(run, "%s", can_be_repaired(run) ? "not repaired" : "repaired");
	world_free(world);
	world_free(damaged);
}

static void try_flip(struct run *run, bool repair, bool again)
{
	run->figures.nr_flips++;
	if (repair)
		try_repair(run);
	else
		try_check(run);
	try_open(run, again);
}

/* ---- all bytes ------------------------------------------------------------ */

/* Long stretches of one byte, zeros mostly, are all alike to a checksum. */
static bool is_monotonous(const uint8_t *bytes, uint32_t at, uint32_t nr_bytes)
{
	const uint32_t first = at >= 16 ? at - 16 : 0;
	const uint32_t end = at + 17 < nr_bytes ? at + 17 : nr_bytes;

	for (uint32_t i = first + 1; i < end; i++)
		if (bytes[i] != bytes[first])
			return false;
	return true;
}

/* One in how many is tried. */
struct pace {
	uint32_t monotonous; /* of those bytes */
	uint32_t others;     /* of all other bytes */
	uint32_t repair;     /* of the flips tried; the others are only checked */
	uint32_t again;	     /* of the flips tried: closed and opened once more */
	uint32_t data;	     /* of the bytes in the planes; odd, so that all bits are */
	uint8_t masks;	     /* of each byte of @others; of the monotonous: */
	uint8_t monotonous_masks;
};

static void run_area(struct run *run, unsigned int i, const struct pace *pace)
{
	const struct rot_area *area = &run->image->areas[i];
	const double begin_s = now_s();
	const uint64_t nr_before = run->figures.nr_flips;

	run->area = area->name;
	for (uint32_t at = 0; at < area->nr_bytes; at++) {
		const bool monotonous = is_monotonous(run->image->bytes[i], at, area->nr_bytes);
		const uint8_t nr_masks = monotonous ? pace->monotonous_masks : pace->masks;
		const uint64_t random = mix64(at + area->offset_bytes);

		if (random % (monotonous ? pace->monotonous : pace->others) != 0)
			continue;
		run->offset_bytes = area->offset_bytes + at;
		for (uint8_t bit = 0; bit < nr_masks; bit++) {
			run->mask = (uint8_t)(1u << (random + bit) % 8);
			try_flip(run, (random >> 8) % pace->repair == 0,
				 (random >> 16) % pace->again == 0);
		}
	}
	if (run->verbose)
		printf("%s image, %s: %" PRIu64 " flips, %.1f s\n",
		       rot_state_names[run->image->state], area->name,
		       run->figures.nr_flips - nr_before, now_s() - begin_s);
}

/* ---- data ----------------------------------------------------------------- */

/*
 * Nothing protects data. The promise is: a flip in a sealed sector makes noise of
 * the 16 bytes it is in, one in a plain sector flips that bit; nothing else changes.
 */
static void try_data(struct run *run, unsigned int plane, uint64_t in_window)
{
	uint8_t window[ROT_WINDOW * SECTOR_BYTES];
	struct world *world = flipped(run);
	const bool sealed = plane == ROT_SEALED;
	const uint64_t hit = sealed ? in_window / 16 * 16 : in_window;
	const uint64_t nr_hit = sealed ? 16 : 1;
	struct map_run found;

	run->figures.nr_data++;
	if (world_open(world, false) < 0)
		failed(run, "does not open");
	for (uint64_t i = 0; i < ROT_WINDOW; i++)
		if (rot_read(world, window_first(world) + i, window + i * SECTOR_BYTES) < 0)
			failed(run, "a sector cannot be read");
	if (map_find(&world->image->disk.map, window_first(world) + in_window / SECTOR_BYTES, 1,
		     &found) < 0)
		failed(run, "an entry cannot be found");
	/* After a crash there may be places that no entry names. */
	if (found.entry == plane) {
		if (memcmp(window + hit, run->image->window + hit, nr_hit) == 0)
			failed(run, "the flip has no effect");
		if (!sealed && (window[hit] ^ run->image->window[hit]) != run->mask)
			failed(run, "another bit has changed");
		memcpy(window + hit, run->image->window + hit, nr_hit);
	}
	if (memcmp(window, run->image->window, sizeof(window)) != 0)
		failed(run, "other bytes have changed, too");
	world_free(world);
}

static void run_data(struct run *run, const struct pace *pace)
{
	for (unsigned int i = ROT_METADATA; i < ROT_AREAS; i++) {
		const struct rot_area *area = &run->image->areas[i];

		run->area = area->name;
		for (uint32_t at = 0; at < area->nr_bytes; at += pace->data) {
			run->offset_bytes = area->offset_bytes + at;
			run->mask = (uint8_t)(1u << at % 8);
			if (!sim_is_hole(run->image->world->sim, run->image->world->fd, SIM_MEDIUM,
					 run->offset_bytes, 1))
				try_data(run, ROT_SEALED + i - ROT_METADATA, at);
		}
	}
}

/* ---- one flip ------------------------------------------------------------- */

static void run_one(struct run *run, char **argument)
{
	run->area = "one flip";
	run->offset_bytes = strtoull(argument[1], NULL, 0);
	run->mask = (uint8_t)strtoul(argument[2], NULL, 0);
	try_flip(run, true, true);
}

/* ---- all of it ------------------------------------------------------------ */

static struct pace pace_of(const struct run *run)
{
	const bool closed = run->image->state == ROT_CLEAN;

	/* A sanitizer looks for other mistakes, which a few flips show as well. */
#if defined(__SANITIZE_ADDRESS__)
	return (struct pace){ 256, 32, 4, 32, 37, 1, 1 };
#endif
	if (run->is_long)
		return (struct pace){ 1, 1, 4, 16, 1, closed ? 8 : 2, 1 };
	return (struct pace){ closed ? 8 : 32, 1, 8, 32, 3, 1, 1 };
}

static void add_up(struct figures *to, const struct figures *from)
{
	uint64_t *sum = (uint64_t *)to;
	const uint64_t *term = (const uint64_t *)from;

	for (size_t i = 0; i < sizeof(*to) / sizeof(*sum); i++)
		sum[i] += term[i];
}

static void run_state(struct figures *sum, enum rot_state state, char **one, bool verbose)
{
	const char *is_long = getenv("SEALBLK_LONG");
	struct rot_image image = { 0 };
	struct run run = {
		.image = &image,
		.is_long = is_long && *is_long,
		.verbose = verbose,
	};
	const struct pace pace = pace_of(&run);

	rot_image_init(&image, state);
	if (one) {
		run_one(&run, one);
	} else {
		for (unsigned int i = 0; i < ROT_METADATA; i++)
			run_area(&run, i, &pace);
		run_data(&run, &pace);
	}
	add_up(sum, &run.figures);
	rot_image_done(&image);
}

int main(int argc, char **argv)
{
	const bool verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
	char **one = argv + 1 + verbose;
	struct figures sum = { 0 };

	(void)argc;
	/* Fresh zeros for what is large and hardly used: the default would adapt. */
	mallopt(M_MMAP_THRESHOLD, 128 << 10);
	if (*one && (!one[1] || !one[2])) {
		fprintf(stderr, "usage: sim-bitrot [-v] [clean|killed|cut OFFSET MASK]\n");
		return EXIT_FAILURE;
	}
	for (unsigned int state = 0; state < ROT_STATES; state++)
		if (!*one || strcmp(*one, rot_state_names[state]) == 0)
			run_state(&sum, (enum rot_state)state, *one ? one : NULL, verbose);
	printf("figures: %" PRIu64 " flips: %" PRIu64 " told, %" PRIu64 " harmless; %" PRIu64
	       " repaired, %" PRIu64 " left; %" PRIu64 " data, 0 silent\n",
	       sum.nr_flips, sum.nr_told, sum.nr_harmless, sum.nr_repaired, sum.nr_left,
	       sum.nr_data);
	return EXIT_SUCCESS;
}
