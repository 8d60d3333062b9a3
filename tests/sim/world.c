/* SPDX-License-Identifier: MIT */
/* A simulated host with an image: see world.h. */
#include "sim/world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypt/wrap.h"
#include "image/create.h"
#include "image/revoke.h"
#include "keys/key_mem.h"
#include "sim/digest.h"
#include "sim/host.h"
#include "sim/sparse.h"
#include "sim/state.h"

/* ---- making an image ------------------------------------------------------ */

const struct key_secret *world_secret(void)
{
	static struct key_secret *secret;

	if (!secret) {
		secret = key_mem_new(sizeof(*secret));
		sim_require(secret != NULL, "no key memory");
		secret->kind = KEY_SOURCE_FILE;
		secret->nr_bytes = KEY_FILE_BYTES_MIN;
		memset(secret->bytes, 'k', KEY_FILE_BYTES_MIN);
	}
	return secret;
}

static uint64_t disk_bytes(const struct geometry *geometry)
{
	return sectors_to_bytes(geometry->disk_sectors);
}

static void fill_base(struct world *world)
{
	for (uint64_t i = 0; i < window_sectors(world); i++) {
		const uint64_t sector = window_first(world) + i;
		uint8_t bytes[SECTOR_BYTES];

		content_fill(sector, CONTENT_BASE, bytes);
		sim_poke(world->sim, world->base_fd, sectors_to_bytes(sector), bytes,
			 sizeof(bytes));
	}
}

/* An owned one is a VHD, which image_attach_base() would have adopted. */
static void describe_base(const struct world *world, struct base_identity *base)
{
	const struct vhd_fixed fixed = { .disk_bytes = disk_bytes(world->geometry),
					 .creator_app = VHD_CREATOR_WINDOWS };
	struct vhd_footer footer;
	uint8_t uuid[VHD_UUID_BYTES];

	strcpy(base->path, "base");
	strcpy(base->path_absolute, "/base");
	strcpy(base->path_relative, "base");
	base->format = BASE_RAW;
	base->file_bytes = fixed.disk_bytes;
	base->disk_bytes = fixed.disk_bytes;
	base->digest_kind = BASE_DIGEST_FULL;
	if (!world->geometry->owns_base)
		return;
	base->format = BASE_VHD;
	base->file_bytes += VHD_FOOTER_BYTES;
	base->owned = true;
	vhd_footer_build(&fixed, &footer);
	memcpy(base->footer, &footer, sizeof(footer));
	sim_require(random_public(uuid, sizeof(uuid)) == 0, "no UUID");
	vhd_footer_own(base->footer, uuid, base->owned_footer);
}

static void format(struct world *world)
{
	struct base_identity *base = sparse_alloc(sizeof(*base));
	const struct image_recipe recipe = {
		.disk_bytes = disk_bytes(world->geometry),
		.encryption = true,
		.now_s = 1,
		.secret = world_secret(),
		.base = base,
	};

	describe_base(world, base);
	sim_require(image_format(&world->tap.ring, world->fd, &recipe) == 0, "cannot format");
	free(base);
}

static int load(struct world *world)
{
	const struct key_secret *secret = world_secret();
	struct store store;
	bool changed;
	int r;

	sim_store(world->sim, world->fd, &store);
	r = image_load(&store, "simulated.seal", &world->tap.ring, true, &world->image,
		       &world->problem);
	if (r == 0)
		r = image_unlock_revoked(world->image, &secret, 1, &world->problem);
	/* A crash in the middle of world_revoke(): the operator restores the keys. */
	if (r == 0)
		r = image_mark_revoked(world->image, false, &world->memory.store, &changed,
				       &world->problem);
	return r;
}

struct world *world_new(const struct geometry *geometry)
{
	struct world *world = sparse_alloc(sizeof(*world));

	world->geometry = geometry;
	world->sim = sim_new(0);
	world->fd = sim_file(world->sim, image_bytes_of(disk_bytes(geometry), 1));
	world->base_fd = sim_file(world->sim, disk_bytes(geometry));
	memory_store_init(&world->memory);
	world->boot_id[0] = 1;
	host_swap_random(1);
	fill_base(world);
	tap_init(&world->tap, sim_ring(world->sim));
	format(world);
	return world;
}

/* ---- the life of a world -------------------------------------------------- */

static struct world *successor(const struct world *from, struct sim *sim)
{
	struct world *world = sparse_alloc(sizeof(*world));

