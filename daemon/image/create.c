/* SPDX-License-Identifier: MIT */
/*
 * Making an image: written under a temporary name, synced, then given its own
 * name, so that a crash leaves either nothing or a whole image.
 */
#include "image/create.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "image/names.h"
#include "image/path.h"
#include "image/superblock.h"
#include "image/uuid.h"
#include "keys/key_mem.h"
#include "keys/keyring.h"
#include "map/block.h"

/* What is put together in memory before it is written. */
struct draft {
	struct ring *ring;
	int fd;
	struct seal_superblock super;
	struct seal_keyring keyring;
	struct seal_names names;
	struct keyring_keys *keys;
	struct mac_ctx mac;
};

uint64_t image_bytes_of(uint64_t disk_bytes, unsigned int nr_planes)
{
	struct seal_superblock super;

	superblock_layout(&super, disk_bytes);
	return superblock_plane_offset(&super, nr_planes);
}

static int write_at(struct draft *draft, uint64_t offset_bytes, void *bytes, uint32_t nr_bytes)
{
	struct ring_op op = {
		.kind = RING_WRITE,
		.fd = draft->fd,
		.offset_bytes = offset_bytes,
		.data = bytes,
		.bytes = nr_bytes,
	};
	int r = ring_run(draft->ring, &op);

	return r < 0 ? r : 0;
}

static int draft_keys(struct draft *draft, const struct image_recipe *recipe)
{
	const uint8_t *mac_key;
	int r = keyring_create(draft->super.uuid, recipe->secret, recipe->now_s, &draft->keyring,
			       &draft->keys);

	if (r < 0)
		return r;
	draft->super.mac_key_id = draft->keyring.mac_key_id;
	mac_key = keyring_find_mac_key(draft->keys, le64_get(draft->keyring.mac_key_id));
	return mac_key ? mac_init(&draft->mac, mac_key) : -EIO;
}

static void draft_policy(struct draft *draft, const struct image_recipe *recipe)
{
	struct seal_plane *plane = &draft->super.planes[0];

	draft->super.created_s = le64_of(recipe->now_s);
	draft->super.has_base = recipe->base != NULL;
	draft->super.encryption_enabled = recipe->encryption;
	if (recipe->encryption) {
		draft->super.last_enabled_s = le64_of(recipe->now_s);
		plane->key_id = draft->keyring.plane_keys[0].key_id;
	} else {
		plane->kind = SEAL_PLANE_PLAIN;
	}
}

static int draft_names(struct draft *draft, const struct image_recipe *recipe)
{
	names_init(&draft->names, draft->super.uuid);
	if (recipe->base) {
		int r = base_identity_encode(recipe->base, &draft->names);

		if (r < 0)
			return r;
	}
	if (recipe->source_footer) {
		int r = names_append(&draft->names, NAMES_SOURCE_FOOTER, recipe->source_footer,
				     VHD_FOOTER_BYTES);

		if (r < 0)
			return r;
	}
	return names_finish(&draft->names, 1, le64_get(draft->super.mac_key_id), &draft->mac);
}

/* All blocks never written; both slots alike. */
static int write_bitmap(struct draft *draft)
{
	for (uint64_t i = 0; i < le64_get(draft->super.bitmap_blocks); i++) {
		struct block_identity id = {
			.kind = BLOCK_BITMAP,
			.index = i,
			.uuid = draft->super.uuid,
			.mac_key_id = le64_get(draft->super.mac_key_id),
		};
		uint64_t at = le64_get(draft->super.bitmap_offset) + i * SEAL_PAIR_BYTES;
		struct seal_block pair[2];
		int r;

		memset(&pair[0], 0, sizeof(pair[0]));
		block_begin(&pair[0], &id, 0);
		r = block_finish(&pair[0], &draft->mac);
		pair[1] = pair[0];
		if (r == 0)
			r = write_at(draft, at, pair, sizeof(pair));
		if (r < 0)
			return r;
	}
	return 0;
}

