/* SPDX-License-Identifier: MIT */
/*
 * Repairs of an image: what is mended, what is left byte for byte, and that a
 * crash or an error in the middle of a repair loses nothing.
 *
 * Each case is a damage of one or two places. The image is repaired, and must be
 * what it was, but for the places that the case says are left. Then the repair is
 * cut at each of its steps, by a kill and by a power cut, and each write and
 * fdatasync of it fails in turn: what is found then opens as before or as after
 * the repair, and a second repair finishes the first.
 *
 *	sim-repair [-v]
 *
 * -v: a line for each case. SEALBLK_LONG=1: more states of each cut.
 */
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "sim/rot.h"
#include "sim/state.h"

enum { DAMAGES_MAX = 2, CUT_STATES = 4, CUT_STATES_LONG = 256 };

/* A sanitizer looks for other mistakes, which a few cases show as well. */
#if defined(__SANITIZE_ADDRESS__)
enum { ONE_IN = 5, STEP = 16 };
#else
enum { ONE_IN = 1, STEP = 1 };
#endif

/* Among the areas of an image. */
enum {
	SUPER_A,
	SUPER_B,
	KEYRING_A,
	KEYRING_B,
	NAMES_A,
	NAMES_B,
	BITMAP_0,
	BITMAP_1,
	MAP0_0,
	MAP0_1,
	MAP1_0,
	MAP1_1,
	SEALED_PLANE,
	PLAIN_PLANE,
};
_Static_assert((int)MAP1_1 + 1 == (int)ROT_METADATA, "areas");

enum how {
	NONE,
	FLIP,	  /* one bit of the area, past its header */
	FLIP_GEN, /* one bit of its generation: it says that it is newer */
	ZERO,
	NOISE,
	OLDER,	 /* what was there some sessions ago: whole, with a good MAC */
	FORGED,	 /* a bit of the area, its checksum put right */
	RAISED,	 /* FORGED, and of a higher generation than its twin */
	LOWERED, /* FORGED, and of a lower one */
	EXTRA,	 /* noise in an empty place of a plane */
	HOWS,
};

static const char *const how_names[HOWS] = {
	[FLIP] = "flipped",
	[FLIP_GEN] = "with a newer generation",
	[ZERO] = "zeroed",
	[NOISE] = "noise",
	[OLDER] = "older",
	[FORGED] = "forged",
	[RAISED] = "forged and newer",
	[LOWERED] = "forged and older",
	[EXTRA] = "with data nobody names",
};

/* What a repair does with a damage. */
enum fate { LEFT, MENDED };

struct damage {
	unsigned int area;
	enum how how;
	enum fate clean, cut; /* by the state of the image; LEFT in a killed one */
};

struct repair_case {
	struct damage damages[DAMAGES_MAX];
};

struct run {
	const struct rot_image *image;
	const struct repair_case *one;
	struct rot_damage damages[DAMAGES_MAX];
	unsigned int nr;
	struct world *damaged, *expected; /* closed */
	enum rot_opened opens_before, opens_after;
	uint64_t cut_states; /* at most, of each cut */
	uint64_t nr_cases, nr_mended, nr_left, nr_states, nr_errors;
};

static uint8_t scratch[DAMAGES_MAX][ROT_AREA_BYTES_MAX];

/* ---- reports -------------------------------------------------------------- */

PRINTF_LIKE(2, 3)
static void failed(const struct run *run, const char *format, ...) __attribute__((noreturn));

static void print_case(const struct run *run)
{
	printf("%s image", rot_state_names[run->image->state]);
	for (unsigned int i = 0; i < run->nr; i++)
		printf(", %s %s", run->image->areas[run->one->damages[i].area].name,
		       how_names[run->one->damages[i].how]);
}

