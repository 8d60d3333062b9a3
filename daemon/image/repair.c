/* SPDX-License-Identifier: MIT */
/*
 * Repairing an image: see repair.h for what is done, and why that is safe.
 *
 * repair_image -> settle -> check_run, which calls back here -> check_run again
 */
#include "image/repair.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/check_state.h"
#include "image/superblock.h"

struct repair {
	const struct repair_order *order;
	struct problem *problem;
	uint64_t nr_repairs;
	bool recover_first;
	bool cannot_punch; /* the file system has no holes */
	int error;	   /* the first of a write or fdatasync: nothing is written any more */
};

/* ---- writing ---- */

static void fail(struct repair *repair, const char *what, int error)
{
	repair->error = error;
	problem_set(repair->problem, "image", repair->order->check.path,
		    "repair stopped, %s: %s; what was told as repaired until then is", what,
		    strerror(-error));
}

static int run(struct repair *repair, struct ring_op *op)
{
	int r;

	op->fd = repair->order->check.store->fd;
	r = ring_run(repair->order->check.ring, op);
	return r < 0 ? r : 0;
}

static bool sync_all(struct repair *repair)
{
	struct ring_op op = { .kind = RING_FDATASYNC };
	int r = run(repair, &op);

	if (r < 0)
		fail(repair, "the image cannot be synced", r);
	return r == 0;
}

/* @bytes: of a copy that counts, over one that does not. Durable when it returns true. */
static bool overwrite(struct repair *repair, uint64_t offset_bytes, const void *bytes,
		      uint32_t nr_bytes)
{
	union {
		const void *in;
		uint8_t *out; /* a WRITE only reads it */
	} data = { .in = bytes };
	struct ring_op op = {
		.kind = RING_WRITE,
		.offset_bytes = offset_bytes,
		.data = data.out,
		.bytes = nr_bytes,
	};
	int r = run(repair, &op);

	if (r < 0)
		fail(repair, "the image cannot be written", r);
	return r == 0 && sync_all(repair);
}

