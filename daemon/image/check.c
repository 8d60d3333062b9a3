/* SPDX-License-Identifier: MIT */
/* Checking an image: see check.h. Here: the order of things, and what stands there twice. */
#include "image/check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/check_state.h"
#include "image/superblock.h"
#include "keys/key_mem.h"

/* ---- findings ---- */

void check_locate(struct check_finding *finding, uint64_t offset_bytes, uint64_t nr_bytes,
		  const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(finding->subject, sizeof(finding->subject), fmt, args);
	va_end(args);
	finding->offset_bytes = offset_bytes;
	finding->nr_bytes = nr_bytes;
}

void check_means(struct check_finding *finding, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(finding->means, sizeof(finding->means), fmt, args);
	va_end(args);
}

void check_advise(struct check_finding *finding, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(finding->advice, sizeof(finding->advice), fmt, args);
	va_end(args);
}

void check_tell(struct check *check, struct check_finding *finding, enum check_level level,
		const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(finding->what, sizeof(finding->what), fmt, args);
	va_end(args);
	finding->level = level;
	if (level == CHECK_PROBLEM)
		check->result.nr_problems++;
	else
		check->result.nr_notes++;
	check->order->tell(check->order->arg, finding);
}

int check_read(struct check *check, uint64_t offset_bytes, void *ret_bytes, uint32_t nr_bytes)
{
	struct ring_op op = {
		.kind = RING_READ,
		.fd = check->order->store->fd,
		.offset_bytes = offset_bytes,
		.data = ret_bytes,
		.bytes = nr_bytes,
	};
	int r = ring_run(check->order->ring, &op);

	return r < 0 ? r : 0;
}

/* ---- what stands there twice ---- */

/* Superblock, keyring or name/value area: two copies, of which one counts. */
struct area {
	const char *name;
	const char *lost;   /* what it means when both copies are */
	uint64_t places[2]; /* in the file */
	uint32_t nr_bytes;
	/* NULL: whole; else what is wrong with it. */
	const char *(*fault_of)(const void *copy, const uint8_t uuid[SEAL_UUID_BYTES]);
	uint64_t (*generation_of)(const void *copy);
};

static const char *super_fault(const void *copy, const uint8_t uuid[SEAL_UUID_BYTES])
{
	enum superblock_verdict verdict = superblock_check(copy);

	(void)uuid;
	if (verdict == SUPERBLOCK_NO_MAGIC)
		return "has no magic";
	return verdict == SUPERBLOCK_BAD_CRC ? "has a wrong checksum" : NULL;
}

static uint64_t super_generation(const void *copy)
{
	const struct seal_superblock *super = copy;

	return le64_get(super->generation);
}

static const char *keyring_fault(const void *copy, const uint8_t uuid[SEAL_UUID_BYTES])
{
	const struct seal_keyring *ring = copy;

	if (keyring_check(ring, uuid) == 0)
		return NULL;
	if (memcmp(ring->magic, SEAL_MAGIC_KEYRING, sizeof(ring->magic)) != 0)
		return "has no magic";
	return memcmp(ring->uuid, uuid, SEAL_UUID_BYTES) != 0 ? "is of another image"
							      : "has a wrong checksum";
}

static uint64_t keyring_generation(const void *copy)
{
	const struct seal_keyring *ring = copy;

	return le64_get(ring->generation);
}

static const char *names_fault(const void *copy, const uint8_t uuid[SEAL_UUID_BYTES])
{
	const struct seal_names *names = copy;

	if (names_check(names, uuid) == 0)
		return NULL;
	if (memcmp(names->magic, SEAL_MAGIC_NAMES, sizeof(names->magic)) != 0)
		return "has no magic";
	return memcmp(names->uuid, uuid, SEAL_UUID_BYTES) != 0
		       ? "is of another image"
		       : "has a wrong checksum, or records that contradict each other";
}

static uint64_t names_generation(const void *copy)
{
	const struct seal_names *names = copy;

	return le64_get(names->generation);
}

static const struct area super_area = {
	.name = "superblock",
	.lost = "the image cannot be opened",
	.places = { SEAL_SUPERBLOCK_A, SEAL_SUPERBLOCK_B },
	.nr_bytes = SEAL_SUPERBLOCK_BYTES,
	.fault_of = super_fault,
	.generation_of = super_generation,
};

static const struct area keyring_area = {
	.name = "keyring",
	.lost = "no key opens the image any more, and nothing else can read what is sealed",
	.places = { SEAL_KEYRING_A, SEAL_KEYRING_B },
	.nr_bytes = SEAL_KEYRING_BYTES,
	.fault_of = keyring_fault,
	.generation_of = keyring_generation,
};

