/* SPDX-License-Identifier: MIT */
/*
 * Reading an image: superblocks, keyring, names and bitmap, each held against
 * its checksum, and once the keyring is open against its MAC.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "image/image.h"
#include "image/names.h"
#include "image/superblock.h"
#include "keys/key_mem.h"
#include "map/entries.h"

static int refused(struct problem *problem, const struct image *image, const char *text)
{
	problem_set(problem, "image", image->path, "%s", text);
	return -EUCLEAN;
}

static int read_failed(struct problem *problem, const struct image *image, int error)
{
	problem_set(problem, "image", image->path, "cannot be read: %s", strerror(-error));
	return error;
}

/* Want of memory, say: it accuses nobody. */
static int mac_failed(struct problem *problem, const struct image *image, int r)
{
	problem_set(problem, "image", image->path, "cannot compute a MAC: %s", strerror(-r));
	return r;
}

/* The better of two verdicts, to tell the user: what is nearest to good. */
static enum superblock_verdict judge_supers(struct seal_superblock copies[2],
					    unsigned int *ret_best, unsigned int *ret_nr_bad)
{
	enum superblock_verdict verdicts[2] = { superblock_check(&copies[0]),
						superblock_check(&copies[1]) };
	/* Only a torn copy gives way to the other one: a strange one is not passed over. */
	bool whole[2];

	for (int i = 0; i < 2; i++)
		whole[i] = verdicts[i] != SUPERBLOCK_NO_MAGIC && verdicts[i] != SUPERBLOCK_BAD_CRC;

	if (!whole[0] && !whole[1])
		return verdicts[0] > verdicts[1] ? verdicts[0] : verdicts[1];
	*ret_nr_bad = !whole[0] + !whole[1];
	*ret_best = !whole[0] ||
		    (whole[1] && le64_get(copies[1].generation) > le64_get(copies[0].generation));
	return verdicts[*ret_best];
}

/* docs/format.md 2: an image ends where its last plane does, or later. */
static int check_length(struct image *image, struct problem *problem)
{
	const struct seal_superblock *super = &image->super;
	uint64_t plane_bytes =
		superblock_plane_offset(super, 1) - superblock_plane_offset(super, 0);
	uint64_t end_bytes = superblock_plane_offset(super, 0);

	for (unsigned int i = 0; i < PLANES_MAX; i++) {
		const struct seal_plane *plane = &super->planes[i];
		uint64_t plane_end = le64_get(plane->file_offset_bytes) + plane_bytes;

		if (plane->kind != SEAL_PLANE_NONE && plane_end > end_bytes)
			end_bytes = plane_end;
	}
	if (image->store.bytes >= end_bytes)
		return 0;
	problem_set(problem, "image", image->path, "is cut short: %llu bytes of %llu",
		    (unsigned long long)image->store.bytes, (unsigned long long)end_bytes);
	return -EUCLEAN;
}

static int load_super(struct image *image, struct problem *problem)
{
	static const uint64_t places[2] = { SEAL_SUPERBLOCK_A, SEAL_SUPERBLOCK_B };
	struct seal_superblock copies[2];
	unsigned int best = 0, nr_bad = 0;
	enum superblock_verdict verdict;

	if (image->store.bytes < SEAL_BITMAP_START)
		return refused(problem, image, "too short for a sealblk image");
	for (int i = 0; i < 2; i++) {
		int r = image_pread(image, places[i], &copies[i], sizeof(copies[i]));

		if (r < 0)
			return read_failed(problem, image, r);
	}
	verdict = judge_supers(copies, &best, &nr_bad);
	if (verdict != SUPERBLOCK_GOOD)
		return refused(problem, image, superblock_verdict_text(verdict));
	image->super = copies[best];
	image->super_copy = best;
	image->nr_bad_copies = nr_bad;
	if (image->writable && le64_get(image->super.feature_ro_compat) != 0)
		return refused(problem, image,
			       "made by a newer sealblk: this one may only serve it --read-only");
	return check_length(image, problem);
}

