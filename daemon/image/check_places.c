/* SPDX-License-Identifier: MIT */
/*
 * Checking an image: what the file holds in its planes against what the map
 * says. Data that no entry names was superseded and should have been punched; a
 * hole where an entry promises ciphertext is data lost, perhaps to a program
 * that took zeros for nothing when it copied the image.
 *
 * check_extent -> check_piece (by map block) -> count_unnamed, count_lost -> tell
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bitset.h"
#include "image/check_state.h"
#include "map/entries.h"

enum { CHUNK_SECTORS = 128 };

struct sum {
	uint64_t nr_sectors;
	uint64_t first_sector; /* of the disk; if there are any */
};

struct plane {
	uint8_t value; /* in the map */
	bool sealed;
	uint64_t offset_bytes; /* in the file */
	struct sum unnamed;    /* hold data, and no entry names them */
	struct sum lost;       /* lie in a hole of the file, and an entry says sealed */
	uint64_t nr_punched;   /* of @unnamed, when repairing */
	bool unreadable;
};

static void add(struct sum *sum, uint64_t first_sector, uint64_t nr_sectors)
{
	if (sum->nr_sectors == 0)
		sum->first_sector = first_sector;
	sum->nr_sectors += nr_sectors;
}

static bool is_zeros(const uint8_t sector[SECTOR_BYTES])
{
	return sector[0] == 0 && memcmp(sector, sector + 1, SECTOR_BYTES - 1) == 0;
}

static void take_unnamed(struct check *check, struct plane *plane, uint64_t sector, uint32_t nr,
			 bool certain)
{
	if (nr == 0)
		return;
	add(&plane->unnamed, sector, nr);
	if (certain && repair_punch(check, plane->offset_bytes + sectors_to_bytes(sector),
				    sectors_to_bytes(nr)))
		plane->nr_punched += nr;
}

/*
 * A file system keeps its blocks whole: zeros beside what is named are no data.
 * @certain: that no entry names them has been looked up in a sound block.
 */
static void count_unnamed(struct check *check, struct plane *plane, uint64_t sector, uint64_t end,
			  bool certain)
{
	uint8_t bytes[CHUNK_SECTORS * SECTOR_BYTES];

	while (sector < end && !plane->unreadable) {
		uint32_t nr = (uint32_t)min_u64(end - sector, CHUNK_SECTORS);

		if (check_read(check, plane->offset_bytes + sectors_to_bytes(sector), bytes,
			       nr * SECTOR_BYTES) < 0) {
			plane->unreadable = true;
			return;
		}
		for (uint32_t i = 0, run = 0; i < nr; i++) {
			run = is_zeros(bytes + i * SECTOR_BYTES) ? 0 : run + 1;
			if (i + 1 == nr || is_zeros(bytes + (i + 1) * SECTOR_BYTES))
				take_unnamed(check, plane, sector + i + 1 - run, run, certain);
		}
		sector += nr;
	}
}

/* Sectors [@sector, @end) of one map block, all in data or all in a hole of the file. */
static void check_piece(struct check *check, struct plane *plane, uint64_t sector, uint64_t end,
			bool hole)
{
	uint64_t index = map_block_of(sector);
	uint64_t first = map_block_first(index);
	const uint8_t *body = NULL;
	bool certain = true;

	if (bitset_has(check->damaged, index))
		return;
	if (bitset_has(check->written, index)) {
		body = check_map_body(check, index);
		if (!body)
			return;
	} else if (check->repair && !hole) {
		certain = check_map_is_bare(check, index);
	}
	while (sector < end) {
		bool named = body && block_entry(body, (uint32_t)(sector - first)) == plane->value;
		uint64_t at = sector;

		while (at < end &&
		       named == (body && block_entry(body, (uint32_t)(at - first)) == plane->value))
			at++;
		if (named && hole && plane->sealed)
			add(&plane->lost, sector, at - sector);
		if (!named && !hole)
			count_unnamed(check, plane, sector, at, certain);
		sector = at;
	}
}