static void failed(const struct run *run, const char *format, ...)
{
	va_list args;

	printf("repair: ");
	print_case(run);
	printf(": ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	exit(EXIT_FAILURE);
}

/* ---- making damages ------------------------------------------------------- */

static uint32_t generation_offset(unsigned int area)
{
	if (area <= SUPER_B)
		return offsetof(struct seal_superblock, generation);
	if (area <= KEYRING_B)
		return offsetof(struct seal_keyring, generation);
	return area <= NAMES_B ? offsetof(struct seal_names, generation)
			       : offsetof(struct seal_block, generation);
}

static void put_crc_right(const struct rot_area *area, uint8_t *bytes)
{
	le32 crc = le32_of(0);

	memcpy(bytes + area->crc_offset, &crc, sizeof(crc));
	crc = le32_of(crc32c(0, bytes, area->nr_bytes));
	memcpy(bytes + area->crc_offset, &crc, sizeof(crc));
}

static void make_extra(const struct run *run, const struct rot_area *area, uint8_t *bytes)
{
	uint32_t at = 0;

	while (!sim_is_hole(run->image->world->sim, run->image->world->fd, SIM_CACHE,
			    area->offset_bytes + at, SECTOR_BYTES))
		at += SECTOR_BYTES;
	sim_require(at < area->nr_bytes, "the window of a plane has no empty place");
	memset(bytes + at, 0x55, SECTOR_BYTES);
}

static bool is_forged(enum how how)
{
	return how == FORGED || how == RAISED || how == LOWERED;
}

static struct rot_damage make(const struct run *run, const struct damage *damage, uint8_t *bytes)
{
	const struct rot_area *area = &run->image->areas[damage->area];
	uint8_t *generation = bytes + generation_offset(damage->area);

	memcpy(bytes, run->image->bytes[damage->area], area->nr_bytes);
	switch (damage->how) {
	case FLIP:
	case FORGED:
		bytes[300] ^= 0x10;
		break;
	case FLIP_GEN:
		generation[0] ^= 0x80;
		break;
	case RAISED:
		generation[1]++;
		break;
	case LOWERED:
		generation[0]--;
		break;
	case ZERO:
		memset(bytes, 0, area->nr_bytes);
		break;
	case NOISE:
		for (uint32_t i = 0; i < area->nr_bytes; i++)
			bytes[i] = (uint8_t)mix64(i);
		break;
	case OLDER:
		sim_peek(run->image->earlier->sim, run->image->earlier->fd, SIM_MEDIUM,
			 area->offset_bytes, bytes, area->nr_bytes);
		break;
	case EXTRA:
		make_extra(run, area, bytes);
		break;
	case NONE:
	case HOWS:
		break;
	}
	if (is_forged(damage->how))
		put_crc_right(area, bytes);
	return (struct rot_damage){ .offset_bytes = area->offset_bytes,
				    .bytes = bytes,
				    .nr_bytes = area->nr_bytes };
}

static enum fate fate_of(const struct run *run, unsigned int i)
{
	const struct damage *damage = &run->one->damages[i];

	if (run->image->state == ROT_KILLED)
		return LEFT;
	return run->image->state == ROT_CLEAN ? damage->clean : damage->cut;
}

/* A world of its own: opening one changes it. */
static enum rot_opened opens_as(const struct run *run, const struct world *closed, const char *when)
{
	struct world *world = world_clone(closed, 0);
	const char *why = "";
	const enum rot_opened opened = rot_open(run->image, world, true, &why);

	if (opened == ROT_WRONG)
		failed(run, "%s: %s", when, why);
	world_free(world);
	return opened;
}

static void begin(struct run *run)
{
	struct rot_damage left[DAMAGES_MAX];
	unsigned int nr_left = 0;

	run->nr = 0;
	while (run->nr < DAMAGES_MAX && run->one->damages[run->nr].how != NONE) {
		const unsigned int i = run->nr++;

		run->damages[i] = make(run, &run->one->damages[i], scratch[i]);
		if (fate_of(run, i) == LEFT)
			left[nr_left++] = run->damages[i];
	}
	run->damaged = rot_damaged(run->image, run->damages, run->nr);
	run->expected = rot_damaged(run->image, left, nr_left);
	run->opens_before = opens_as(run, run->damaged, "damaged");
	run->opens_after = opens_as(run, run->expected, "repaired");
	run->nr_cases++;
	run->nr_left += nr_left;
	run->nr_mended += run->nr - nr_left;
}

static void end(struct run *run)
{
	world_free(run->damaged);
	world_free(run->expected);
}

/* ---- trying --------------------------------------------------------------- */

/* Repair @world, and again: it must be as expected, and the second finds nothing. */
static void repair_to_the_end(const struct run *run, struct world *world, const char *when)
{
	struct rot_told told = { 0 };

	if (rot_repair(world, &told) < 0)
		failed(run, "%s: the repair has failed", when);
	if (!rot_is_same(run->image, world, run->expected))
		failed(run, "%s: the repaired image is not as expected", when);
	if (rot_repair(world, &told) < 0 || told.nr_repairs > 0)
		failed(run, "%s: a second repair finds something to repair", when);
	if (!rot_is_same(run->image, world, run->expected))
		failed(run, "%s: a second repair changes something", when);
}

static bool is_durable(const struct world *world)
{
	const struct sim_cut_plan plan = { .kind = SIM_POWER_CUT, .states_max = 1 };
	struct sim_cut *cut = sim_cut_new(world->sim, &plan);
	const bool durable = sim_cut_pending(cut) == 0;

	sim_cut_free(cut);
	return durable;
}

/* Returns how many steps it takes; 0: it writes nothing. */
static uint64_t try_whole(const struct run *run)
{
	struct world *world = world_clone(run->damaged, 0);
	struct rot_told told = { 0 };
	const bool nothing_left = rot_is_original(run->image, run->expected);
	uint64_t nr_steps;

	if (rot_check(world, &told) < 0)
		failed(run, "the check has failed");
	if (told.digest == run->image->findings && nothing_left)
		failed(run, "a check does not see it");
	if (rot_repair(world, &told) < 0)
		failed(run, "the repair has failed");
	nr_steps = sim_steps(world->sim);
	if (sim_count(world->sim, RING_WRITE) + sim_count(world->sim, RING_PUNCH) == 0)
		nr_steps = 0;
	if (nothing_left && told.nr_left > 0)
		failed(run, "%u problems are left", told.nr_left);
	if (run->image->state != ROT_KILLED && !is_durable(world))
		failed(run, "repaired, but not durably");
	repair_to_the_end(run, world, "repaired");
	world_free(world);
	return nr_steps;
}

/* @world, owned, is what a repair that was cut or has failed left. */
static void judge(struct run *run, struct world *world, const char *when)
{
	const enum rot_opened opened = opens_as(run, world, when);

	if (opened != run->opens_before && opened != run->opens_after)
		failed(run, "%s: opens neither as before nor as after the repair", when);
	repair_to_the_end(run, world, when);
	run->nr_states++;
	world_free(world);
}

/* The host coming up is no other boot to these images: what they opened as is compared. */
static void judge_cut(struct run *run, const struct world *cut_world, enum sim_cut_kind kind,
		      const char *when)
{
	const struct sim_cut_plan plan = {
		.kind = kind, .grain = SIM_SECTORS, .states_max = run->cut_states, .seed = 1
	};
	struct sim_cut *cut = sim_cut_new(cut_world->sim, &plan);
	uint64_t nr = sim_cut_states(cut);

	/* Before the first write: the image is what it was. */
	if (sim_cut_pending(cut) == 0 && rot_is_same(run->image, cut_world, run->damaged))
		nr = 0;
	for (uint64_t i = 0; i < nr; i++) {
		struct world *after = world_after(cut_world, sim_cut_take(cut, i), SIM_KILL);

		judge(run, after, when);
	}
	sim_cut_free(cut);
}

static void try_cut(struct run *run, uint64_t step)
{
	struct world *world = world_clone(run->damaged, 0);
	struct rot_told told = { 0 };
	char when[64];

	snprintf(when, sizeof(when), "cut after step %" PRIu64, step);
	sim_crash_at(world->sim, step);
	(void)!rot_repair(world, &told);
	/* What a killed daemon left in the cache, nothing has brought to the disk. */
	if (run->image->state != ROT_KILLED)
		judge_cut(run, world, SIM_POWER_CUT, when);
	judge_cut(run, world, SIM_KILL, when);
	world_free(world);
}

/* Returns whether there was an @nth. */
static bool try_error(struct run *run, const struct sim_fault *fault)
{
	struct world *world = world_clone(run->damaged, 0);
	struct rot_told told = { 0 };
	uint64_t nr;
	char when[64];
	int r;

	snprintf(when, sizeof(when), "%s %" PRIu64 " fails",
		 fault->kind == RING_WRITE ? "write" : "fdatasync", fault->nth);
	sim_fault(world->sim, fault);
	r = rot_repair(world, &told);
	nr = sim_count(world->sim, fault->kind);
	if (nr >= fault->nth) {
		run->nr_errors++;
		if (r >= 0)
			failed(run, "%s, and the repair does not", when);
		if (nr > fault->nth)
			failed(run, "%s, and the repair goes on", when);
		judge_cut(run, world, SIM_POWER_CUT, when);
	}
	world_free(world);
	return nr >= fault->nth;
}

static void try_errors(struct run *run)
{
	struct sim_fault faults[] = {
		{ .kind = RING_WRITE, .error = -EIO },
		{ .kind = RING_WRITE, .error = -ENOSPC, .moved_bytes = 2 * SECTOR_BYTES },
		{ .kind = RING_FDATASYNC, .error = -EIO, .sync = SIM_SYNC_KEEPS },
		{ .kind = RING_FDATASYNC, .error = -EIO, .sync = SIM_SYNC_DROPS },
		{ .kind = RING_FDATASYNC, .error = -EIO, .sync = SIM_SYNC_DROPS, .reached = 1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
		faults[i].fd = run->image->world->fd;
		faults[i].nth = 1;
		while (try_error(run, &faults[i]))
			faults[i].nth++;
	}
}

static void try_case(struct run *run, const struct repair_case *one, bool verbose)
{
	const uint64_t nr_before = run->nr_states;
	uint64_t nr_steps;

	run->one = one;
	begin(run);
	nr_steps = try_whole(run);
	for (uint64_t step = 1; step <= nr_steps; step += STEP)
		try_cut(run, step);
	try_errors(run);
	end(run);
	if (verbose) {
		print_case(run);
		printf(": %" PRIu64 " states\n", run->nr_states - nr_before);
	}
}

/* ---- cases ---------------------------------------------------------------- */

static const struct repair_case special[] = {
	/* A copy that a crash between the two writes left behind. */
	{ { { SUPER_A, OLDER, MENDED, MENDED } } },
	{ { { SUPER_B, OLDER, MENDED, MENDED } } },
	/* In a closed image the newer slot counts, be it where it may; block 0 was written since. */
	{ { { MAP0_0, OLDER, MENDED, LEFT } } },
	{ { { MAP0_1, OLDER, MENDED, LEFT } } },
	/* Both are gone: there is nothing to copy. */
	{ { { SUPER_A, FLIP, LEFT, LEFT }, { SUPER_B, ZERO, LEFT, LEFT } } },
	{ { { KEYRING_A, FLIP, LEFT, LEFT }, { KEYRING_B, FLIP, LEFT, LEFT } } },
	{ { { NAMES_A, NOISE, LEFT, LEFT }, { NAMES_B, FLIP, LEFT, LEFT } } },
	{ { { BITMAP_0, FLIP, LEFT, LEFT }, { BITMAP_1, FLIP, LEFT, LEFT } } },
	{ { { MAP0_0, FLIP, LEFT, LEFT }, { MAP0_1, FLIP, LEFT, LEFT } } },
	{ { { MAP1_0, ZERO, LEFT, LEFT }, { MAP1_1, NOISE, LEFT, LEFT } } },
	/* The copy that counts is forged, or nothing can be believed without it. */
	{ { { SUPER_A, FORGED, LEFT, LEFT }, { SUPER_B, FLIP, LEFT, LEFT } } },
	{ { { SUPER_B, RAISED, LEFT, LEFT }, { SUPER_A, FLIP, LEFT, LEFT } } },
	{ { { KEYRING_A, FORGED, LEFT, LEFT }, { KEYRING_B, FLIP, LEFT, LEFT } } },
	{ { { NAMES_A, FORGED, LEFT, LEFT }, { NAMES_B, FLIP, LEFT, LEFT } } },
	{ { { MAP0_0, FORGED, LEFT, LEFT }, { MAP0_1, FLIP, LEFT, LEFT } } },
	{ { { SUPER_A, FORGED, LEFT, LEFT }, { KEYRING_B, FLIP, LEFT, LEFT } } },
	{ { { KEYRING_A, FORGED, LEFT, LEFT }, { SUPER_B, FLIP, LEFT, LEFT } } },
	{ { { SUPER_A, RAISED, LEFT, LEFT }, { MAP0_0, FLIP, LEFT, LEFT } } },
	/* Two things, each for itself. */
	{ { { SUPER_A, FLIP, MENDED, MENDED }, { KEYRING_B, ZERO, MENDED, MENDED } } },
	{ { { NAMES_A, NOISE, MENDED, MENDED }, { MAP0_1, FLIP, MENDED, LEFT } } },
	{ { { NAMES_A, FORGED, LEFT, LEFT }, { KEYRING_B, FLIP, MENDED, MENDED } } },
	{ { { MAP0_0, FLIP, MENDED, LEFT }, { MAP1_1, ZERO, MENDED, LEFT } } },
	{ { { MAP0_0, FORGED, LEFT, LEFT }, { MAP1_1, FLIP, MENDED, LEFT } } },
	{ { { MAP0_0, FLIP, MENDED, LEFT }, { PLAIN_PLANE, EXTRA, MENDED, LEFT } } },
	{ { { BITMAP_1, FLIP, MENDED, LEFT }, { SEALED_PLANE, EXTRA, MENDED, LEFT } } },
	/* Superseded sectors. */
	{ { { SEALED_PLANE, EXTRA, MENDED, LEFT } } },
	{ { { PLAIN_PLANE, EXTRA, MENDED, LEFT } } },
	{ { { SUPER_A, FORGED, LEFT, LEFT }, { PLAIN_PLANE, EXTRA, LEFT, LEFT } } },
};

/*
 * An older slot is no copy of the one that is damaged. (After a crash the format
 * cannot tell: a torn slot looks like that.)
 */
static const struct repair_case special_clean[] = {
	{ { { MAP0_0, OLDER, LEFT, LEFT }, { MAP0_1, FLIP, LEFT, LEFT } } },
	{ { { MAP0_1, OLDER, LEFT, LEFT }, { MAP0_0, FLIP, LEFT, LEFT } } },
};

/* Each copy and slot, in each way that has nothing to do with the other one. */
static void try_each(struct run *run, bool verbose)
{
	static const enum how hows[] = { FLIP, FLIP_GEN, ZERO, NOISE, FORGED, RAISED, LOWERED };

	for (unsigned int area = 0; area < ROT_METADATA; area++) {
		for (size_t i = 0; i < ARRAY_LEN(hows); i++) {
			const enum fate fate = is_forged(hows[i]) ? LEFT : MENDED;
			const struct repair_case one = { {
				{ area, hows[i], fate, area <= NAMES_B ? fate : LEFT },
			} };

			if ((area * ARRAY_LEN(hows) + i) % ONE_IN == 0)
				try_case(run, &one, verbose);
		}
	}
}

int main(int argc, char **argv)
{
	const bool verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
	const char *is_long = getenv("SEALBLK_LONG");
	struct run run = { .cut_states = is_long && *is_long ? CUT_STATES_LONG : CUT_STATES };

	/* Fresh zeros for what is large and hardly used: the default would adapt. */
	mallopt(M_MMAP_THRESHOLD, 128 << 10);
	for (unsigned int state = 0; state < ROT_STATES; state++) {
		struct rot_image image = { 0 };

		rot_image_init(&image, (enum rot_state)state);
		run.image = &image;
		try_each(&run, verbose);
		for (size_t i = 0; i < ARRAY_LEN(special); i++)
			try_case(&run, &special[i], verbose);
		for (size_t i = 0; state == ROT_CLEAN && i < ARRAY_LEN(special_clean); i++)
			try_case(&run, &special_clean[i], verbose);
		rot_image_done(&image);
	}
	printf("figures: %" PRIu64 " cases: %" PRIu64 " places mended, %" PRIu64
	       " left as they were; "
	       "%" PRIu64 " errors, %" PRIu64 " states of a repair cut short, 0 violations\n",
	       run.nr_cases, run.nr_mended, run.nr_left, run.nr_errors, run.nr_states);
	return EXIT_SUCCESS;
}