static int load_keyring(struct image *image, struct problem *problem)
{
	static const uint64_t places[2] = { SEAL_KEYRING_A, SEAL_KEYRING_B };
	bool found = false;

	for (int i = 0; i < 2; i++) {
		struct seal_keyring copy;
		int r = image_pread(image, places[i], &copy, sizeof(copy));

		if (r < 0)
			return read_failed(problem, image, r);
		if (keyring_check(&copy, image->super.uuid) < 0) {
			image->nr_bad_copies++;
			continue;
		}
		if (!found || le64_get(copy.generation) > le64_get(image->keyring.generation)) {
			image->keyring = copy;
			image->keyring_copy = (unsigned int)i;
		}
		found = true;
	}
	if (!found)
		return refused(problem, image, "both keyrings are damaged (wrong checksum)");
	return 0;
}

static int load_names(struct image *image, struct problem *problem)
{
	static const uint64_t places[2] = { SEAL_NAMES_A, SEAL_NAMES_B };
	bool found = false;

	for (int i = 0; i < 2; i++) {
		struct seal_names copy;
		int r = image_pread(image, places[i], &copy, sizeof(copy));

		if (r < 0)
			return read_failed(problem, image, r);
		if (names_check(&copy, image->super.uuid) < 0) {
			image->nr_bad_copies++;
			continue;
		}
		if (!found || le64_get(copy.generation) > le64_get(image->names.generation))
			image->names = copy;
		found = true;
	}
	if (!found)
		return refused(problem, image, "both name/value areas are damaged");
	if (!image->super.has_base)
		return 0;
	if (base_identity_decode(&image->names, &image->base_identity) < 0)
		return refused(problem, image, "its record of the base is damaged");
	return 0;
}

static void configure_map(struct image *image)
{
	struct map_config *config = &image->disk.map.config;
	const struct seal_superblock *super = &image->super;

	image->disk.nr_sectors = bytes_to_sectors(le64_get(super->disk_bytes));
	image->disk.nr_tib = (uint32_t)((image->disk.nr_sectors + TIB_SECTORS - 1) / TIB_SECTORS);
	image->disk.base_fd = -1;
	config->fd = image->store.fd;
	config->in_memory = image->store.in_memory;
	config->data_fd = config->fd;
	config->disk_sectors = image->disk.nr_sectors;
	config->bitmap_offset = le64_get(super->bitmap_offset);
	config->map_offset = le64_get(super->map_offset);
	memcpy(config->uuid, super->uuid, sizeof(config->uuid));
	config->mac_key_id = le64_get(super->mac_key_id);
	config->open_seq = le64_get(super->open_seq);
	config->has_base = super->has_base;
	for (unsigned int value = 0; value < MAP_VALUES; value++)
		config->plane_born[value] = UINT64_MAX;
	for (unsigned int i = 0; i < PLANES_MAX; i++) {
		unsigned int value = i + SEAL_ENTRY_PLANE_FIRST;

		if (super->planes[i].kind == SEAL_PLANE_NONE)
			continue;
		config->planes[value].kind = super->planes[i].kind;
		config->planes[value].file_offset_bytes =
			le64_get(super->planes[i].file_offset_bytes);
		config->plane_born[value] = le64_get(super->planes[i].born_generation);
	}
}

static void take_bits(struct map *map, uint64_t index, const struct seal_block *block)
{
	uint64_t first = index * SEAL_BITMAP_BITS;
	uint64_t end = min_u64(first + SEAL_BITMAP_BITS, map->nr_blocks);

	for (uint64_t i = first; i < end; i++) {
		if (!(block->body[(i - first) / 8] >> ((i - first) % 8) & 1))
			continue;
		atomic_fetch_or(&map->written[i / 64], (uint64_t)1 << (i % 64));
		bitset_add(map->reserved, i);
	}
}