static int write_draft(struct draft *draft)
{
	int r = write_bitmap(draft);

	if (r == 0)
		r = write_at(draft, SEAL_KEYRING_A, &draft->keyring, sizeof(draft->keyring));
	if (r == 0)
		r = write_at(draft, SEAL_KEYRING_B, &draft->keyring, sizeof(draft->keyring));
	if (r == 0)
		r = write_at(draft, SEAL_NAMES_A, &draft->names, sizeof(draft->names));
	if (r == 0)
		r = write_at(draft, SEAL_NAMES_B, &draft->names, sizeof(draft->names));
	if (r == 0)
		r = superblock_finish(&draft->super, &draft->mac);
	if (r == 0)
		r = write_at(draft, SEAL_SUPERBLOCK_A, &draft->super, sizeof(draft->super));
	if (r == 0)
		r = write_at(draft, SEAL_SUPERBLOCK_B, &draft->super, sizeof(draft->super));
	return r;
}

int image_format(struct ring *ring, int fd, const struct image_recipe *recipe)
{
	struct draft *draft = calloc(1, sizeof(*draft));
	int r;

	if (!draft)
		return -ENOMEM;
	draft->ring = ring;
	draft->fd = fd;
	superblock_layout(&draft->super, recipe->disk_bytes);
	draft->super.generation = le64_of(1);
	draft->super.counts[SEAL_ENTRY_BASE] = le64_of(bytes_to_sectors(recipe->disk_bytes));
	draft->super.counts_generation = le64_of(1);
	r = recipe->uuid ? 0 : uuid_make(draft->super.uuid);
	if (recipe->uuid)
		memcpy(draft->super.uuid, recipe->uuid, SEAL_UUID_BYTES);
	if (r == 0)
		r = draft_keys(draft, recipe);
	if (r == 0) {
		draft_policy(draft, recipe);
		r = draft_names(draft, recipe);
	}
	if (r == 0)
		r = write_draft(draft);
	mac_done(&draft->mac);
	key_mem_free(draft->keys);
	free(draft);
	return r;
}

/*
 * Give the file its length; the file system must be able to hold a second
 * plane too, or the key could never be rotated.
 */
static int set_length(int fd, const char *path, uint64_t disk_bytes, struct problem *problem)
{
	if (ftruncate(fd, (off_t)image_bytes_of(disk_bytes, 2)) < 0 && errno == EFBIG) {
		problem_set(problem, "image", path,
			    "two planes of a disk of %llu bytes do not fit the largest file of "
			    "this file system (ext4: 16 TiB)",
			    (unsigned long long)disk_bytes);
		return -EFBIG;
	}
	return ftruncate(fd, (off_t)image_bytes_of(disk_bytes, 1)) < 0 ? -errno : 0;
}

static int fill_and_name(struct ring *ring, int fd, const char *temporary, const char *path,
			 const struct image_recipe *recipe, struct problem *problem)
{
	int r = set_length(fd, path, recipe->disk_bytes, problem);

	if (r == -EFBIG)
		return r;
	if (r == 0)
		r = image_format(ring, fd, recipe);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0 &&
	    syscall(SYS_renameat2, AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) < 0)
		r = -errno;
	if (r == 0) {
		r = path_sync_folder(path);
		if (r < 0)
			unlink(path);
	}
	if (r < 0)
		problem_set(problem, "image", path, "cannot be created: %s", strerror(-r));
	return r;
}

int image_create(struct ring *ring, const char *path, const struct image_recipe *recipe,
		 struct problem *problem)
{
	char temporary[PATH_BYTES_MAX];
	struct stat st;
	int fd, r;

	if (lstat(path, &st) == 0) {
		problem_set(problem, "image", path, "exists already; it was left as it is");
		return -EEXIST;
	}
	r = snprintf(temporary, sizeof(temporary), "%s.new-XXXXXX", path);
	if (r < 0 || (size_t)r >= sizeof(temporary)) {
		problem_set(problem, "image", path, "the path is too long");
		return -ENAMETOOLONG;
	}
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0) {
		r = -errno;
		problem_set(problem, "image", path, "cannot be created: %s", strerror(errno));
		return r;
	}
	r = fill_and_name(ring, fd, temporary, path, recipe, problem);
	if (r < 0)
		unlink(temporary);
	close(fd);
	return r;
}