static const struct area names_area = {
	.name = "name/value area",
	.lost = "the image cannot be opened: what it says of its base is gone",
	.places = { SEAL_NAMES_A, SEAL_NAMES_B },
	.nr_bytes = SEAL_NAMES_BYTES,
	.fault_of = names_fault,
	.generation_of = names_generation,
};

static void locate_copy(struct check_finding *finding, const struct area *area, int i)
{
	check_locate(finding, area->places[i], area->nr_bytes, "%s %c", area->name, 'A' + i);
}

/* What it is that copy @i is not right when the other one is. */
static void explain_twin(struct check_finding *finding, const struct area *area, int i)
{
	check_means(finding, "copy %c counts, so nothing is lost", 'B' - i);
	check_advise(finding, CHECK_REPAIR " copies that over this one%s",
		     area == &super_area ? "; serving the image does, too" : "");
}

/* Both are whole; @best counts. */
static void compare_copies(struct check *check, const struct area *area,
			   const void *const copies[2], int best)
{
	uint64_t generation = area->generation_of(copies[best]);
	struct check_finding finding = { 0 };
	bool unclean;

	if (memcmp(copies[0], copies[1], area->nr_bytes) == 0)
		return;
	if (generation == area->generation_of(copies[!best])) {
		locate_copy(&finding, area, 1);
		check_means(&finding, "copy A counts, and may not be what was written last");
		check_advise(&finding, CHECK_RESTORE);
		check_tell(check, &finding, CHECK_PROBLEM,
			   "differs from copy A, though both have generation %" PRIu64, generation);
		return;
	}
	/* A crash between the two writes; an open writes both superblocks again. */
	unclean = area == &super_area && check->supers[best].open_state == SEAL_UNCLEAN;
	locate_copy(&finding, area, !best);
	explain_twin(&finding, area, !best);
	check_tell(check, &finding, unclean ? CHECK_NOTE : CHECK_PROBLEM,
		   "is older than its twin: generation %" PRIu64 ", not %" PRIu64,
		   area->generation_of(copies[!best]), generation);
}

static void tell_copy(struct check *check, const struct area *area, int i, bool has_twin,
		      const char *fault)
{
	struct check_finding finding = { 0 };

	locate_copy(&finding, area, i);
	check_means(&finding, "%s", area->lost);
	check_advise(&finding, "%s",
		     area == &super_area ? CHECK_RESTORE ", if this is one" : CHECK_RESTORE);
	if (has_twin)
		explain_twin(&finding, area, i);
	check_tell(check, &finding, CHECK_PROBLEM, "%s", fault);
}

/* Read both copies of an area into @first and @second, and judge them. */
static struct check_choice check_copies(struct check *check, const struct area *area, void *first,
					void *second)
{
	/* Superblocks come first, and say themselves what the uuid is. */
	const uint8_t *uuid = check->super ? check->super->uuid : check->supers[0].uuid;
	struct check_choice choice = { .best = -1 };
	const void *copies[2] = { first, second };
	const char *faults[2];

	for (int i = 0; i < 2; i++) {
		int r = check_read(check, area->places[i], i ? second : first, area->nr_bytes);

		faults[i] = r < 0 ? "cannot be read" : area->fault_of(copies[i], uuid);
		choice.whole[i] = !faults[i];
	}
	if (choice.whole[0] || choice.whole[1])
		choice.best = !choice.whole[0] ||
			      (choice.whole[1] &&
			       area->generation_of(copies[1]) > area->generation_of(copies[0]));
	for (int i = 0; i < 2; i++)
		if (!choice.whole[i])
			tell_copy(check, area, i, choice.best >= 0, faults[i]);
	if (choice.whole[0] && choice.whole[1])
		compare_copies(check, area, copies, choice.best);
	return choice;
}

/* ---- superblocks ---- */

/* Of the copy that counts, which is whole and says that it is sound. */
static void take_super(struct check *check, const struct seal_superblock *super)
{
	check->super = super;
	check->result.unclean = super->open_state == SEAL_UNCLEAN;
	check->nr_sectors = bytes_to_sectors(le64_get(super->disk_bytes));
	check->nr_blocks = le64_get(super->map_blocks);
	for (unsigned int value = 0; value < MAP_VALUES; value++)
		check->plane_born[value] = UINT64_MAX;
	for (unsigned int i = 0; i < PLANES_MAX; i++)
		if (super->planes[i].kind != SEAL_PLANE_NONE)
			check->plane_born[i + SEAL_ENTRY_PLANE_FIRST] =
				le64_get(super->planes[i].born_generation);
}

