/* SPDX-License-Identifier: MIT */
/* Key slots of an image, changed with the power cut at every operation. */
#include "image/key_slots.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "image/create.h"
#include "ring/queue.h"
#include "unit/keys/fixture.h"

enum {
	NOW_S = 1700000000,
	HEAD_BYTES = 256 << 10, /* superblocks and keyrings */
	PENDING_MAX = 2,
	TEARS = 1 << (2 * PENDING_MAX), /* which halves of pending writes arrive */
	OPS_MAX = 32,
};

static const char old_text[] = "the old key, of more than thirty-two bytes";
static const char new_text[] = "the new key, of more than thirty-two bytes";
static const char third_text[] = "a third key, of more than thirty-two bytes";

/* ---- a disk with a cache, which loses its power ------------------------------ */

struct pending {
	uint64_t offset_bytes;
	uint32_t nr_bytes;
	uint8_t bytes[SEAL_KEYRING_BYTES];
};

/* Writes arrive at an fdatasync; or, when the power goes, in halves of any number. */
struct cutter {
	struct ring ring;
	struct ring_queue finished;
	unsigned int nr_ops_left; /* then the power is gone */
	unsigned int nr_pending;
	struct pending pending[PENDING_MAX];
};

static void arrive(int fd, const struct pending *pending, bool first, bool second)
{
	const uint32_t half = pending->nr_bytes / 2;
	const off_t at = (off_t)pending->offset_bytes;

	if (first)
		cr_assert_eq(pwrite(fd, pending->bytes, half, at), (ssize_t)half);
	if (second)
		cr_assert_eq(pwrite(fd, pending->bytes + half, half, at + (off_t)half),
			     (ssize_t)half);
}

static int take(struct cutter *cutter, const struct ring_op *op)
{
	struct pending *pending = &cutter->pending[cutter->nr_pending];

	if (cutter->nr_ops_left == 0)
		return -EIO;
	cutter->nr_ops_left--;
	if (op->kind == RING_FDATASYNC) {
		while (cutter->nr_pending > 0)
			arrive(op->fd, &cutter->pending[--cutter->nr_pending], true, true);
		return 0;
	}
	cr_assert_eq(op->kind, RING_WRITE);
	cr_assert_lt(cutter->nr_pending, PENDING_MAX, "too many writes without an fdatasync");
	cr_assert_leq(op->bytes, sizeof(pending->bytes));
	pending->offset_bytes = op->offset_bytes;
	pending->nr_bytes = op->bytes;
	memcpy(pending->bytes, op->data, op->bytes);
	cutter->nr_pending++;
	return (int)op->bytes;
}

static void submit(struct ring *ring, struct ring_op *op)
{
	struct cutter *cutter = CONTAINER_OF(ring, struct cutter, ring);

	op->result = take(cutter, op);
	ring_queue_push(&cutter->finished, op);
}

static int wait(struct ring *ring, int timeout_ms)
{
	(void)timeout_ms;
	ring_queue_deliver(ring, &CONTAINER_OF(ring, struct cutter, ring)->finished);
	return 0;
}

static const struct ring_ops cutter_ops = { .submit = submit, .wait = wait };

/* ---- an image --------------------------------------------------------------- */

struct world {
	char folder[32];
	struct ring *ring;
	struct key_secret *old, *new, *third;
	struct image *image;
	struct keyring_keys *keys; /* as they were made */
	struct problem problem;
	uint8_t head[HEAD_BYTES];
};

/* Returns what image_unlock() said; world->image is then the caller's to free. */
static int open_image(struct world *world, const struct key_secret *secret)
{
	struct store store;
	int fd = open("image", O_RDWR | O_CLOEXEC);

	cr_assert_eq(store_file_init(&store, fd, STORE_LOCK_NONE, 0), 0);
	cr_assert_eq(image_load(&store, "image", world->ring, true, &world->image, &world->problem),
		     0, "%s", world->problem.text);
	return image_unlock(world->image, &secret, 1, &world->problem);
}

static void close_image(struct world *world)
{
	world->image = image_free(world->image);
}

/* Opens with @secret, and to the very keys it was made with. */
static bool opens(struct world *world, const struct key_secret *secret)
{
	int r = open_image(world, secret);

	cr_assert(r == 0 || r == -EKEYREJECTED, "%d: %s", r, world->problem.text);
	if (r == 0)
		cr_expect_arr_eq(world->image->keys, world->keys, sizeof(*world->keys));
	close_image(world);
	return r == 0;
}

static struct world *world_new(void)
{
	struct world *world = calloc(1, sizeof(*world));
	struct image_recipe recipe = { .disk_bytes = 1 << 20, .encryption = true, .now_s = NOW_S };

