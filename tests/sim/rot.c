/* SPDX-License-Identifier: MIT */
/* Bit rot: see rot.h. */
#include "sim/rot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/superblock.h"
#include "keys/key_mem.h"
#include "map/entries.h"
#include "sim/sparse.h"
#include "sim/state.h"

const char *const rot_state_names[ROT_STATES] = { "clean", "killed", "cut" };

/* Three sectors of the window are in block 0, three in block 1, which the disk's end cuts. */
static const struct geometry geometry = {
	.disk_sectors = SEAL_BLOCK_SECTORS + 16,
	.first_sector = SEAL_BLOCK_SECTORS - 1,
	.nr_sectors = ROT_SECTORS,
};

/* ---- a client ------------------------------------------------------------- */

static void answered(struct request *request)
{
	request->data = NULL;
}

/* @request: but for lane, data and done. */
static int run(struct world *world, struct request *request, uint8_t *data)
{
	int r = 0;

	request->lane = &world->image->lane;
	request->data = data;
	request->done = answered;
	req_start(request);
	while (r == 0 && request->data)
		if (!world_turn(world))
			r = world_wait(world);
	return r == 0 ? request->error : r;
}

int rot_read(struct world *world, uint64_t sector, uint8_t ret_bytes[SECTOR_BYTES])
{
	struct request request = { .op = REQ_READ, .first_sector = sector, .nr_sectors = 1 };

	return run(world, &request, ret_bytes);
}

/* Sector @i of the window; @content 0: TRIM. */
static void change(struct world *world, uint64_t i, uint8_t content)
{
	struct request request = {
		.op = content ? REQ_WRITE : REQ_TRIM,
		.first_sector = window_first(world) + i,
		.nr_sectors = 1,
	};
	uint8_t bytes[SECTOR_BYTES];

	content_fill(request.first_sector, content, bytes);
	sim_require(run(world, &request, bytes) == 0, "a change has failed");
}

static void flush(struct world *world)
{
	struct request request = { .op = REQ_FLUSH };
	uint8_t none;

	sim_require(run(world, &request, &none) == 0, "a flush has failed");
	/* What a later round would do, done now: superseded places are punched. */
	sim_require(image_settle(world->image) == 0, "does not settle");
}

/* What the ticks to come do: stale slots get what is in the newer ones. */
static void refresh(struct world *world)
{
	const struct map *map = &world->image->disk.map;

	for (unsigned int i = 0; map->nr_stale > 0; i++) {
		sim_require(i < 4, "slots stay stale");
		world_tick(world);
		while (map_is_busy(&world->image->disk.map))
			sim_require(world_turn(world) || world_wait(world) == 0,
				    "a round has failed");
	}
}

static void switch_encryption(struct world *world, bool enabled)
{
	world_switch_begin(world);
	while (!world->switch_ready)
		if (!world_turn(world))
			sim_require(world_wait(world) == 0, "a switch has failed");
	sim_require(world_switch_end(world, enabled ? IMAGE_TARGET_SEALED : IMAGE_TARGET_PLAIN) ==
			    0,
		    "a switch has failed");
}

static void open_world(struct world *world)
{
	sim_require(world_open(world, false) == 0, world->problem.text);
}

static void close_world(struct world *world)
{
	sim_require(image_stop(world->image, &world->problem) == 0, world->problem.text);
	world_abandon(world);
}

/* ---- making the images ---------------------------------------------------- */

/* Each map block has sectors of the base, sealed and plain ones, and one of zeros. */
static struct world *make_earlier(void)
{
	struct world *world = world_new(&geometry);

	open_world(world);
	change(world, 1, CONTENT_FIRST);
	change(world, 3, CONTENT_FIRST + 1);
	flush(world);
	switch_encryption(world, false);
	change(world, 2, CONTENT_FIRST + 2);
	change(world, 4, CONTENT_FIRST + 3);
	change(world, 5, 0);
	close_world(world);
	return world;
}

static struct world *make_clean(const struct world *earlier)
{
	struct world *world = world_clone(earlier, 0);

	open_world(world);
	switch_encryption(world, true);
	change(world, 1, CONTENT_FIRST + 4);
	change(world, 3, 0);
	change(world, 3, CONTENT_FIRST + 5);
	change(world, 0, CONTENT_FIRST + 6);
	flush(world);
	close_world(world);
	return world;
}