/* @mac: NULL: checksums only. */
static int load_bitmap(struct image *image, struct mac_ctx *mac, struct problem *problem)
{
	struct map *map = &image->disk.map;
	bool unclean = image->super.open_state == SEAL_UNCLEAN;

	for (uint64_t i = 0; i < map->nr_bitmap_blocks; i++) {
		struct block_identity id = map_bitmap_identity(map, i);
		struct seal_block pair[2];
		unsigned int slot;
		int r = image_pread(image, map->config.bitmap_offset + i * SEAL_PAIR_BYTES, pair,
				    sizeof(pair));

		if (r < 0)
			return read_failed(problem, image, r);
		r = block_pick(pair, &id, mac, unclean, &slot);
		if (r < 0 && r != -EBADMSG)
			return mac_failed(problem, image, r);
		if (r < 0)
			return refused(problem, image, "its written-block bitmap is damaged");
		map->bitmap_slots[i] = (uint8_t)slot;
		take_bits(map, i, &pair[slot]);
	}
	return 0;
}

/*
 * Reserved, not committed: a large disk's map is mostly uniform blocks, which
 * need none of it. Also keeps the map of a 64 TiB disk openable on a small host.
 * Below a page there is nothing to save.
 */
static bool map_is_reserved(uint64_t bytes)
{
	return bytes > MAP_HEAP_BYTES_MAX;
}

static void give_pages_back(uint8_t *memory, size_t bytes)
{
	/* If not, it costs memory. */
	(void)madvise(memory, bytes, MADV_DONTNEED);
}

static int map_memory(struct image *image)
{
	const uint64_t bytes = map_entries_bytes(image->disk.nr_sectors);
	void *memory;

	if (map_is_reserved(bytes)) {
		image->disk.map.config.give_pages_back = give_pages_back;
		memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (memory == MAP_FAILED)
			return -errno;
	} else {
		memory = calloc(1, bytes);
		if (!memory)
			return -ENOMEM;
	}
	image->entries_memory = memory;
	image->disk.map.config.entries_memory = memory;
	return 0;
}

static void map_memory_free(struct image *image)
{
	const uint64_t bytes = map_entries_bytes(image->disk.nr_sectors);

	if (!map_is_reserved(bytes))
		free(image->entries_memory);
	else if (image->entries_memory)
		munmap(image->entries_memory, bytes);
}

static void no_notify(struct lane *lane)
{
	/* The image's own lane looks into its inbox by itself. */
	(void)lane;
}

static int load(struct image *image, struct problem *problem)
{
	int r = load_super(image, problem);

	if (r == 0)
		r = load_keyring(image, problem);
	if (r == 0)
		r = load_names(image, problem);
	if (r < 0)
		return r;
	configure_map(image);
	r = map_memory(image);
	if (r == 0)
		r = map_init(&image->disk.map, image->super.current_plane);
	if (r < 0) {
		problem_set(problem, "image", image->path, "no memory for its map");
		return r;
	}
	image_load_counts(image);
	image->lane.disk = &image->disk;
	image->lane.ring = image->ring;
	image->lane.inbox = &image->inbox;
	image->lane.notify = no_notify;
	image->only_lane = &image->lane;
	map_set_lanes(&image->disk.map, &image->only_lane, 1);
	return load_bitmap(image, NULL, problem);
}

int image_load(struct store *store, const char *path, struct ring *ring, bool writable,
	       struct image **ret_image, struct problem *problem)
{
	struct image *image = calloc(1, sizeof(*image));
	int r;

	if (!image || strlen(path) >= sizeof(image->path)) {
		problem_set(problem, "image", path, "%s",
			    image ? "the path is too long" : "no memory");
		store_close(store);
		free(image);
		return -ENOMEM;
	}
	memcpy(image->path, path, strlen(path) + 1);
	image->store = *store;
	store->ops = NULL;
	image->ring = ring;
	image->writable = writable;
	inbox_init(&image->inbox);
	r = load(image, problem);
	if (r < 0) {
		image_free(image);
		return r;
	}
	image_rewrite_look(image);
	*ret_image = image;
	return 0;
}