	world->geometry = from->geometry;
	world->sim = sim;
	world->fd = from->fd;
	world->base_fd = from->base_fd;
	world->nr_opens = from->nr_opens;
	memcpy(world->boot_id, from->boot_id, sizeof(world->boot_id));
	tap_init(&world->tap, sim_ring(sim));
	return world;
}

struct world *world_clone(const struct world *closed, uint64_t seed)
{
	struct world *world = successor(closed, sim_clone(closed->sim, seed));

	memory_store_copy(&world->memory, &closed->memory);
	return world;
}

struct world *world_after(const struct world *from, struct sim *sim, enum sim_cut_kind kind)
{
	struct world *world = successor(from, sim);

	if (kind == SIM_KILL) {
		memory_store_copy(&world->memory, &from->memory);
	} else {
		memory_store_init(&world->memory);
		world->boot_id[0]++;
	}
	return world;
}

void world_abandon(struct world *world)
{
	world->image = image_free(world->image);
	free(world->rewriter);
	free(world->rewriter_work);
	world->rewriter = NULL;
	world->rewriter_work = NULL;
}

void world_free(struct world *world)
{
	if (!world)
		return;
	world_abandon(world);
	memory_store_done(&world->memory);
	sim_free(world->sim);
	free(world);
}

static int extent_of_base(void *base, uint64_t first_sector, uint64_t limit_sectors, bool *ret_hole,
			  uint64_t *ret_sectors)
{
	uint64_t bytes;
	const int r = store_extent(base, sectors_to_bytes(first_sector),
				   sectors_to_bytes(limit_sectors), ret_hole, &bytes);

	if (r == 0)
		*ret_sectors = bytes_to_sectors(bytes);
	return r;
}

/* image_attach_base() wants a real file to identify. */
static void attach_base(struct world *world)
{
	struct disk *disk = &world->image->disk;

	sim_store(world->sim, world->base_fd, &world->base_store);
	if (!world->image->super.has_base)
		return;
	disk->base_fd = world->base_fd;
	disk->base_data_bytes = disk_bytes(world->geometry);
	disk->map.config.base = &world->base_store;
	disk->map.config.base_extent = extent_of_base;
	if (!world->geometry->owns_base)
		return;
	world->image->owned_base = &world->base_store;
	disk->map.config.owns_base = true;
	disk->map.config.base_fd = world->base_fd;
	disk->map.config.base_sectors = world->geometry->disk_sectors;
}

int world_open(struct world *world, bool accept_loss)
{
	struct image_session session = {
		.dirty_store = &world->memory.store,
		.accept_loss = accept_loss,
		.xts = &xts_openssl_ops,
	};
	int r;

	host_swap_random(mix64(++world->nr_opens));
	memcpy(session.boot_id, world->boot_id, sizeof(session.boot_id));
	r = load(world);
	if (r < 0)
		return r;
	attach_base(world);
	return image_start(world->image, &session, &world->problem);
}

/* ---- running -------------------------------------------------------------- */

bool world_turn(struct world *world)
{
	struct inbox_item *item = inbox_take_all(&world->image->inbox);
	const bool any = item != NULL;

	while (item) {
		struct inbox_item *next = item->next;

		item->deliver(item);
		item = next;
	}
	return any;
}

int world_wait(struct world *world)
{
	return ring_wait(&world->tap.ring, -1);
}

void world_tick(struct world *world)
{
	struct map *map = &world->image->disk.map;

	map_tick(map, &world->image->lane, atomic_load(&map->now_ms) + 2 * ROUND_MS);
}

static void drained_for_switch(struct waiter *waiter)
{
	CONTAINER_OF(waiter, struct world, switch_waiter)->switch_ready = true;
}

void world_switch_begin(struct world *world)
{
	world->switch_ready = false;
	world->switch_waiter = (struct waiter){ .wake = drained_for_switch };
	map_switch_begin(&world->image->disk.map, &world->image->lane, &world->switch_waiter);
}

int world_switch_end(struct world *world, enum image_target target)
{
	struct image *image = world->image;
	const int r = image_switch(image, target, 1, &world->problem);

	map_switch_end(&image->disk.map, image->super.current_plane);
	return r;
}

/* ---- rewriting ------------------------------------------------------------ */

enum { REWRITE_WAITS_MAX = 64 }; /* for what does not get better */

