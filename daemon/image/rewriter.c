/* SPDX-License-Identifier: MIT */
/* Moving sectors in the background: see rewriter.h. */
#include "image/rewriter.h"

#include <errno.h>

#include "map/entries.h"

enum {
	US_PER_MS = 1000,
	US_PER_S = 1000000,
	PIECE_SECTORS = REWRITE_BYTES >> SECTOR_SHIFT,
	SWEEP_TURN_MS = 20,
	LATE_US = 100000, /* being late is made up for, by so much at most */
};

/* ---- clients come first ---- */

static uint64_t count_requests(const struct rewriter *rewriter)
{
	const struct map *map = &rewriter->image->disk.map;
	uint64_t nr = 0;

	for (unsigned int i = 0; i < map->nr_lanes; i++)
		if (map->lanes[i] != rewriter->lane)
			nr += atomic_load(&map->lanes[i]->nr_begun);
	return nr;
}

static bool clients_are_there(struct rewriter *rewriter, uint64_t now_us)
{
	const uint64_t nr = count_requests(rewriter);

	if (nr != rewriter->nr_requests_seen)
		rewriter->clients_seen_us = now_us;
	rewriter->nr_requests_seen = nr;
	return rewriter->clients_seen_us != 0 &&
	       now_us < rewriter->clients_seen_us + REWRITE_QUIET_MS * US_PER_MS;
}

/*
 * Before a piece: others wait as long as all of it takes at max_rate. Afterwards would
 * be too late: as many as may be in flight would have been begun at once.
 */
static void charge(struct rewriter *rewriter, struct rewriter_piece *piece)
{
	const uint64_t rate = atomic_load(&rewriter->image->rewrite.max_rate);
	const uint64_t bytes = sectors_to_bytes(piece->end_sector - piece->at_sector);

	piece->charged_us = rate ? bytes * US_PER_S / rate : 0;
	if (rewriter->not_before_us + LATE_US < piece->begun_us)
		rewriter->not_before_us = piece->begun_us - LATE_US;
	rewriter->not_before_us += piece->charged_us;
}

/* After it: what it was charged for and has not moved is given back; clients get their time. */
static void rest(struct rewriter *rewriter, const struct rewriter_piece *piece, uint64_t nr_asked,
		 uint64_t nr_moved)
{
	const uint64_t now_us = rewriter->now_us();
	const uint64_t back_us = piece->charged_us - piece->charged_us * nr_moved / nr_asked;
	uint64_t until_us = rewriter->not_before_us;

	until_us -= min_u64(back_us, until_us);
	if (nr_moved > 0 && clients_are_there(rewriter, now_us) &&
	    until_us < now_us + REWRITE_REST * (now_us - piece->begun_us))
		until_us = now_us + REWRITE_REST * (now_us - piece->begun_us);
	rewriter->not_before_us = until_us;
}

/* ---- pieces ---- */

/* What could not be moved stays where it is: a later pass tries it again. */
static void note_failure(struct rewriter *rewriter, const struct request *request)
{
	struct rewrite *rewrite = &rewriter->image->rewrite;

	rewriter->failed_any = true;
	atomic_fetch_add(&rewrite->failed_sectors, request->nr_sectors);
	atomic_store(&rewrite->error, request->error);
	/* A full disk stays full for a while. */
	if (request->error == -ENOSPC)
		rewriter->not_before_us = rewriter->now_us() + REWRITE_AGAIN_MS * US_PER_MS;
}

static void piece_done(struct request *request)
{
	struct rewriter_piece *piece = CONTAINER_OF(request, struct rewriter_piece, request);
	struct rewriter *rewriter = piece->rewriter;
	const uint64_t nr_asked = piece->end_sector - piece->at_sector;

	piece->in_flight = false;
	rewriter->nr_in_flight--;
	if (request->error == -ENOENT) {
		piece->at_sector = piece->end_sector;
		rest(rewriter, piece, nr_asked, 0);
		return;
	}
	piece->at_sector = request->first_sector + request->nr_sectors;
	if (request->error) {
		note_failure(rewriter, request);
		return;
	}
	rewriter->moved_any = true;
	atomic_fetch_add(&rewriter->image->rewrite.moved_sectors, request->nr_sectors);
	rest(rewriter, piece, nr_asked, request->nr_sectors);
}

static void start_piece(struct rewriter *rewriter, struct rewriter_piece *piece)
{
	struct request *request = &piece->request;

	piece->in_flight = true;
	piece->begun_us = rewriter->now_us();
	rewriter->nr_in_flight++;
	charge(rewriter, piece);
	request->moved_entries = rewriter->entries;
	request->first_sector = piece->at_sector;
	request->nr_sectors = piece->end_sector - piece->at_sector;
	req_start(request);
}