static void check_supers(struct check *check)
{
	struct check_finding finding = { 0 };
	int best;

	if (check->order->store->bytes < SEAL_BITMAP_START) {
		check_locate(&finding, 0, check->order->store->bytes, "file");
		check_means(&finding, "it cannot be opened");
		check_advise(&finding, CHECK_RESTORE ", if this is one");
		check_tell(check, &finding, CHECK_PROBLEM, "is too short for a sealblk image");
		return;
	}
	check->super_choice =
		check_copies(check, &super_area, &check->supers[0], &check->supers[1]);
	best = check->super_choice.best;
	for (int i = 0; i < 2; i++) {
		enum superblock_verdict verdict = superblock_check(&check->supers[i]);

		if (!check->super_choice.whole[i] || verdict == SUPERBLOCK_GOOD)
			continue;
		locate_copy(&finding, &super_area, i);
		check_means(&finding, i == best ? "it counts, so the image cannot be opened"
						: "it does not count");
		check_advise(&finding, verdict == SUPERBLOCK_GEOMETRY ? CHECK_RESTORE
								      : "use the newer sealblk");
		check_tell(check, &finding, CHECK_PROBLEM, "%s", superblock_verdict_text(verdict));
	}
	if (best < 0 || superblock_check(&check->supers[best]) != SUPERBLOCK_GOOD)
		return;
	take_super(check, &check->supers[best]);
	if (le64_get(check->super->feature_ro_compat) == 0)
		return;
	locate_copy(&finding, &super_area, best);
	check_means(&finding, "this one may only serve the image --read-only");
	check_advise(&finding, "use the newer sealblk for writing");
	check_tell(check, &finding, CHECK_NOTE, "was made by a newer sealblk");
}

/* docs/format.md 2: an image ends where its last plane does, or later. */
static void check_length(struct check *check)
{
	const struct seal_superblock *super = check->super;
	uint64_t plane_bytes =
		superblock_plane_offset(super, 1) - superblock_plane_offset(super, 0);
	uint64_t end_bytes = superblock_plane_offset(super, 0);
	uint64_t bytes = check->order->store->bytes;
	struct check_finding finding = { 0 };

	for (unsigned int i = 0; i < PLANES_MAX; i++) {
		uint64_t plane_end = le64_get(super->planes[i].file_offset_bytes) + plane_bytes;

		if (super->planes[i].kind != SEAL_PLANE_NONE && plane_end > end_bytes)
			end_bytes = plane_end;
	}
	if (bytes >= end_bytes)
		return;
	check_locate(&finding, bytes, end_bytes - bytes, "file");
	check_means(&finding, "what lay behind that is lost, and the image cannot be opened");
	check_advise(&finding, CHECK_RESTORE);
	check_tell(check, &finding, CHECK_PROBLEM, "is cut short: %" PRIu64 " bytes of %" PRIu64,
		   bytes, end_bytes);
}

/* ---- all of it ---- */

int check_run(struct check *check)
{
	int r;

	check_supers(check);
	if (!check->super)
		return 0;
	check_length(check);
	check->keyring_choice =
		check_copies(check, &keyring_area, &check->keyrings[0], &check->keyrings[1]);
	check->names_choice = check_copies(check, &names_area, &check->names[0], &check->names[1]);
	r = check_keys(check);
	if (r == 0)
		r = check_base(check);
	if (r < 0)
		return r;
	repair_headers(check);
	r = check_map(check);
	if (r < 0)
		return r;
	check_dirty(check);
	r = check_places(check);
	if (r == 0 && check->error) {
		problem_set(check->problem, "image", check->order->path,
			    "not all MACs could be checked: %s", strerror(-check->error));
		r = check->error;
	}
	return r;
}

void check_done(struct check *check)
{
	mac_done(&check->mac_ctx);
	key_mem_free(check->keys);
	free(check->written);
	free(check->damaged);
}

static int no_memory(const struct check_order *order, struct problem *problem)
{
	problem_set(problem, "image", order->path, "no memory to check it");
	return -ENOMEM;
}

int check_image(const struct check_order *order, struct check_result *ret_result,
		struct problem *problem)
{
	struct check *check = calloc(1, sizeof(*check));
	int r;

	*ret_result = (struct check_result){ 0 };
	if (!check)
		return no_memory(order, problem);
	check->order = order;
	check->problem = problem;
	r = check_run(check);
	if (r == -ENOMEM)
		no_memory(order, problem);
	*ret_result = check->result;
	check_done(check);
	free(check);
	return r;
}