static void check_extent(struct check *check, struct plane *plane, uint64_t sector, uint64_t end,
			 bool hole)
{
	while (sector < end) {
		uint64_t index = map_block_of(sector);
		uint64_t stop = min_u64(map_block_first(index + 1), end);

		/* Nothing is missing from a hole that no block names: on to the next that may. */
		if (hole && !bitset_has(check->written, index))
			stop = map_block_first(
				bitset_next(check->written, index, check->nr_blocks));
		else
			check_piece(check, plane, sector, stop, hole);
		sector = stop;
	}
}

/* 0, or a negative errno of asking where the file has data. */
static int check_plane(struct check *check, struct plane *plane)
{
	const struct store *store = check->order->store;
	uint64_t bytes = sectors_to_bytes(check->nr_sectors);

	/* A file cut short has been told of. */
	bytes = store->bytes > plane->offset_bytes
			? min_u64(bytes, store->bytes - plane->offset_bytes)
			: 0;
	for (uint64_t at = 0; at < bytes;) {
		uint64_t extent;
		bool hole;
		int r = store_extent(store, plane->offset_bytes + at, bytes - at, &hole, &extent);

		if (r < 0)
			return r;
		check_extent(check, plane, at / SECTOR_BYTES, (at + extent) / SECTOR_BYTES, hole);
		at += extent;
	}
	return 0;
}

/* ---- telling ---- */

static void locate(struct check_finding *finding, const struct plane *plane, const struct sum *sum)
{
	check_locate(finding, plane->offset_bytes + sectors_to_bytes(sum->first_sector),
		     sectors_to_bytes(sum->nr_sectors), "plane %u", (unsigned int)plane->value);
}

/* Superseded copies. */
static void tell_unnamed(struct check *check, const struct plane *plane)
{
	bool unclean = check->result.unclean;
	struct check_finding finding = { 0 };

	locate(&finding, plane, &plane->unnamed);
	if (unclean) {
		check_means(&finding, "that is how a crash leaves new sectors and superseded ones");
		check_advise(&finding,
			     "serve the image once: recovery takes them in, or punches them out");
	} else {
		check_means(&finding, "they are out of use: no client can read them%s",
			    plane->sealed ? "" : ", but whoever has the file can");
		check_advise(&finding, CHECK_REPAIR " punches them out");
	}
	check_tell(check, &finding, unclean ? CHECK_NOTE : CHECK_PROBLEM,
		   "holds %" PRIu64 " sectors of %s that no entry names", plane->unnamed.nr_sectors,
		   plane->sealed ? "ciphertext" : "plaintext");
	if (plane->nr_punched > 0)
		repair_punched(check, &finding, plane->nr_punched);
}

static void tell_plane(struct check *check, const struct plane *plane)
{
	struct check_finding finding = { 0 };

	if (plane->unreadable) {
		check_locate(&finding, plane->offset_bytes, sectors_to_bytes(check->nr_sectors),
			     "plane %u", (unsigned int)plane->value);
		check_means(&finding, "its sectors may answer EIO");
		check_advise(&finding, "see what the kernel says about the disk below");
		check_tell(check, &finding, CHECK_PROBLEM, "cannot be read");
	}
	if (plane->unnamed.nr_sectors > 0)
		tell_unnamed(check, plane);
	if (plane->lost.nr_sectors > 0) {
		locate(&finding, plane, &plane->lost);
		check_means(&finding, "they read as noise");
		check_advise(&finding, CHECK_RESTORE);
		check_tell(check, &finding, CHECK_PROBLEM,
			   "lacks %" PRIu64 " sealed sectors: there is a hole in the file",
			   plane->lost.nr_sectors);
	}
}

int check_places(struct check *check)
{
	/* Without knowing what is named nothing can be said. */
	if (check->bits_missing)
		return 0;
	for (unsigned int i = 0; i < PLANES_MAX; i++) {
		const struct seal_plane *row = &check->super->planes[i];
		struct plane plane = {
			.value = (uint8_t)(i + SEAL_ENTRY_PLANE_FIRST),
			.sealed = row->kind == SEAL_PLANE_SEALED,
			.offset_bytes = le64_get(row->file_offset_bytes),
		};

		if (row->kind == SEAL_PLANE_NONE)
			continue;
		if (check_plane(check, &plane) < 0)
			plane.unreadable = true;
		check->result.nr_planes++;
		tell_plane(check, &plane);
	}
	check->result.has_places = true;
	return 0;
}