/* Returns false at the end of the disk. *@budget: blocks that may still be skipped. */
static bool cut_piece(struct rewriter *rewriter, struct rewriter_piece *piece, unsigned int *budget)
{
	const struct map *map = &rewriter->image->disk.map;
	const uint64_t nr_sectors = map->config.disk_sectors;

	while (rewriter->next_sector<nr_sectors && * budget> 0) {
		const uint64_t at = rewriter->next_sector;
		const uint64_t index = map_block_of(at);
		const uint64_t block_end = min_u64(map_block_first(index + 1), nr_sectors);

		(*budget)--;
		if (map_may_want(map, index, rewriter->entries)) {
			piece->at_sector = at;
			piece->end_sector = min_u64(at + PIECE_SECTORS, block_end);
			rewriter->next_sector = piece->end_sector;
			return true;
		}
		rewriter->next_sector = block_end;
	}
	return false;
}

/* ---- a pass ---- */

static void begin_pass(struct rewriter *rewriter)
{
	struct rewrite *rewrite = &rewriter->image->rewrite;

	rewriter->next_sector = 0;
	rewriter->moved_any = false;
	rewriter->failed_any = false;
	rewriter->phase = REWRITER_PASS;
	atomic_store(&rewrite->failed_sectors, 0);
}

/* The disk has been looked at from its beginning to its end. */
static void end_pass(struct rewriter *rewriter)
{
	struct rewrite *rewrite = &rewriter->image->rewrite;

	rewriter->is_first_pass = false;
	if (rewriter->failed_any) {
		rewriter->not_before_us = rewriter->now_us() + REWRITE_AGAIN_MS * US_PER_MS;
		begin_pass(rewriter);
	} else if (rewriter->moved_any) {
		begin_pass(rewriter);
	} else {
		atomic_store(&rewrite->error, 0);
		rewriter->phase = REWRITER_SWEEP;
		rewriter->look_at_us = rewriter->now_us() + REWRITE_AGAIN_MS * US_PER_MS;
	}
}

static void flushed(struct request *request)
{
	CONTAINER_OF(request, struct rewriter_work, flush)->rewriter->flushing = false;
}

/* It is large, and most images never need theirs. */
static void set_up_work(struct rewriter *rewriter)
{
	struct rewriter_work *work = rewriter->work;

	for (unsigned int i = 0; i < REWRITES_MAX; i++) {
		struct rewriter_piece *piece = &work->pieces[i];

		piece->rewriter = rewriter;
		piece->request = (struct request){
			.lane = rewriter->lane,
			.op = REQ_WRITE,
			.rewrite = true,
			.data = work->data[i],
			.done = piece_done,
		};
	}
	work->flush = (struct request){
		.lane = rewriter->lane,
		.op = REQ_FLUSH,
		.done = flushed,
	};
	work->rewriter = rewriter;
}

static void drop_pieces(struct rewriter *rewriter)
{
	for (unsigned int i = 0; i < REWRITES_MAX; i++)
		rewriter->work->pieces[i].at_sector = rewriter->work->pieces[i].end_sector;
}

/* What is wanted has changed. */
static void begin(struct rewriter *rewriter)
{
	struct rewrite *rewrite = &rewriter->image->rewrite;

	rewriter->nr_starts = atomic_load(&rewrite->nr_starts);
	rewriter->jobs = atomic_load(&rewrite->jobs);
	rewriter->entries = atomic_load(&rewrite->entries);
	map_drain(&rewriter->image->disk.map, rewriter->jobs ? rewriter->entries : 0);
	if (rewriter->jobs) {
		if (!rewriter->work->rewriter)
			set_up_work(rewriter);
		drop_pieces(rewriter);
	}
	rewriter->is_first_pass = true;
	rewriter->not_before_us = 0;
	atomic_store(&rewrite->at_sector, 0);
	atomic_store(&rewrite->moved_sectors, 0);
	atomic_store(&rewrite->sectors_s, 0);
	atomic_store(&rewrite->error, 0);
	begin_pass(rewriter);
	if (!rewriter->jobs)
		rewriter->phase = REWRITER_IDLE;
	else if (!rewriter->entries)
		end_pass(rewriter);
}

static bool anything_left(const struct rewriter *rewriter)
{
	for (unsigned int i = 0; i < REWRITES_MAX; i++)
		if (rewriter->work->pieces[i].in_flight ||
		    rewriter->work->pieces[i].at_sector < rewriter->work->pieces[i].end_sector)
			return true;
	return rewriter->next_sector < rewriter->image->disk.map.config.disk_sectors;
}