struct image *image_free(struct image *image)
{
	if (!image)
		return NULL;
	image_lane_done(&image->lane);
	if (image->dirty_memory)
		image->dirty_store->ops->release(image->dirty_store, image->dirty_memory);
	if (image->disk.map.config.direct)
		close(image->direct_fd);
	map_done(&image->disk.map);
	map_memory_free(image);
	base_close(&image->base);
	free(image->base_bounds);
	free(image->base_starts);
	key_mem_free(image->keys);
	store_close(&image->store);
	free(image);
	return NULL;
}

/* The bitmap again, its MACs checked now. */
static int reload_bitmap(struct image *image, struct problem *problem)
{
	struct map *map = &image->disk.map;

	for (uint64_t i = 0; i < (map->nr_blocks + 63) / 64; i++) {
		atomic_store(&map->written[i], 0);
		map->reserved[i] = 0;
	}
	return load_bitmap(image, &image->lane.mac, problem);
}

static int check_macs(struct image *image, struct problem *problem)
{
	const uint8_t *mac_key =
		keyring_find_mac_key(image->keys, le64_get(image->super.mac_key_id));
	int r;

	if (!mac_key)
		return refused(problem, image, "its MAC key is missing from the keyring");
	r = mac_init(&image->lane.mac, mac_key);
	if (r < 0) {
		problem_set(problem, "image", image->path, "cannot set up its MAC");
		return r;
	}
	r = superblock_check_mac(&image->super, &image->lane.mac);
	if (r < 0 && r != -EBADMSG)
		return mac_failed(problem, image, r);
	if (r < 0)
		return refused(problem, image, "its superblock has been tampered with (wrong MAC)");
	r = names_check_mac(&image->names, &image->lane.mac);
	if (r < 0 && r != -EBADMSG)
		return mac_failed(problem, image, r);
	if (r < 0)
		return refused(problem, image,
			       "its name/value area has been tampered with (wrong MAC)");
	return reload_bitmap(image, problem);
}

/*
 * Pages in the cache that a failed fsync left behind look clean but are not on
 * the disk: only what the medium holds may be believed. Of an owned base too, which
 * would look punched.
 */
int image_settle_cache(struct image *image, struct problem *problem)
{
	struct seal_superblock before = image->super;
	unsigned int nr_bad_copies = image->nr_bad_copies;
	int r = image_sync(image);

	if (r == 0)
		r = store_drop_cache(&image->store);
	if (r == 0 && image->owned_base)
		r = store_drop_cache(image->owned_base);
	if (r < 0) {
		problem_set(problem, "image", image->path, "cannot be synced: %s", strerror(-r));
		return r;
	}
	r = load_super(image, problem);
	image->nr_bad_copies = nr_bad_copies;
	if (r == 0 && memcmp(&before, &image->super, sizeof(before)) != 0)
		return refused(problem, image, "its superblock on the disk is not what was read");
	return r == 0 ? reload_bitmap(image, problem) : r;
}

int image_unlock_revoked(struct image *image, const struct key_secret *const *secrets,
			 unsigned int nr_secrets, struct problem *problem)
{
	int r = keyring_unlock(&image->keyring, secrets, nr_secrets, &image->key_slot,
			       &image->keys);

	if (r == -EKEYREJECTED) {
		problem_set(problem, "image", image->path, "%s",
			    keyring_count_slots(&image->keyring) > 0
				    ? "none of the keys given opens it"
				    : "has no key slot left: its data was destroyed");
		return r;
	}
	if (r == -EBADMSG || r == -EINVAL)
		return refused(problem, image, "its keyring has been tampered with");
	if (r < 0) {
		problem_set(problem, "image", image->path, "cannot be unlocked: %s", strerror(-r));
		return r;
	}
	return check_macs(image, problem);
}

int image_unlock(struct image *image, const struct key_secret *const *secrets,
		 unsigned int nr_secrets, struct problem *problem)
{
	int r = image_unlock_revoked(image, secrets, nr_secrets, problem);

	if (r < 0 || !image->super.revoked)
		return r;
	problem_set(problem, "image", image->path,
		    "its keys are revoked: sealblk key restore lets them be used again");
	return -EKEYREJECTED;
}
