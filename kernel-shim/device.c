// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices by name. One lives from the first target that names it to the last, and its
 * memory until the last file of its node is closed.
 */
#include "shim.h"

#include <linux/cred.h>
#include <linux/idr.h>
#include <linux/slab.h>

enum { MINORS = 4096 };

/* One line of a table: what target->private is. */
struct shim_target {
	struct list_head list; /* in device->targets */
	struct dm_target *ti;
};

/* Which devices there are, and the targets of each. Taken before shim_sessions_lock. */
static DEFINE_MUTEX(shim_devices_lock);
static LIST_HEAD(devices);
static DEFINE_IDA(minors);
static dev_t first_number;
static struct class *class;

static void device_release(struct device *dev)
{
	struct shim_device *device = container_of(dev, struct shim_device, dev);

	ida_free(&minors, MINOR(dev->devt) - MINOR(first_number));
	kfree(device);
}

static struct shim_device *find_device(const char *name)
{
	struct shim_device *device;

	list_for_each_entry(device, &devices, list)
		if (strcmp(device->name, name) == 0)
			return device;
	return NULL;
}

/* ---- a new one ---- */

static struct shim_device *alloc_device(struct dm_target *ti, const struct shim_table *table)
{
	struct shim_device *device = kzalloc(sizeof(*device), GFP_KERNEL);

	if (!device)
		return NULL;
	strscpy(device->name, table->name, sizeof(device->name));
	device->md = dm_table_get_md(ti->table);
	device->owner = current_euid();
	device->nr_sectors = ti->len;
	device->queue_depth = table->queue_depth;
	device->max_io_bytes = table->max_io_kib << 10;
	device->writable = dm_table_get_mode(ti->table) & FMODE_WRITE;
	device->timeout_s = table->timeout_s;
	INIT_LIST_HEAD(&device->targets);
	INIT_LIST_HEAD(&device->waiting);
	spin_lock_init(&device->lock);
	ratelimit_state_init(&device->complaints, 5 * HZ, 2 * SHIM_MISTAKES);
	INIT_DELAYED_WORK(&device->timeout_work, shim_timeout_work);
	return device;
}

static int add_node(struct shim_device *device)
{
	int minor = ida_alloc_max(&minors, MINORS - 1, GFP_KERNEL);
	int r;

	if (minor < 0) {
		kfree(device);
		return minor;
	}
	device_initialize(&device->dev);
	device->dev.class = class;
	device->dev.devt = MKDEV(MAJOR(first_number), MINOR(first_number) + minor);
	device->dev.release = device_release;
	cdev_init(&device->cdev, &shim_node_fops);
	device->cdev.owner = THIS_MODULE;
	r = dev_set_name(&device->dev, "%s", device->name);
	if (r == 0)
		r = cdev_device_add(&device->cdev, &device->dev);
	if (r < 0)
		put_device(&device->dev);
	return r;
}

static struct shim_device *make_device(struct dm_target *ti, const struct shim_table *table)
{
	struct shim_device *device = alloc_device(ti, table);
	int r;

	if (!device)
		return ERR_PTR(-ENOMEM);
	r = add_node(device);
	if (r < 0) {
		ti->error = "the node cannot be made";
		return ERR_PTR(r);
	}
	list_add_tail(&device->list, &devices);
	spin_lock(&device->lock);
	shim_start_timeout(device);
	spin_unlock(&device->lock);
	return device;
}

/* ---- one that is there ---- */

/* A table that is swapped in may name it again, as it is: there may be a daemon. */
static char *judge_again(const struct shim_device *device, struct dm_target *ti,
			 const struct shim_table *table)
{
	const struct shim_target *target;

	if (device->md != dm_table_get_md(ti->table))
		return "the name is taken by another device";
	list_for_each_entry(target, &device->targets, list)
		if (target->ti->table == ti->table)
			return "the name is in this table twice";
	if (device->nr_sectors != ti->len || device->queue_depth != table->queue_depth ||
	    device->max_io_bytes != table->max_io_kib << 10)
		return "size, queue_depth and max_io_kib of a device stay as they are";
	return NULL;
}

static struct shim_device *get_device_locked(struct dm_target *ti,
					     const struct shim_table *table)
{
	struct shim_device *device = find_device(table->name);
	char *wrong;

	if (!device)
		return make_device(ti, table);
	wrong = judge_again(device, ti, table);
	if (wrong) {
		ti->error = wrong;
		return ERR_PTR(-EBUSY);
	}
	return device;
}

struct shim_device *shim_device_get(struct dm_target *ti, const struct shim_table *table)
{
	struct shim_target *target = kzalloc(sizeof(*target), GFP_KERNEL);
	struct shim_device *device;

	if (!target)
		return ERR_PTR(-ENOMEM);
	mutex_lock(&shim_devices_lock);
	device = get_device_locked(ti, table);
	if (!IS_ERR(device)) {
		target->ti = ti;
		list_add_tail(&target->list, &device->targets);
	}
	mutex_unlock(&shim_devices_lock);
	if (IS_ERR(device))
		kfree(target);
	return device;
}

/* ---- the end ---- */

static void forget_target(struct shim_device *device, struct dm_target *ti)
{
	struct shim_target *target;

	list_for_each_entry(target, &device->targets, list) {
		if (target->ti != ti)
			continue;
		list_del(&target->list);
		kfree(target);
		return;
	}
}

static void remove_device(struct shim_device *device)
{
	list_del(&device->list);
	mutex_lock(&shim_sessions_lock);
	spin_lock(&device->lock);
	device->gone = true;
	spin_unlock(&device->lock);
	/* It cannot be freed before it has ended, which takes this lock. */
	if (device->session)
		shim_session_end(device->session, -ENODEV);
	mutex_unlock(&shim_sessions_lock);
	cancel_delayed_work_sync(&device->timeout_work);
	cdev_device_del(&device->cdev, &device->dev);
	put_device(&device->dev);
}

void shim_device_put(struct shim_device *device, struct dm_target *ti)
{
	mutex_lock(&shim_devices_lock);
	forget_target(device, ti);
	if (list_empty(&device->targets))
		remove_device(device);
	mutex_unlock(&shim_devices_lock);
}

/* ---- the module ---- */

static char *node_name(struct device *dev, umode_t *mode)
{
	if (mode)
		*mode = 0600;
	return kasprintf(GFP_KERNEL, "sealblk/%s", dev_name(dev));
}

int shim_devices_init(void)
{
	int r = alloc_chrdev_region(&first_number, 0, MINORS, "sealblk");

	if (r < 0)
		return r;
	class = class_create(THIS_MODULE, "sealblk");
	if (IS_ERR(class)) {
		unregister_chrdev_region(first_number, MINORS);
		return PTR_ERR(class);
	}
	class->devnode = node_name;
	return 0;
}

void shim_devices_exit(void)
{
	class_destroy(class);
	unregister_chrdev_region(first_number, MINORS);
	ida_destroy(&minors);
}