/* As above, but in one session; both map blocks are committed. */
static void change_all(struct world *world)
{
	change(world, 1, CONTENT_FIRST + 4);
	change(world, 3, CONTENT_FIRST + 5);
	change(world, 4, CONTENT_FIRST + 6);
	flush(world);
	switch_encryption(world, false);
	change(world, 2, CONTENT_FIRST + 2);
	change(world, 4, CONTENT_FIRST + 3);
	change(world, 5, 0);
	flush(world);
	switch_encryption(world, true);
}

/* What a crash leaves of @world, which is closed, and used up. All slots say what is durable; those of a pair differ in their generations. */
static struct world *crash(struct world *world, enum sim_cut_kind kind)
{
	const struct sim_cut_plan plan = { .kind = kind, .states_max = 1 };
	struct world *after;
	struct sim_cut *cut;

	open_world(world);
	change_all(world);
	change(world, 2, CONTENT_FIRST + 7);
	flush(world);
	refresh(world);
	change(world, 4, CONTENT_FIRST + 8);
	cut = sim_cut_new(world->sim, &plan);
	after = world_after(world, sim_cut_take(cut, 0), kind);
	sim_cut_free(cut);
	world_free(world);
	return after;
}

static struct rot_area slot_area(const char *name, uint64_t offset_bytes)
{
	return (struct rot_area){ name, offset_bytes, SEAL_BLOCK_BYTES,
				  offsetof(struct seal_block, crc) };
}

/* What a daemon that was killed has written to the planes need not be on the medium. */
static void peek(const struct rot_area *area, const struct world *world, uint8_t *ret_bytes)
{
	sim_peek(world->sim, world->fd, area->crc_offset ? SIM_MEDIUM : SIM_CACHE,
		 area->offset_bytes, ret_bytes, area->nr_bytes);
}

static struct seal_superblock layout(void)
{
	struct seal_superblock super;

	superblock_layout(&super, sectors_to_bytes(geometry.disk_sectors));
	return super;
}

/* Where plane @plane has the window: the planes lie in the order of their numbers. */
static uint64_t window_offset(const struct rot_image *image, unsigned int plane)
{
	const struct seal_superblock super = layout();

	return superblock_plane_offset(&super, plane - ROT_SEALED) +
	       sectors_to_bytes(window_first(image->world));
}

static void find_areas(struct rot_image *image)
{
	const uint32_t super_crc = offsetof(struct seal_superblock, crc);
	const uint32_t keyring_crc = offsetof(struct seal_keyring, crc);
	const uint32_t names_crc = offsetof(struct seal_names, crc);
	const struct rot_area areas[ROT_AREAS] = {
		{ "superblock A", SEAL_SUPERBLOCK_A, SEAL_SUPERBLOCK_BYTES, super_crc },
		{ "superblock B", SEAL_SUPERBLOCK_B, SEAL_SUPERBLOCK_BYTES, super_crc },
		{ "keyring A", SEAL_KEYRING_A, SEAL_KEYRING_BYTES, keyring_crc },
		{ "keyring B", SEAL_KEYRING_B, SEAL_KEYRING_BYTES, keyring_crc },
		{ "names A", SEAL_NAMES_A, SEAL_NAMES_BYTES, names_crc },
		{ "names B", SEAL_NAMES_B, SEAL_NAMES_BYTES, names_crc },
		slot_area("bitmap, slot 0", SEAL_BITMAP_START),
		slot_area("bitmap, slot 1", SEAL_BITMAP_START + SEAL_BLOCK_BYTES),
		slot_area("map block 0, slot 0", rot_slot_offset(image, 0, 0)),
		slot_area("map block 0, slot 1", rot_slot_offset(image, 0, 1)),
		slot_area("map block 1, slot 0", rot_slot_offset(image, 1, 0)),
		slot_area("map block 1, slot 1", rot_slot_offset(image, 1, 1)),
		{ "sealed plane", window_offset(image, ROT_SEALED), ROT_WINDOW * SECTOR_BYTES, 0 },
		{ "plain plane", window_offset(image, ROT_PLAIN), ROT_WINDOW * SECTOR_BYTES, 0 },
	};
	uint64_t end = 0;

	memcpy(image->areas, areas, sizeof(areas));
	for (int i = 0; i < ROT_AREAS; i++) {
		const struct rot_area *area = &image->areas[i];

		sim_require(sim_is_zero(image->world->sim, image->world->fd, SIM_MEDIUM, end,
					area->offset_bytes - end),
			    "something is stored where nothing should be");
		end = area->offset_bytes + area->nr_bytes;
		image->bytes[i] = sparse_alloc(area->nr_bytes);
		peek(area, image->world, image->bytes[i]);
	}
}