	enter_folder(world->folder);
	cr_assert_eq(ring_sync_new(&world->ring), 0);
	world->old = secret_of(KEY_SOURCE_FILE, old_text);
	world->new = secret_of(KEY_SOURCE_FILE, new_text);
	world->third = secret_of(KEY_SOURCE_FILE, third_text);
	recipe.secret = world->old;
	cr_assert_eq(image_create(world->ring, "image", &recipe, &world->problem), 0, "%s",
		     world->problem.text);
	cr_assert_eq(open_image(world, world->old), 0);
	world->keys = key_mem_new(sizeof(*world->keys));
	memcpy(world->keys, world->image->keys, sizeof(*world->keys));
	cr_assert_eq(pread(world->image->store.fd, world->head, HEAD_BYTES, 0), HEAD_BYTES);
	close_image(world);
	return world;
}

static void world_free(struct world *world)
{
	static const char *const names[] = { "image", NULL };

	ring_free(world->ring);
	key_mem_free(world->old);
	key_mem_free(world->new);
	key_mem_free(world->third);
	key_mem_free(world->keys);
	leave_folder(world->folder, names);
	free(world);
}

/* On the image, opened with @secret and closed again. */
static int change(struct world *world, const struct key_secret *secret,
		  const struct key_change *change, struct key_change_result *ret_result)
{
	int r = open_image(world, secret);

	cr_assert_eq(r, 0, "%s", world->problem.text);
	r = image_change_keys(world->image, change, ret_result, &world->problem);
	close_image(world);
	return r;
}

/* ---- the power is cut ------------------------------------------------------- */

/* Returns whether it went through before the power was gone. */
static bool change_and_cut(struct world *world, const struct key_change *what, unsigned int nr_ops,
			   unsigned int tear)
{
	struct cutter cutter = { .ring.ops = &cutter_ops, .nr_ops_left = nr_ops };
	struct key_change_result result;
	int fd, r;

	cr_assert_eq(open_image(world, world->old), 0);
	fd = world->image->store.fd;
	world->image->ring = &cutter.ring;
	r = image_change_keys(world->image, what, &result, &world->problem);
	cr_assert(r == 0 || r == -EIO, "%d: %s", r, world->problem.text);
	if (r == 0)
		cr_assert_eq(cutter.nr_pending, 0, "done, and not durable");
	for (unsigned int i = 0; i < cutter.nr_pending; i++)
		arrive(fd, &cutter.pending[i], tear >> (2 * i) & 1, tear >> (2 * i) & 2);
	close_image(world);
	return r == 0;
}

static void restore_head(struct world *world)
{
	int fd = open("image", O_RDWR | O_CLOEXEC);

	cr_assert_eq(pwrite(fd, world->head, HEAD_BYTES, 0), HEAD_BYTES);
	close(fd);
}

Test(key_slots, a_rotation_cut_short_leaves_the_old_key_or_the_new_one_and_never_none)
{
	struct world *world = world_new();
	const struct key_change rotation = {
		.kind = KEY_CHANGE_ROTATE,
		.new_secret = world->new,
		.now_s = NOW_S,
	};
	unsigned int seen[2][2] = { 0 };
	unsigned int nr_ops = 0;
	bool through = false;

	for (; !through && nr_ops < OPS_MAX; nr_ops++) {
		for (unsigned int tear = 0; tear < TEARS; tear++) {
			bool old, new;

			restore_head(world);
			through = change_and_cut(world, &rotation, nr_ops, tear);
			old = opens(world, world->old);
			new = opens(world, world->new);
			cr_expect(old || new, "none opens it: cut at %u, torn %u", nr_ops, tear);
			cr_expect(!through || (new && !old));
			seen[old][new]++;
		}
	}
	cr_expect(through);
	cr_expect_eq(nr_ops - 1, 8, "operations: %u", nr_ops - 1);
	cr_expect_gt(seen[1][0], 0);
	cr_expect_gt(seen[1][1], 0);
	cr_expect_gt(seen[0][1], 0);
	world_free(world);
}

Test(key_slots, a_removal_cut_short_touches_no_other_slot)
{
	struct world *world = world_new();
	const struct key_change addition = { .kind = KEY_CHANGE_ADD, .new_secret = world->new };
	const struct key_change removal = { .kind = KEY_CHANGE_REMOVE, .slot = 1 };
	struct key_change_result result;
	bool through = false;

	cr_assert_eq(change(world, world->old, &addition, &result), 0);
	cr_assert_eq(open_image(world, world->old), 0);
	cr_assert_eq(pread(world->image->store.fd, world->head, HEAD_BYTES, 0), HEAD_BYTES);
	close_image(world);
	for (unsigned int nr_ops = 0; !through && nr_ops < OPS_MAX; nr_ops++) {
		for (unsigned int tear = 0; tear < TEARS; tear++) {
			restore_head(world);
			through = change_and_cut(world, &removal, nr_ops, tear);
			cr_expect(opens(world, world->old), "cut at %u, torn %u", nr_ops, tear);
			cr_expect(!through || !opens(world, world->new));
		}
	}
	cr_expect(through);
	world_free(world);
}