static void tell(struct repair *repair, const struct check_finding *where, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

static void tell(struct repair *repair, const struct check_finding *where, const char *fmt, ...)
{
	struct repair_deed deed = {
		.offset_bytes = where->offset_bytes,
		.nr_bytes = where->nr_bytes,
	};
	va_list args;

	memcpy(deed.subject, where->subject, sizeof(deed.subject));
	va_start(args, fmt);
	vsnprintf(deed.what, sizeof(deed.what), fmt, args);
	va_end(args);
	repair->nr_repairs++;
	repair->order->tell_deed(repair->order->arg, &deed);
}

/*
 * Everything hangs on the superblock and the keyring that count: while either
 * is not authentic, or not understood, nothing is believed that they say.
 */
static bool may_write(const struct check *check)
{
	const struct check_choice *super = &check->super_choice;
	const struct check_choice *ring = &check->keyring_choice;

	return check->repair && !check->repair->recover_first && check->repair->error == 0 &&
	       check->result.has_macs && super->right[super->best] && ring->right[ring->best] &&
	       le64_get(check->super->feature_ro_compat) == 0;
}

/* ---- what stands there twice ---- */

/* @copies: both, @nr_bytes each; @newer: the one that counts is of a higher generation. */
static void repair_copies(struct check *check, const char *name, const uint64_t places[2],
			  const void *const copies[2], uint32_t nr_bytes,
			  const struct check_choice *choice, bool newer)
{
	struct check_finding where;
	int good = choice->best, bad = !good;

	if (!may_write(check) || good < 0 || !choice->right[good])
		return;
	/* Whole, and not an authentic older one: somebody has made it so. */
	if (choice->whole[bad] && !(choice->right[bad] && newer))
		return;
	if (!overwrite(check->repair, places[bad], copies[good], nr_bytes))
		return;
	check_locate(&where, places[bad], nr_bytes, "%s %c", name, 'A' + bad);
	tell(check->repair, &where, "copied from %s %c", name, 'A' + good);
}

/* Not closed since it was last opened, in this boot? */
static bool is_open_here(const struct check_order *order, const struct seal_superblock *super)
{
	return super->open_state == SEAL_UNCLEAN &&
	       memcmp(super->boot_id, order->boot_id, SEAL_UUID_BYTES) == 0;
}

static bool is_newer(le64 a, le64 b)
{
	return le64_get(a) > le64_get(b);
}

void repair_headers(struct check *check)
{
	static const uint64_t super_places[2] = { SEAL_SUPERBLOCK_A, SEAL_SUPERBLOCK_B };
	static const uint64_t keyring_places[2] = { SEAL_KEYRING_A, SEAL_KEYRING_B };
	static const uint64_t names_places[2] = { SEAL_NAMES_A, SEAL_NAMES_B };
	const void *const supers[2] = { &check->supers[0], &check->supers[1] };
	const void *const keyrings[2] = { &check->keyrings[0], &check->keyrings[1] };
	const void *const names[2] = { &check->names[0], &check->names[1] };
	int i = check->super_choice.best;

	/* The disk may say what the cache did not. */
	if (check->repair && is_open_here(check->order, check->super))
		check->repair->recover_first = true;
	repair_copies(check, "superblock", super_places, supers, SEAL_SUPERBLOCK_BYTES,
		      &check->super_choice,
		      is_newer(check->supers[i].generation, check->supers[!i].generation));
	i = check->keyring_choice.best > 0;
	repair_copies(check, "keyring", keyring_places, keyrings, SEAL_KEYRING_BYTES,
		      &check->keyring_choice,
		      is_newer(check->keyrings[i].generation, check->keyrings[!i].generation));
	i = check->names_choice.best > 0;
	repair_copies(check, "name/value area", names_places, names, SEAL_NAMES_BYTES,
		      &check->names_choice,
		      is_newer(check->names[i].generation, check->names[!i].generation));
}

/* ---- pairs of slots ---- */

/*
 * Does a damaged slot say that it was newer than @good? Then it may be no copy
 * of it, but entries that are in no other place. Rot in the generation alone
 * leaves the MAC as it is in @good, and noise names a session there never was.
 */
static bool may_have_been_newer(const struct check *check, const struct seal_block *bad,
				const struct seal_block *good)
{
	return is_newer(bad->generation, good->generation) &&
	       le64_get(bad->generation) >> SEAL_ROUND_BITS <= le64_get(check->super->open_seq) &&
	       memcmp(bad->mac, good->mac, sizeof(bad->mac)) != 0;
}

/* The slot of the pair that the other one is to be made like, or -1. */
static int choose_slot(const struct check *check, const struct block_identity *id)
{
	const struct seal_block *pair = check->pair;
	bool whole[2];
	int good;

	for (int i = 0; i < 2; i++) {
		whole[i] = block_is_whole(&pair[i]);
		/* Whole and wrong: somebody has made it so, and its twin is not believed. */
		if (whole[i] && block_check(&pair[i], id, check->mac) < 0)
			return -1;
	}
	if (whole[0] && whole[1]) {
		if (is_newer(pair[0].generation, pair[1].generation))
			return 0;
		return is_newer(pair[1].generation, pair[0].generation) ? 1 : -1;
	}
	if (!whole[0] && !whole[1])
		return -1;
	good = whole[1];
	return may_have_been_newer(check, &pair[!good], &pair[good]) ? -1 : good;
}

int repair_pair(struct check *check, const struct check_pair *pair, const struct block_identity *id)
{
	struct check_finding where;
	int good;

	if (!may_write(check) || check->result.unclean)
		return -1;
	good = choose_slot(check, id);
	if (good < 0 ||
	    !overwrite(check->repair, pair->offset_bytes + (uint64_t)!good * SEAL_BLOCK_BYTES,
		       &check->pair[good], SEAL_BLOCK_BYTES))
		return -1;
	check_locate_pair(&where, pair, !good);
	tell(check->repair, &where, "copied from slot %d", good);
	return good;
}

/* ---- places in the planes ---- */

bool repair_punch(struct check *check, uint64_t offset_bytes, uint64_t nr_bytes)
{
	struct ring_op op = {
		.kind = RING_PUNCH,
		.offset_bytes = offset_bytes,
		.range_bytes = nr_bytes,
	};
	int r;

	if (!may_write(check) || check->result.unclean || check->repair->cannot_punch)
		return false;
	r = run(check->repair, &op);
	if (r == -EOPNOTSUPP)
		check->repair->cannot_punch = true;
	else if (r < 0)
		fail(check->repair, "superseded data cannot be punched out", r);
	return r == 0;
}

void repair_punched(struct check *check, const struct check_finding *where, uint64_t nr_sectors)
{
	if (check->repair->error < 0 || !sync_all(check->repair))
		return;
	tell(check->repair, where, "%" PRIu64 " sectors punched out", nr_sectors);
}

/* ---- all of it ---- */

/*
 * Does either superblock, as the cache has it, say so? Returns false when there
 * is none: then nothing can be repaired, and nothing is to be synced.
 */
static bool look_at_supers(struct repair *repair)
{
	static const uint64_t places[2] = { SEAL_SUPERBLOCK_A, SEAL_SUPERBLOCK_B };
	const struct check_order *order = &repair->order->check;
	struct seal_superblock super;
	bool found = false;

	repair->recover_first = false;
	for (int i = 0; i < 2; i++) {
		struct ring_op op = {
			.kind = RING_READ,
			.offset_bytes = places[i],
			.data = (uint8_t *)&super,
			.bytes = sizeof(super),
		};
		enum superblock_verdict verdict = run(repair, &op) < 0 ? SUPERBLOCK_NO_MAGIC
								       : superblock_check(&super);

		if (verdict == SUPERBLOCK_NO_MAGIC || verdict == SUPERBLOCK_BAD_CRC)
			continue;
		found = true;
		repair->recover_first |= is_open_here(order, &super);
	}
	return found;
}

/*
 * A daemon that was killed may have left a newer copy in the cache only, and one
 * whose fsync failed may have left there what the disk never got.
 */
static bool settle(struct repair *repair)
{
	int r;

	if (!sync_all(repair))
		return false;
	r = store_drop_cache(repair->order->check.store);
	if (r < 0)
		fail(repair, "what the disk holds cannot be read", r);
	return r == 0;
}

/* *base_broken: of the pass before, and then of this one. */
static int pass(const struct check_order *order, struct repair *repair, bool *base_broken,
		struct check_result *ret_result, struct problem *problem)
{
	struct check *check = calloc(1, sizeof(*check));
	int r;

	if (check) {
		check->order = order;
		check->repair = repair;
		check->problem = problem;
		check->base_known = !*base_broken;
		r = check_run(check);
		*ret_result = check->result;
		*base_broken = check->base_broken;
		check_done(check);
		free(check);
	} else {
		r = -ENOMEM;
	}
	if (r == -ENOMEM)
		problem_set(problem, "image", order->path, "no memory to repair it");
	return r;
}

int repair_image(const struct repair_order *order, struct repair_result *ret_result,
		 struct problem *problem)
{
	struct repair repair = { .order = order, .problem = problem };
	struct check_order again = order->check;
	bool base_broken = true; /* as far as is known */
	int r;

	*ret_result = (struct repair_result){ 0 };
	if (look_at_supers(&repair) && !repair.recover_first && !settle(&repair))
		return repair.error;
	r = pass(&order->check, &repair, &base_broken, &ret_result->found, problem);
	ret_result->nr_repairs = repair.nr_repairs;
	ret_result->recover_first = repair.recover_first;
	ret_result->left = ret_result->found;
	if (r < 0 || repair.error < 0)
		return r < 0 ? r : repair.error;
	if (repair.nr_repairs == 0)
		return 0;
	again.tell = order->tell_left;
	again.arg = order->arg;
	return pass(&again, NULL, &base_broken, &ret_result->left, problem);
}
