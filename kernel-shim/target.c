// SPDX-License-Identifier: GPL-2.0-only
/*
 * dm-sealblk: a device-mapper target whose bios a daemon in user space serves.
 * README.md tells what it is for; this file is its side to device-mapper.
 */
#include "shim.h"

#include <linux/module.h>

struct workqueue_struct *shim_workqueue;

/* device-mapper's texts are not const, but it only prints them. */
static int refuse(struct dm_target *ti, const char *why)
{
	ti->error = (char *)why;
	return -EINVAL;
}

static int target_ctr(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct shim_device *device;
	struct shim_table table;
	const char *wrong = shim_parse_table(argc, argv, &table);

	if (wrong)
		return refuse(ti, wrong);
	device = shim_device_get(ti, &table);
	if (IS_ERR(device)) {
		if (!ti->error)
			ti->error = "no memory";
		return PTR_ERR(device);
	}
	ti->private = device;
	ti->max_io_len = device->max_io_bytes >> SECTOR_SHIFT;
	ti->per_io_data_size = sizeof(struct shim_io);
	ti->num_flush_bios = 1;
	ti->flush_supported = true;
	ti->num_discard_bios = 1;
	ti->discards_supported = true;
	ti->num_write_zeroes_bios = 1;
	return 0;
}

static void target_dtr(struct dm_target *ti)
{
	shim_device_put(ti->private, ti);
}

static int target_map(struct dm_target *ti, struct bio *bio)
{
	struct shim_device *device = ti->private;

	/* The daemon writes these zeros, from the tag's memory. */
	if (bio_op(bio) == REQ_OP_WRITE_ZEROES && bio->bi_opf & REQ_NOUNMAP &&
	    bio_sectors(bio) > ti->max_io_len)
		dm_accept_partial_bio(bio, ti->max_io_len);
	bio->bi_iter.bi_sector = dm_target_offset(ti, bio->bi_iter.bi_sector);
	return shim_queue_bio(device, bio);
}

/* ---- suspending ---- */

/*
 * Without flush, device-mapper takes back what waits here, and sends it again when the
 * device is resumed, perhaps with another table. With flush it waits until all is done:
 * so long as there is no daemon, that is until one comes or the timeout is over.
 */
static void set_handing_back(struct dm_target *ti, bool handing_back)
{
	struct shim_device *device = ti->private;

	spin_lock(&device->lock);
	device->handing_back = handing_back;
	spin_unlock(&device->lock);
	shim_settle(device);
}

static void target_presuspend(struct dm_target *ti)
{
	set_handing_back(ti, dm_noflush_suspending(ti));
}

static void target_presuspend_undo(struct dm_target *ti)
{
	set_handing_back(ti, false);
}

static void target_resume(struct dm_target *ti)
{
	set_handing_back(ti, false);
}

/* ---- dmsetup status, table, message ---- */

static const char *state_of(const struct shim_device *device)
{
	if (device->serving)
		return "serving";
	if (device->failing)
		return "failing";
	return device->session ? "starting" : "waiting";
}

static void target_status(struct dm_target *ti, status_type_t type, unsigned int flags,
			  char *result, unsigned int maxlen)
{
	struct shim_device *device = ti->private;
	unsigned int sz = 0;

	spin_lock(&device->lock);
	switch (type) {
	case STATUSTYPE_INFO:
		DMEMIT("%s %s busy %u waiting %u done %llu daemons %u timeout %u", device->name,
		       state_of(device), device->nr_busy, device->nr_waiting, device->nr_done,
		       device->nr_sessions, device->timeout_s);
		break;
	case STATUSTYPE_TABLE:
		DMEMIT("%s queue_depth %u max_io_kib %u timeout %u", device->name,
		       device->queue_depth, device->max_io_bytes >> 10, device->timeout_s);
		break;
	case STATUSTYPE_IMA:
		DMEMIT_TARGET_NAME_VERSION(ti->type);
		DMEMIT(",name=%s,queue_depth=%u,max_io_kib=%u;", device->name,
		       device->queue_depth, device->max_io_bytes >> 10);
		break;
	}
	spin_unlock(&device->lock);
}

static int target_message(struct dm_target *ti, unsigned int argc, char **argv, char *result,
			  unsigned int maxlen)
{
	struct shim_device *device = ti->private;
	unsigned int timeout_s;
	const char *wrong = shim_parse_message(argc, argv, &timeout_s);

	if (wrong) {
		DMERR("%s: %s", device->name, wrong);
		return -EINVAL;
	}
	spin_lock(&device->lock);
	device->timeout_s = timeout_s;
	shim_start_timeout(device);
	spin_unlock(&device->lock);
	return 0;
}

/* ---- limits ---- */

/* There is no device below; but device-mapper asks nobody else for limits. */
static int target_iterate_devices(struct dm_target *ti, iterate_devices_callout_fn fn, void *data)
{
	return 0;
}

static void target_io_hints(struct dm_target *ti, struct queue_limits *limits)
{
	limits->logical_block_size = SECTOR_SIZE;
	limits->physical_block_size = 4096;
	blk_limits_io_min(limits, 4096);
	blk_limits_io_opt(limits, 4096);
	limits->max_hw_sectors = ti->max_io_len;
	limits->max_sectors = ti->max_io_len;
	limits->discard_granularity = 4096;
	limits->max_hw_discard_sectors = UINT_MAX >> SECTOR_SHIFT;
	limits->max_discard_sectors = limits->max_hw_discard_sectors;
}

static struct target_type target_type = {
	.name = "sealblk",
	.version = { 1, 0, 0 },
	.module = THIS_MODULE,
	.ctr = target_ctr,
	.dtr = target_dtr,
	.map = target_map,
	.presuspend = target_presuspend,
	.presuspend_undo = target_presuspend_undo,
	.resume = target_resume,
	.status = target_status,
	.message = target_message,
	.iterate_devices = target_iterate_devices,
	.io_hints = target_io_hints,
};

static int __init shim_init(void)
{
	int r;

	/* What waits may be what reclaim waits for. */
	shim_workqueue = alloc_workqueue("dm-sealblk", WQ_MEM_RECLAIM, 0);
	if (!shim_workqueue)
		return -ENOMEM;
	r = shim_devices_init();
	if (r == 0) {
		r = dm_register_target(&target_type);
		if (r < 0)
			shim_devices_exit();
	}
	if (r < 0)
		destroy_workqueue(shim_workqueue);
	return r;
}

static void __exit shim_exit(void)
{
	dm_unregister_target(&target_type);
	shim_devices_exit();
	destroy_workqueue(shim_workqueue);
}

module_init(shim_init);
module_exit(shim_exit);

MODULE_DESCRIPTION(DM_NAME " target whose requests a daemon serves");
MODULE_LICENSE("GPL");
