/* SPDX-License-Identifier: MIT */
/*
 * Bit rot: an image of a simulated host with something changed in it behind the
 * program's back, and what becomes of it when it is opened, checked and repaired
 * by the real code. A sector may read right or answer EIO, an image may be
 * refused; nothing may be silently wrong.
 */
#ifndef TESTS_SIM_ROT_H
#define TESTS_SIM_ROT_H

#include "image/check.h"
#include "keys/keyring.h"
#include "sim/world.h"

enum {
	ROT_BLOCKS = 2,	 /* of the map: the window lies across their border */
	ROT_NAMES_A = 4, /* among the areas */
	ROT_METADATA = 8 + 2 * ROT_BLOCKS,
	ROT_SEALED = SEAL_ENTRY_PLANE_FIRST, /* the planes */
	ROT_PLAIN,
	ROT_PLANES_END,
	ROT_AREAS = ROT_METADATA + ROT_PLANES_END - ROT_SEALED,
	ROT_SECTORS = 2, /* under test, and the window around them */
	ROT_WINDOW = WINDOW_BEFORE + ROT_SECTORS + WINDOW_AFTER,
	ROT_AREA_BYTES_MAX = SEAL_NAMES_BYTES,
};

/* A stretch of the image's file that something is stored in; between them is nothing. */
struct rot_area {
	const char *name;
	uint64_t offset_bytes;
	uint32_t nr_bytes;
	uint32_t crc_offset; /* of a structure; 0: the window of a plane */
};

/* How the image was left. */
enum rot_state {
	ROT_CLEAN,  /* closed */
	ROT_KILLED, /* the daemon killed; same boot, so its dirty file is there */
	ROT_CUT,    /* the host's power cut */
	ROT_STATES,
};

extern const char *const rot_state_names[ROT_STATES];

struct rot_image {
	enum rot_state state;
	struct world *world;		  /* closed */
	struct world *earlier;		  /* the same image, closed some sessions before */
	struct rot_area areas[ROT_AREAS]; /* those of a structure, then the planes */
	uint8_t *bytes[ROT_AREAS];	  /* undamaged */

	/* As it opens undamaged. */
	struct seal_superblock super;
	struct keyring_keys *keys;
	uint8_t window[ROT_WINDOW * SECTOR_BYTES];
	uint64_t findings; /* digest of what a check tells */

	/* After a crash: pairs of slots with the same content, but of two generations. */
	bool bitmap_differs, slots_differ[ROT_BLOCKS];
};

/* @image is to be zeroed. All states are of the same disk and keys. */
void rot_image_init(struct rot_image *image, enum rot_state state);
void rot_image_done(struct rot_image *image);

/* Where map block @index has its slot @slot. */
uint64_t rot_slot_offset(const struct rot_image *image, unsigned int index, unsigned int slot);

/* The map block in whose pair byte @offset_bytes is, or -1. */
int rot_block_at(const struct rot_image *image, uint64_t offset_bytes);

/* Is the byte in one of the pairs whose slots differ? */
bool rot_is_in_unlike_pair(const struct rot_image *image, uint64_t offset_bytes);

/* Bytes that are there instead of the image's own. */
struct rot_damage {
	const char *name;
	uint64_t offset_bytes;
	const uint8_t *bytes;
	uint32_t nr_bytes;
};

/* A copy of the image's world with @nr damages; the caller's: world_free(). */
struct world *rot_damaged(const struct rot_image *image, const struct rot_damage *damages,
			  unsigned int nr);

enum rot_opened {
	ROT_REFUSED, /* the image does not open */
	ROT_RIGHT,   /* everything as it was */
	ROT_EIO,     /* all sectors of one map block answer EIO, all others read right */
	ROT_WRONG,   /* *ret_why says what */
};

/*
 * Open @world, closed and of @image's state, and hold policy, keys and every
 * sector of the window against the undamaged image. @again: close it and look
 * once more. @ret_why: a static text.
 */
enum rot_opened rot_open(const struct rot_image *image, struct world *world, bool again,
			 const char **ret_why);

/* What a check or repair told. */
struct rot_told {
	uint64_t at;	 /* set by the caller: */
	uint64_t digest; /* of subjects and texts, but for the base's */
	unsigned int nr_problems;
	bool names_it; /* a problem's place includes byte @at */
	uint64_t nr_repairs;
	unsigned int nr_left; /* problems afterwards, without the base's */
};

/* With the key. Change nothing but *ret_told but for @at. 0, or the check's error. */
int rot_check(struct world *world, struct rot_told *told);
int rot_repair(struct world *world, struct rot_told *told);

/* Are all areas of @world, durably, as they are in the image, or as in @other? */
bool rot_is_original(const struct rot_image *image, const struct world *world);
bool rot_is_same(const struct rot_image *image, const struct world *world,
		 const struct world *other);

/* READ one sector. Returns the request's error. */
int rot_read(struct world *world, uint64_t sector, uint8_t ret_bytes[SECTOR_BYTES]);

#endif
