/* SPDX-License-Identifier: MIT */
/*
 * Checking an image that was not closed: the dirty file of the daemon that was
 * killed (docs/format.md 7), which holds the writes that were acknowledged and
 * are not in the durable map. Only looked at, by the rules of image_start().
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "image/check_state.h"
#include "map/dirty_file.h"

struct sum {
	uint64_t nr_records;
	uint64_t nr_sectors;
};

static void count_record(void *arg, uint64_t first_sector, uint32_t nr_sectors, uint8_t entry)
{
	struct sum *sum = arg;

	(void)first_sector;
	(void)entry;
	sum->nr_records++;
	sum->nr_sectors += nr_sectors;
}

static void tell_loss(struct check *check, const char *what)
{
	struct check_finding finding = { 0 };

	check_locate(&finding, CHECK_NOWHERE, 0, "dirty file");
	check_means(&finding, "writes that were acknowledged but not flushed may be lost, and the "
			      "image is refused; what was flushed is there");
	check_advise(&finding, "bring the file back if it was moved; or serve the image with "
			       "--accept-loss, to go on without them");
	check_tell(check, &finding, CHECK_PROBLEM, "in %s %s", check->order->dirty_place, what);
}

static void tell_unreadable(struct check *check, int error)
{
	struct check_finding finding = { 0 };

	check_locate(&finding, CHECK_NOWHERE, 0, "dirty file");
	check_means(&finding, "whether acknowledged writes are lost is unknown");
	check_advise(&finding, "check the image as the user who serves it");
	check_tell(check, &finding, CHECK_PROBLEM, "in %s cannot be opened: %s",
		   check->order->dirty_place, strerror(-error));
}

/* It is right: what it holds has not been lost. */
static void tell_records(struct check *check, const struct dirty_file *dirty)
{
	struct check_finding finding = { 0 };
	struct sum sum = { 0 };

	dirty_file_replay(dirty, count_record, &sum);
	check_locate(&finding, CHECK_NOWHERE, 0, "dirty file");
	check_means(&finding, "no acknowledged write is lost, as long as this host is not booted "
			      "anew");
	check_advise(&finding, "serve the image once: it is merged when the image is opened");
	check_tell(check, &finding, CHECK_NOTE,
		   "in %s is there: %" PRIu64 " records of %" PRIu64 " sectors%s",
		   check->order->dirty_place, sum.nr_records, sum.nr_sectors,
		   check->mac ? "" : " (its MAC not checked)");
}

/* Why dirty_file_adopt() has refused it. */
static const char *fault_of(const struct dirty_header *header, const struct dirty_identity *id)
{
	if (memcmp(header->magic, DIRTY_FILE_MAGIC, sizeof(header->magic)) != 0)
		return "is no dirty file";
	if (memcmp(header->uuid, id->uuid, SEAL_UUID_BYTES) != 0)
		return "is of another image";
	if (memcmp(header->open_nonce, id->open_nonce, SEAL_NONCE_BYTES) != 0 ||
	    memcmp(header->boot_id, id->boot_id, SEAL_UUID_BYTES) != 0)
		return "is of another session: the image has been put back to an older state";
	if (le64_get(header->image_inode) != id->image_inode)
		return "belongs to another file: this image is a copy of the one that was served";
	return "has a wrong MAC: it is damaged, or somebody without the key has changed it";
}

static void check_found(struct check *check, void *memory)
{
	const struct seal_superblock *super = check->super;
	struct dirty_identity id = {
		.uuid = super->uuid,
		.open_nonce = super->open_nonce,
		.boot_id = super->boot_id,
		.image_inode = check->order->store->inode,
		.mac_key_id = le64_get(super->mac_key_id),
	};
	struct dirty_file dirty;
	int r = dirty_file_adopt(&dirty, memory, &id, check->mac);

	if (r == -ESTALE)
		tell_loss(check, "was voided: a write or fsync had failed");
	else if (check_is_forged(check, r))
		tell_loss(check, fault_of(memory, &id));
	else if (r == 0)
		tell_records(check, &dirty);
}

void check_dirty(struct check *check)
{
	struct dirty_store *store = check->order->dirty_store;
	void *memory;
	int r;

	/* In another boot it is gone with the page cache, as it should: the map's note says so. */
	if (!check->result.unclean || !store ||
	    memcmp(check->super->boot_id, check->order->boot_id, SEAL_UUID_BYTES) != 0)
		return;
	r = store->ops->find(store, check->super->uuid, check->super->open_nonce, &memory);
	if (r == -ENOENT)
		tell_loss(check, "is missing, or of a wrong length");
	else if (r < 0)
		tell_unreadable(check, r);
	else
		check_found(check, memory);
	if (r == 0)
		store->ops->release(store, memory);
}