/* Nothing here depends on how long things take. */
static uint64_t clock_us;

static uint64_t now_us(void)
{
	return ++clock_us;
}

int world_rewrite_begin(struct world *world, enum seal_rewrite which)
{
	if (!world->rewriter) {
		world->rewriter = sparse_alloc(sizeof(*world->rewriter));
		world->rewriter_work = sparse_alloc(sizeof(*world->rewriter_work));
		rewriter_init(world->rewriter, world->image, &world->image->lane, now_us,
			      world->rewriter_work);
	}
	world->nr_rewrite_waits = 0;
	return image_rewrite_start(world->image, which, &world->problem);
}

static int finish_rewrite(struct world *world)
{
	const struct rewriter *rewriter = world->rewriter;
	uint32_t gone = 0;
	int r = image_rewrite_finish(world->image, rewriter->jobs, rewriter->entries, &gone,
				     &world->problem);

	if (r == 0)
		image_lane_forget(&world->image->lane, gone);
	return r;
}

bool world_rewrite_turn(struct world *world, bool *ret_over, int *ret_error)
{
	struct rewriter *rewriter = world->rewriter;
	const struct image *image = world->image;
	int wait_ms = rewriter_turn(rewriter);
	int r = 0;

	while (r == 0 && rewriter->phase == REWRITER_LOOK)
		r = rewriter_look(rewriter, &world->tap.ring);
	if (r == 0 && rewriter->phase == REWRITER_READY)
		r = finish_rewrite(world);
	/* It would try again for ever. */
	if (r == 0)
		r = atomic_load(&image->rewrite.error);
	if (r == 0 && world->nr_rewrite_waits > REWRITE_WAITS_MAX)
		r = -ETIMEDOUT;
	if (atomic_load(&image->disk.map.failed))
		r = -EIO;
	*ret_error = r;
	*ret_over =
		(r < 0 || rewriter->phase == REWRITER_IDLE || !atomic_load(&image->rewrite.jobs)) &&
		!rewriter_is_busy(rewriter);
	if (wait_ms == 0)
		return true;
	/* Time passes when nothing else can happen. */
	if (wait_ms < 0 || world->tap.ring.nr_in_flight > 0)
		return false;
	clock_us += (uint64_t)wait_ms * 1000;
	world->nr_rewrite_waits++;
	world_tick(world);
	return true;
}

void world_revoke_begin(struct world *world)
{
	atomic_store(&world->image->disk.revoked, true);
}

int world_revoke_try(struct world *world)
{
	struct image *image = world->image;
	struct map *map = &image->disk.map;
	int rest = -EAGAIN;

	if (atomic_load(&image->lane.nr_requests) == 0)
		rest = map_rest(map);
	if (rest == -EAGAIN)
		map_hurry(map, &image->lane);
	return rest;
}

int world_revoke_end(struct world *world, int rest)
{
	struct image *image = world->image;
	struct revoked_supers supers;
	bool clean;
	int r = image_revoke_prepare(image, &supers);

	image_forget_keys(image);
	if (r == 0)
		r = image_revoke_finish(image, &supers, rest, &clean, &world->problem);
	return r;
}

int world_restore(struct world *world)
{
	struct image *image = world->image;
	int r = image_restore_keys(image, world_secret(), &world->problem);

	if (r == 0)
		r = image_restore_finish(image, &world->problem);
	if (r == 0)
		atomic_store(&image->disk.revoked, false);
	return r;
}

void world_start_read(struct world *world, struct request *request, uint64_t first_sector,
		      uint32_t nr_sectors, uint8_t *data, void (*done)(struct request *request))
{
	request->lane = &world->image->lane;
	request->op = REQ_READ;
	request->first_sector = first_sector;
	request->nr_sectors = nr_sectors;
	request->data = data;
	request->done = done;
	req_start(request);
}

static void read_done(struct request *request)
{
	request->data = NULL;
}

int world_read(struct world *world)
{
	int r = 0;

	world_start_read(world, &world->reader, window_first(world), window_sectors(world),
			 world->window, read_done);
	while (r == 0 && world->reader.data)
		if (!world_turn(world))
			r = world_wait(world);
	return r == 0 ? world->reader.error : r;
}

uint64_t world_digest(const struct world *from, uint64_t files, uint64_t memory)
{
	return digest_number(digest_number(files, memory), from->boot_id[0]);
}
