/* SPDX-License-Identifier: MIT */
/* Blocking I/O of the opening and closing thread, over the image's own ring and lane. */
#include <errno.h>
#include <string.h>

#include "image/image.h"
#include "image/superblock.h"
#include "map/entries.h"

int image_pread(struct image *image, uint64_t offset_bytes, void *bytes, uint32_t nr)
{
	struct ring_op op = {
		.kind = RING_READ,
		.fd = image->store.fd,
		.offset_bytes = offset_bytes,
		.data = bytes,
		.bytes = nr,
	};
	int r = ring_run(image->ring, &op);

	return r < 0 ? r : 0;
}

int image_pwrite(struct image *image, uint64_t offset_bytes, const void *bytes, uint32_t nr)
{
	union {
		const void *in;
		uint8_t *out; /* a WRITE only reads it */
	} data = { .in = bytes };
	struct ring_op op = {
		.kind = RING_WRITE,
		.fd = image->store.fd,
		.offset_bytes = offset_bytes,
		.data = data.out,
		.bytes = nr,
	};
	int r = ring_run(image->ring, &op);

	return r < 0 ? r : 0;
}

int image_sync(struct image *image)
{
	struct ring_op op = { .kind = RING_FDATASYNC, .fd = image->store.fd };
	int r = ring_run(image->ring, &op);

	if (r < 0)
		image->sync_failed = true;
	return r;
}

/*
 * Write both copies of a structure, one after the other, the one that counts
 * last: it may be the only whole one, and at any moment one of them is whole.
 */
static int write_copies(struct image *image, const uint64_t places[2], unsigned int counts,
			const void *bytes, uint32_t nr)
{
	int r = 0;

	for (unsigned int i = 0; i < 2 && r == 0; i++) {
		r = image_pwrite(image, places[counts ^ 1u ^ i], bytes, nr);
		if (r == 0)
			r = image_sync(image);
	}
	return r;
}

int image_put_super(struct image *image)
{
	static const uint64_t places[2] = { SEAL_SUPERBLOCK_A, SEAL_SUPERBLOCK_B };

	return write_copies(image, places, image->super_copy, &image->super, sizeof(image->super));
}

int image_write_super(struct image *image)
{
	int r;

	image->super.generation = le64_of(le64_get(image->super.generation) + 1);
	image_store_counts(image);
	r = superblock_finish(&image->super, &image->lane.mac);
	return r == 0 ? image_put_super(image) : r;
}

int image_write_keyring(struct image *image)
{
	static const uint64_t places[2] = { SEAL_KEYRING_A, SEAL_KEYRING_B };
	int r;

	image->keyring.generation = le64_of(le64_get(image->keyring.generation) + 1);
	r = keyring_finish(&image->keyring, image->keys);
	if (r == 0)
		r = write_copies(image, places, image->keyring_copy, &image->keyring,
				 sizeof(image->keyring));
	return r;
}

int image_turn(struct image *image)
{
	struct inbox_item *item = inbox_take_all(&image->inbox);
	bool idle = !item;

	while (item) {
		struct inbox_item *next = item->next;

		item->deliver(item);
		item = next;
	}
	if (image->ring->nr_in_flight == 0)
		return 0;
	return ring_wait(image->ring, idle ? -1 : 0);
}

struct flush_wait {
	struct waiter waiter;
	bool done;
};

static void flush_done(struct waiter *waiter)
{
	CONTAINER_OF(waiter, struct flush_wait, waiter)->done = true;
}

int image_flush(struct image *image)
{
	struct flush_wait wait = { .waiter.wake = flush_done };
	int r = map_flush(&image->disk.map, &image->lane, &wait.waiter);

	if (r < 0)
		return r;
	while (!wait.done) {
		r = image_turn(image);
		if (r < 0)
			return r;
	}
	return wait.waiter.result;
}

int image_settle(struct image *image)
{
	struct map *map = &image->disk.map;

	/* An overwrite in place may be lost without leaving anything to settle. */
	if (atomic_load(&map->failed))
		return -EIO;
	map->punch_again_ms = 0; /* now, or not at all; nobody else uses the map */
	map->clients_seen_ms = 0;
	while (!map_is_settled(map) || !map_is_swept(map)) {
		int r = image_flush(image);

		if (r < 0)
			return r;
		/* The round may have left a sweep: let it run before looking again. */
		while (image->ring->nr_in_flight > 0 || image->inbox.newest) {
			r = image_turn(image);
			if (r < 0)
				return r;
		}
		if (map->punch_failed || map->punch_again_ms)
			break;
	}
	return 0;
}

int image_read_block(struct image *image, struct ring *ring, struct mac_ctx *mac, uint64_t index,
		     uint8_t ret_body[SEAL_BLOCK_BODY_BYTES])
{
	struct map *map = &image->disk.map;
	struct block_identity id = map_block_identity(map, index);
	struct seal_block pair[2];
	struct ring_op op = {
		.kind = RING_READ,
		.fd = image->store.fd,
		.offset_bytes = map_pair_offset(map, index),
		.data = (uint8_t *)pair,
		.bytes = sizeof(pair),
	};
	bool unclean = !image->started && image->super.open_state == SEAL_UNCLEAN;
	unsigned int slot;
	int r = map_copy_block(map, index, ret_body);

	if (r == -EIO)
		return -EUCLEAN;
	if (r != -EAGAIN)
		return r;
	r = ring_run(ring, &op);
	if (r < 0)
		return -EIO;
	r = block_pick(pair, &id, mac, unclean, &slot);
	if (r < 0 && r != -EBADMSG)
		return -EIO;
	if (r < 0) {
		/* It may have been loaded and written again meanwhile. */
		r = map_copy_block(map, index, ret_body);
		return r == 0 ? 0 : -EUCLEAN;
	}
	memcpy(ret_body, pair[slot].body, SEAL_BLOCK_BODY_BYTES);
	return 0;
}
