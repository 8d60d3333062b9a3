/* SPDX-License-Identifier: MIT */
/*
 * A simulated host with one image on it: the machine's files, the dirty files in
 * its memory, the id of its boot, and the daemon's real code over them. The
 * image has a plaintext base and, new, one plane, a sealed one.
 *
 * A world is closed or open. What a crash leaves is a new, closed one.
 */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "image/image.h"
#include "image/rewriter.h"
#include "request/request.h"
#include "sim/memory_store.h"
#include "sim/oracle.h"
#include "sim/sim.h"
#include "sim/tap.h"

enum {
	/* The sectors under test with some around them; all of these are data in the base. */
	WINDOW_BEFORE = 2,
	WINDOW_AFTER = 2,
	WINDOW_SECTORS_MAX = WINDOW_BEFORE + ORACLE_SECTORS_MAX + WINDOW_AFTER,
};

/* Sectors [@first_sector, @first_sector + @nr_sectors) are those under test. */
struct geometry {
	uint64_t disk_sectors;
	uint64_t first_sector;
	uint32_t nr_sectors;
	bool owns_base;
};

struct world {
	const struct geometry *geometry;
	struct sim *sim;
	int fd;
	int base_fd;
	struct memory_store memory;
	uint8_t boot_id[SEAL_UUID_BYTES];
	uint64_t nr_opens; /* each draws other random numbers; crashes do not set it back */

	/* Open: */
	struct tap tap;
	struct image *image; /* NULL: closed */
	struct store base_store;
	struct problem problem; /* of the last open or stop that failed */

	struct waiter switch_waiter;
	bool switch_ready;	   /* the writes under way have ended */
	struct rewriter *rewriter; /* NULL: not needed yet */
	struct rewriter_work *rewriter_work;
	unsigned int nr_rewrite_waits; /* in which nothing but time has passed */
	struct request reader;
	uint8_t window[WINDOW_SECTORS_MAX * SECTOR_BYTES];
};

/* What opens the images of all worlds. */
const struct key_secret *world_secret(void);

/* A new image, nothing written, encryption on. */
struct world *world_new(const struct geometry *geometry);

/* The same closed world again, whose order of completions is of @seed (sim_new). */
struct world *world_clone(const struct world *closed, uint64_t seed);

/* What @from is after a crash of @kind that left @sim, which is the new world's. */
struct world *world_after(const struct world *from, struct sim *sim, enum sim_cut_kind kind);

/* Accepts NULL. An open image is abandoned as it is. */
void world_free(struct world *world);

/* image_load, image_unlock, image_start; returns what failed first. */
int world_open(struct world *world, bool accept_loss);

/* Abandon the open image; what is in flight never ends. */
void world_abandon(struct world *world);

/* Run what is due without waiting. Returns whether there was anything. */
bool world_turn(struct world *world);

/* Wait for one completion. Returns ring_wait()'s result, -EDEADLK: none can come. */
int world_wait(struct world *world);

/* The worker's tick, more than a second after the last one. */
void world_tick(struct world *world);

/* Begin to switch encryption; then, when @switch_ready, make it durable and end it. */
void world_switch_begin(struct world *world);
int world_switch_end(struct world *world, enum image_target target);

/*
 * Start a rewrite, or go on with one; a rekey after a switch to a new plane, if it
 * is not under way. Then, until *ret_over, whenever nothing is due any more: begin
 * what there is to begin. Returns whether there was anything. *ret_error: the
 * export has failed, or the disk is full.
 */
int world_rewrite_begin(struct world *world, enum seal_rewrite which);
bool world_rewrite_turn(struct world *world, bool *ret_over, int *ret_error);

/*
 * Revoke the keys as daemon/revoke.c does. Begin: requests are refused. Try: until
 * it says anything but -EAGAIN, which is then for the end. Restore: I/O goes on.
 */
void world_revoke_begin(struct world *world);
int world_revoke_try(struct world *world);
int world_revoke_end(struct world *world, int rest);
int world_restore(struct world *world);

/* READ the window into @world->window. Returns the request's error, or world_wait()'s. */
int world_read(struct world *world);
void world_start_read(struct world *world, struct request *request, uint64_t first_sector,
		      uint32_t nr_sectors, uint8_t *data, void (*done)(struct request *request));

/*
 * What world_after() would be, as a number: everything that an open looks at.
 * @files: what is in them, sim_cut_digest(); @memory: memory_store_digest() of
 * the dirty files that are left, or 0.
 */
uint64_t world_digest(const struct world *from, uint64_t files, uint64_t memory);

/* Where sector @sector of plane @plane, which the open image has, lies in the image. */
static inline uint64_t world_place(const struct world *world, unsigned int plane, uint64_t sector)
{
	return world->image->disk.map.config.planes[plane].file_offset_bytes +
	       sectors_to_bytes(sector);
}

static inline uint64_t window_first(const struct world *world)
{
	return world->geometry->first_sector - WINDOW_BEFORE;
}

static inline uint32_t window_sectors(const struct world *world)
{
	return WINDOW_BEFORE + world->geometry->nr_sectors + WINDOW_AFTER;
}

#endif