uint64_t rot_slot_offset(const struct rot_image *image, unsigned int index, unsigned int slot)
{
	const struct seal_superblock super = layout();

	(void)image;
	return le64_get(super.map_offset) + index * SEAL_PAIR_BYTES + slot * SEAL_BLOCK_BYTES;
}

int rot_block_at(const struct rot_image *image, uint64_t offset_bytes)
{
	const uint64_t first = rot_slot_offset(image, 0, 0);

	if (offset_bytes < first || offset_bytes >= first + ROT_BLOCKS * SEAL_PAIR_BYTES)
		return -1;
	return (int)((offset_bytes - first) / SEAL_PAIR_BYTES);
}

static void read_window(struct world *world, uint8_t ret_window[ROT_WINDOW * SECTOR_BYTES])
{
	for (uint64_t i = 0; i < ROT_WINDOW; i++)
		sim_require(rot_read(world, window_first(world) + i,
				     ret_window + i * SECTOR_BYTES) == 0,
			    "a read has failed");
}

/* What the undamaged image is. */
static void learn(struct rot_image *image)
{
	struct world *world = world_clone(image->world, 0);
	struct rot_told told = { 0 };

	sim_require(rot_check(world, &told) == 0, "a check has failed");
	sim_require(told.nr_problems == 0, "an undamaged image has problems");
	image->findings = told.digest;
	open_world(world);
	image->super = world->image->super;
	image->keys = key_mem_new(sizeof(*image->keys));
	sim_require(image->keys != NULL, "no key memory");
	*image->keys = *world->image->keys;
	read_window(world, image->window);
	world_free(world);
}

static bool is_unlike_pair(const struct rot_image *image, uint64_t offset_bytes)
{
	struct seal_block pair[2];

	sim_peek(image->world->sim, image->world->fd, SIM_MEDIUM, offset_bytes, pair, sizeof(pair));
	sim_require(memcmp(pair[0].body, pair[1].body, sizeof(pair[0].body)) == 0,
		    "a slot is stale");
	return memcmp(&pair[0], &pair[1], sizeof(pair[0])) != 0;
}

static void learn_pairs(struct rot_image *image)
{
	const bool crashed = image->state != ROT_CLEAN;

	image->bitmap_differs = is_unlike_pair(image, SEAL_BITMAP_START);
	sim_require(image->bitmap_differs == (image->state == ROT_KILLED),
		    "the bitmap's slots are not as they should be");
	for (unsigned int i = 0; i < ROT_BLOCKS; i++) {
		image->slots_differ[i] = is_unlike_pair(image, rot_slot_offset(image, i, 0));
		sim_require(image->slots_differ[i] == crashed,
			    "the slots are not as they should be");
	}
}

bool rot_is_in_unlike_pair(const struct rot_image *image, uint64_t offset_bytes)
{
	const int block = rot_block_at(image, offset_bytes);

	if (block >= 0)
		return image->slots_differ[block];
	return image->bitmap_differs && offset_bytes >= SEAL_BITMAP_START &&
	       offset_bytes < SEAL_BITMAP_START + SEAL_PAIR_BYTES;
}

void rot_image_init(struct rot_image *image, enum rot_state state)
{
	image->state = state;
	image->earlier = make_earlier();
	image->world = state == ROT_KILLED ? world_new(&geometry) : make_clean(image->earlier);
	if (state != ROT_CLEAN)
		image->world = crash(image->world, state == ROT_KILLED ? SIM_KILL : SIM_POWER_CUT);
	find_areas(image);
	learn(image);
	learn_pairs(image);
}

void rot_image_done(struct rot_image *image)
{
	key_mem_free(image->keys);
	for (int i = 0; i < ROT_AREAS; i++)
		free(image->bytes[i]);
	world_free(image->world);
	world_free(image->earlier);
}

struct world *rot_damaged(const struct rot_image *image, const struct rot_damage *damages,
			  unsigned int nr)
{
	struct world *world = world_clone(image->world, 0);

	for (unsigned int i = 0; i < nr; i++)
		sim_poke(world->sim, world->fd, damages[i].offset_bytes, damages[i].bytes,
			 damages[i].nr_bytes);
	return world;
}

/* ---- opening it ----------------------------------------------------------- */