/* ---- what it does and refuses ------------------------------------------------ */

Test(key_slots, a_rotation_goes_on_where_a_crash_left_both_keys)
{
	struct world *world = world_new();
	const struct key_change addition = { .kind = KEY_CHANGE_ADD, .new_secret = world->new };
	const struct key_change rotation = { .kind = KEY_CHANGE_ROTATE, .new_secret = world->new };
	struct key_change_result result;

	cr_assert_eq(change(world, world->old, &addition, &result), 0);
	cr_expect(result.added);
	cr_expect_eq(result.nr_slots_left, 2);
	cr_assert_eq(change(world, world->old, &rotation, &result), 0);
	cr_expect(!result.added && result.removed);
	cr_expect_eq(result.old_slot, 0);
	cr_expect_eq(result.new_slot, 1);
	cr_expect(!opens(world, world->old) && opens(world, world->new));
	world_free(world);
}

Test(key_slots, a_given_secret_must_open_a_slot_and_is_the_one_that_is_rotated)
{
	struct world *world = world_new();
	struct key_change what = { .kind = KEY_CHANGE_ADD, .new_secret = world->new };
	struct key_change_result result;

	cr_assert_eq(change(world, world->old, &what, &result), 0);
	what = (struct key_change){ .kind = KEY_CHANGE_ROTATE,
				    .secret = world->third,
				    .new_secret = world->third };
	cr_expect_eq(change(world, world->old, &what, &result), -EKEYREJECTED);
	what.kind = KEY_CHANGE_ADD;
	cr_expect_eq(change(world, world->old, &what, &result), -EKEYREJECTED);
	cr_expect(!opens(world, world->third));
	what.kind = KEY_CHANGE_ROTATE;
	what.secret = world->new;
	cr_expect_eq(change(world, world->old, &what, &result), 0);
	cr_expect_eq(result.old_slot, 1);
	cr_expect(opens(world, world->old) && !opens(world, world->new));
	cr_expect(opens(world, world->third));
	world_free(world);
}

Test(key_slots, the_last_one_goes_only_with_the_data)
{
	struct world *world = world_new();
	struct key_change what = { .kind = KEY_CHANGE_REMOVE, .slot = 0 };
	struct key_change_result result;
	uint8_t wrapped[SEAL_IMAGE_KEY_BYTES];
	uint8_t after[HEAD_BYTES];
	int fd;

	cr_assert_eq(open_image(world, world->old), 0);
	memcpy(wrapped, world->image->keyring.slots[0].wrapped, sizeof(wrapped));
	close_image(world);
	cr_expect_not_null(memmem(world->head, HEAD_BYTES, wrapped, sizeof(wrapped)));

	cr_expect_eq(change(world, world->old, &what, &result), -EINVAL);
	cr_expect(opens(world, world->old));
	what.destroy_data = true;
	cr_expect_eq(change(world, world->old, &what, &result), 0);
	cr_expect_eq(result.nr_slots_left, 0);
	cr_expect(!opens(world, world->old));
	cr_expect_not_null(strstr(world->problem.text, "its data was destroyed"));

	fd = open("image", O_RDONLY | O_CLOEXEC);
	cr_assert_eq(pread(fd, after, HEAD_BYTES, 0), HEAD_BYTES);
	close(fd);
	cr_expect_null(memmem(after, HEAD_BYTES, wrapped, sizeof(wrapped)));
	world_free(world);
}

Test(key_slots, destroy_data_does_not_go_for_one_of_several)
{
	struct world *world = world_new();
	const struct key_change addition = { .kind = KEY_CHANGE_ADD, .new_secret = world->new };
	const struct key_change removal = { .kind = KEY_CHANGE_REMOVE, .destroy_data = true };
	struct key_change_result result;

	cr_assert_eq(change(world, world->old, &addition, &result), 0);
	cr_expect_eq(change(world, world->old, &removal, &result), -EINVAL);
	cr_expect(opens(world, world->old) && opens(world, world->new));
	world_free(world);
}

Test(key_slots, an_image_that_is_not_writable_keeps_its_slots)
{
	struct world *world = world_new();
	const struct key_change addition = { .kind = KEY_CHANGE_ADD, .new_secret = world->new };
	struct key_change_result result;

	cr_assert_eq(open_image(world, world->old), 0);
	world->image->writable = false;
	cr_expect_eq(image_change_keys(world->image, &addition, &result, &world->problem), -EROFS);
	close_image(world);
	cr_expect(!opens(world, world->new));
	world_free(world);
}