static int turn_pass(struct rewriter *rewriter)
{
	const uint64_t now_us = rewriter->now_us();
	const unsigned int limit = clients_are_there(rewriter, now_us) ? 1 : REWRITES_MAX;
	unsigned int budget = REWRITE_SKIP_MAX;

	for (unsigned int i = 0; i < REWRITES_MAX && rewriter->nr_in_flight < limit; i++) {
		struct rewriter_piece *piece = &rewriter->work->pieces[i];

		while (!piece->in_flight && rewriter->not_before_us <= now_us &&
		       (piece->at_sector < piece->end_sector ||
			cut_piece(rewriter, piece, &budget)))
			start_piece(rewriter, piece);
	}
	if (rewriter->is_first_pass)
		atomic_store(&rewriter->image->rewrite.at_sector, rewriter->next_sector);
	if (!anything_left(rewriter)) {
		end_pass(rewriter);
		return 0;
	}
	if (budget == 0)
		return 0;
	if (rewriter->not_before_us > now_us)
		return (int)((rewriter->not_before_us - now_us) / US_PER_MS) + 1;
	return -1;
}

/* ---- after the last sector ---- */

/*
 * Where punching fails, the next open tries it again, in planes that there are, and
 * in a base that the image has: a base of its own must be empty before it goes.
 */
static bool may_leave_places(const struct rewriter *rewriter)
{
	const struct image *image = rewriter->image;

	return !(rewriter->jobs & SEAL_REWRITE_ENCRYPT) || !image->super.has_base ||
	       !image->base_identity.owned;
}

/* Rounds until the entries are durable, their old places gone, and both slots say so. */
static int turn_sweep(struct rewriter *rewriter)
{
	struct map *map = &rewriter->image->disk.map;
	const uint64_t now_us = rewriter->now_us();
	bool drained, unpunched;

	if (rewriter->flushing)
		return -1;
	drained = map_is_drained(map, &unpunched);
	if (drained && unpunched && !may_leave_places(rewriter)) {
		atomic_store(&rewriter->image->rewrite.error, -EOPNOTSUPP);
		return REWRITE_AGAIN_MS;
	}
	if (drained && (!map_is_stale(map) || now_us >= rewriter->look_at_us)) {
		rewriter->phase = REWRITER_LOOK;
		rewriter->look_block = 0;
		return 0;
	}
	/* A sweep may wait for a slow request: no use in a round after the other. */
	if (now_us < rewriter->not_before_us)
		return SWEEP_TURN_MS;
	rewriter->not_before_us = now_us + SWEEP_TURN_MS * US_PER_MS;
	map_refresh_all(map);
	rewriter->flushing = true;
	req_start(&rewriter->work->flush);
	return SWEEP_TURN_MS;
}

int rewriter_look(struct rewriter *rewriter, struct ring *ring)
{
	const int r = image_names_entries(rewriter->image, ring, rewriter->entries,
					  &rewriter->look_block);

	if (r == 0 && rewriter->look_block < rewriter->image->disk.map.nr_blocks)
		return 0;
	rewriter->phase = r == 0 ? REWRITER_READY : REWRITER_SWEEP;
	rewriter->look_at_us = rewriter->now_us() + REWRITE_AGAIN_MS * US_PER_MS;
	return r < 0 ? r : 0;
}

/* ---- turns ---- */

int rewriter_turn(struct rewriter *rewriter)
{
	const struct image *image = rewriter->image;
	const bool changed = rewriter->nr_starts != atomic_load(&image->rewrite.nr_starts);

	/* First: of a thousand images hardly one has anything to do, and they are asked often. */
	if (rewriter->phase == REWRITER_IDLE && !changed)
		return -1;
	if (rewriter->stopped || atomic_load(&image->disk.map.failed))
		return -1;
	if (changed) {
		/* What is in flight goes by the old rules. */
		if (rewriter_is_busy(rewriter))
			return -1;
		begin(rewriter);
	}
	if (rewriter->phase == REWRITER_PASS)
		return turn_pass(rewriter);
	return rewriter->phase == REWRITER_SWEEP ? turn_sweep(rewriter) : -1;
}

void rewriter_stop(struct rewriter *rewriter)
{
	rewriter->stopped = true;
}

bool rewriter_is_busy(const struct rewriter *rewriter)
{
	return rewriter->nr_in_flight > 0 || rewriter->flushing;
}

void rewriter_init(struct rewriter *rewriter, struct image *image, struct lane *lane,
		   uint64_t (*now_us)(void), struct rewriter_work *work)
{
	rewriter->image = image;
	rewriter->lane = lane;
	rewriter->now_us = now_us;
	rewriter->work = work;
}