/* Sectors of which block answer EIO: bit i, all of them in block i. -1: anything else. */
static int broken_blocks(struct world *world, uint8_t ret_window[ROT_WINDOW * SECTOR_BYTES])
{
	unsigned int failed[ROT_BLOCKS] = { 0 }, nr[ROT_BLOCKS] = { 0 };
	int broken = 0;

	for (uint64_t i = 0; i < ROT_WINDOW; i++) {
		const uint64_t sector = window_first(world) + i;
		const uint64_t block = map_block_of(sector);
		const int r = rot_read(world, sector, ret_window + i * SECTOR_BYTES);

		if (r < 0 && r != -EIO)
			return -1;
		failed[block] += r < 0;
		nr[block]++;
	}
	for (unsigned int i = 0; i < ROT_BLOCKS; i++) {
		if (failed[i] != 0 && failed[i] != nr[i])
			return -1;
		broken |= (failed[i] != 0) << i;
	}
	return broken;
}

static bool is_window(const struct world *world, const uint8_t *found, const uint8_t *wanted,
		      int broken)
{
	for (uint64_t i = 0; i < ROT_WINDOW; i++) {
		const uint64_t block = map_block_of(window_first(world) + i);

		if (!(broken >> block & 1) &&
		    memcmp(found + i * SECTOR_BYTES, wanted + i * SECTOR_BYTES, SECTOR_BYTES) != 0)
			return false;
	}
	return true;
}

static enum rot_opened judge_reads(const struct rot_image *image, struct world *world,
				   const char **ret_why)
{
	uint8_t window[ROT_WINDOW * SECTOR_BYTES];
	const int broken = broken_blocks(world, window);

	*ret_why = "sectors of one block do not fail together";
	if (broken < 0)
		return ROT_WRONG;
	if (broken && !atomic_load(&world->image->disk.map.damaged)) {
		*ret_why = "sectors answer EIO, but the map is not marked damaged";
		return ROT_WRONG;
	}
	if (is_window(world, window, image->window, broken))
		return broken ? ROT_EIO : ROT_RIGHT;
	*ret_why = "a sector reads as what it is not";
	return ROT_WRONG;
}

static enum rot_opened judge(const struct rot_image *image, struct world *world,
			     const char **ret_why)
{
	*ret_why = "another superblock, and perhaps another policy";
	if (memcmp(&world->image->super, &image->super, sizeof(image->super)) != 0)
		return ROT_WRONG;
	*ret_why = "other keys";
	if (memcmp(world->image->keys, image->keys, sizeof(*image->keys)) != 0)
		return ROT_WRONG;
	*ret_why = "another record of the base";
	if (memcmp(&world->image->names, image->bytes[ROT_NAMES_A], sizeof(struct seal_names)) != 0)
		return ROT_WRONG;
	return judge_reads(image, world, ret_why);
}

/* Close it, open it, and find the same. */
static enum rot_opened judge_again(const struct rot_image *image, struct world *world,
				   enum rot_opened before, const char **ret_why)
{
	enum rot_opened after;

	*ret_why = "does not close, or not open again";
	if (image_stop(world->image, &world->problem) < 0)
		return ROT_WRONG;
	world_abandon(world);
	if (world_open(world, false) < 0)
		return ROT_WRONG;
	after = judge_reads(image, world, ret_why);
	if (after == before || after == ROT_WRONG)
		return after;
	*ret_why = "reads otherwise after a close";
	return ROT_WRONG;
}

enum rot_opened rot_open(const struct rot_image *image, struct world *world, bool again,
			 const char **ret_why)
{
	const int r = world_open(world, false);
	enum rot_opened opened;

	*ret_why = "the error is none of damage";
	if (r < 0)
		return r == -EUCLEAN || r == -EKEYREJECTED ? ROT_REFUSED : ROT_WRONG;
	opened = judge(image, world, ret_why);
	if (again && opened != ROT_WRONG)
		opened = judge_again(image, world, opened, ret_why);
	return opened;
}

/* ---- comparing it ----------------------------------------------------------- */

static bool area_is(const struct rot_area *area, const struct world *world, const uint8_t *wanted)
{
	uint8_t bytes[ROT_AREA_BYTES_MAX];

	peek(area, world, bytes);
	return memcmp(bytes, wanted, area->nr_bytes) == 0;
}

bool rot_is_original(const struct rot_image *image, const struct world *world)
{
	for (int i = 0; i < ROT_AREAS; i++)
		if (!area_is(&image->areas[i], world, image->bytes[i]))
			return false;
	return true;
}

bool rot_is_same(const struct rot_image *image, const struct world *world,
		 const struct world *other)
{
	uint8_t bytes[ROT_AREA_BYTES_MAX];

	for (int i = 0; i < ROT_AREAS; i++) {
		peek(&image->areas[i], other, bytes);
		if (!area_is(&image->areas[i], world, bytes))
			return false;
	}
	return true;
}
