/* SPDX-License-Identifier: MIT */
/* Opening the scratch file: see subject.h. */
#include "trace/subject.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "request/request.h"

/* ---- a ring that tells what it changes -------------------------------------- */

struct telling_ring {
	struct ring ring;
	struct ring *inner;
	struct media *media;
};

static void telling_submit(struct ring *ring, struct ring_op *op)
{
	struct telling_ring *t = CONTAINER_OF(ring, struct telling_ring, ring);

	if (op->kind == RING_WRITE)
		media_touch(t->media, op->offset_bytes, op->bytes);
	else if (op->kind == RING_PUNCH)
		media_touch(t->media, op->offset_bytes, op->range_bytes);
	ring_submit(t->inner, op);
}

static int telling_wait(struct ring *ring, int timeout_ms)
{
	struct telling_ring *t = CONTAINER_OF(ring, struct telling_ring, ring);
	int r = ring_wait(t->inner, timeout_ms);

	ring->nr_in_flight = t->inner->nr_in_flight;
	return r;
}

static const struct ring_ops telling_ops = {
	.submit = telling_submit,
	.wait = telling_wait,
};

static struct ring *telling_ring_new(struct media *media)
{
	struct telling_ring *t = must_alloc(sizeof(*t));

	t->ring.ops = &telling_ops;
	t->media = media;
	if (ring_sync_new(&t->inner) < 0)
		give_up("no memory");
	return &t->ring;
}

/* ---- dirty files: a power cut leaves none -------------------------------------- */

static int dirty_create(struct dirty_store *store, const uint8_t uuid[SEAL_UUID_BYTES],
			const uint8_t nonce[SEAL_NONCE_BYTES], void **ret_memory)
{
	(void)store, (void)uuid, (void)nonce;
	*ret_memory = must_alloc(DIRTY_FILE_BYTES);
	return 0;
}

static int dirty_find(struct dirty_store *store, const uint8_t uuid[SEAL_UUID_BYTES],
		      const uint8_t nonce[SEAL_NONCE_BYTES], void **ret_memory)
{
	(void)store, (void)uuid, (void)nonce, (void)ret_memory;
	return -ENOENT;
}

static void dirty_release(struct dirty_store *store, void *memory)
{
	(void)store;
	free(memory);
}

static void dirty_keep_only(struct dirty_store *store, const uint8_t uuid[SEAL_UUID_BYTES],
			    uint64_t inode, const uint8_t *nonce)
{
	(void)store, (void)uuid, (void)inode, (void)nonce;
}

static const struct dirty_store_ops dirty_ops = {
	.create = dirty_create,
	.find = dirty_find,
	.release = dirty_release,
	.keep_only = dirty_keep_only,
};
static struct dirty_store no_dirty_files = { .ops = &dirty_ops };

/* ---- opening and closing -------------------------------------------------------- */

void subject_init(struct subject *subject, const char *path, const char *key_file, const char *base,
		  struct media *media)
{
	const struct key_source source = { .kind = KEY_SOURCE_FILE, .name = key_file };
	const struct key_wanted wanted = { 0 };
	char why[KEY_WHY_BYTES];
	bool fell_back;

	*subject = (struct subject){ .path = path, .base = base, .media = media };
	if (key_source_read(&source, &wanted, &subject->secret, why) < 0)
		give_up("%s: %s", key_file, why);
	if (xts_select(NULL, &subject->xts, &fell_back) < 0)
		give_up("no XTS");
	subject->ring = telling_ring_new(media);
}

static int attach_base(struct subject *subject)
{
	int fd;

	if (!subject->image->super.has_base)
		return 0;
	fd = subject->base ? open(subject->base, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		give_up("the image has a base: --base does not name it");
	return image_attach_base(subject->image, fd, subject->base, &base_opener_direct,
				 &subject->problem);
}

static int start(struct subject *subject)
{
	struct image_session session = { .dirty_store = &no_dirty_files, .xts = subject->xts };
	const struct key_secret *const secrets[] = { subject->secret };
	const uint64_t boot = ++subject->nr_opens;
	int r;

	memcpy(session.boot_id, &boot, sizeof(boot));
	r = image_unlock(subject->image, secrets, 1, &subject->problem);
	if (r == 0)
		r = attach_base(subject);
	if (r == 0)
		r = image_start(subject->image, &session, &subject->problem);
	if (r == 0 && subject->image->nr_damaged_blocks > 0) {
		problem_set(&subject->problem, "image", subject->path,
			    "%llu map blocks are damaged",
			    (unsigned long long)subject->image->nr_damaged_blocks);
		r = -EUCLEAN;
	}
	return r;
}

bool subject_open(struct subject *subject)
{
	struct store store;
	int fd = open(subject->path, O_RDWR | O_CLOEXEC);
	int r;

	if (fd < 0 || store_file_init(&store, fd, STORE_LOCK_EXCLUSIVE, LOCK_WAIT_MS) < 0)
		give_up("%s: cannot be opened or locked", subject->path);
	r = image_load(&store, subject->path, subject->ring, true, &subject->image,
		       &subject->problem);
	if (r < 0)
		subject->image = NULL;
	else
		r = start(subject);
	if (r < 0)
		subject_abandon(subject);
	return r == 0;
}

void subject_abandon(struct subject *subject)
{
	subject->image = image_free(subject->image);
}

bool subject_close(struct subject *subject)
{
	int r = image_stop(subject->image, &subject->problem);

	subject->image = image_free(subject->image);
	return r == 0;
}

/* ---- looking -------------------------------------------------------------------- */

static void read_done(struct request *request)
{
	request->data = NULL;
}

static int turn(struct image *image)
{
	struct inbox_item *item = inbox_take_all(&image->inbox);
	const bool idle = !item;

	while (item) {
		struct inbox_item *next = item->next;

		item->deliver(item);
		item = next;
	}
	return idle ? ring_wait(image->ring, -1) : 0;
}

int subject_read(struct subject *subject, uint64_t sector, uint32_t nr_sectors, uint8_t *ret_bytes)
{
	static struct request request;
	int r = 0;

	request = (struct request){
		.lane = &subject->image->lane,
		.op = REQ_READ,
		.first_sector = sector,
		.nr_sectors = nr_sectors,
		.data = ret_bytes,
		.done = read_done,
	};
	req_start(&request);
	while (r == 0 && request.data)
		r = turn(subject->image);
	return r < 0 ? r : request.error;
}

uint64_t subject_find_superseded(const struct subject *subject, const struct window *window)
{
	static const uint8_t zeros[SECTOR_BYTES];
	const struct map *map = &subject->image->disk.map;
	const uint64_t end = window->first_sector + window->nr_sectors;
	uint64_t sector = window->first_sector;

	while (sector < end) {
		struct map_run run;

		/* Not in memory: never written, so no place is named. */
		if (map_find(map, sector, end - sector, &run) < 0)
			run = (struct map_run){ .nr_sectors = 1, .entry = SEAL_ENTRY_BASE };
		for (unsigned int plane = SEAL_ENTRY_PLANE_FIRST; plane < MAP_VALUES; plane++) {
			const struct map_plane *place = &map->config.planes[plane];

			if (place->kind == SEAL_PLANE_NONE || plane == run.entry)
				continue;
			for (uint64_t s = sector; s < sector + run.nr_sectors; s++)
				if (memcmp(subject->media->scratch + place->file_offset_bytes +
						   sectors_to_bytes(s),
					   zeros, SECTOR_BYTES) != 0)
					return s;
		}
		sector += run.nr_sectors;
	}
	return UINT64_MAX;
}
