/* SPDX-License-Identifier: MIT */
/*
 * Waiting for udev: see udev_settle.h. udev takes the events of one device in their
 * order. So one more is made, with a UUID of its own, and once udev has passed that on,
 * it is done with those of the kernel before it.
 */
#include "udev_settle.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-device.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/compiler.h"

enum { PATIENCE_US = 10 * 1000000, ACCURACY_US = 100000 };

static void event_freep(sd_event **event)
{
	sd_event_unref(*event);
}

static void monitor_freep(sd_device_monitor **monitor)
{
	sd_device_monitor_unref(*monitor);
}

static void device_freep(sd_device **device)
{
	sd_device_unref(*device);
}

static int see_event(sd_device_monitor *monitor, sd_device *device, void *wanted)
{
	sd_id128_t id;

	if (sd_device_get_trigger_uuid(device, &id) >= 0 &&
	    sd_id128_equal(id, *(const sd_id128_t *)wanted))
		sd_event_exit(sd_device_monitor_get_event(monitor), 0);
	return 0;
}

void udev_settle(const char *name)
{
	CLEANUP(event_freep) sd_event *event = NULL;
	CLEANUP(monitor_freep) sd_device_monitor *monitor = NULL;
	CLEANUP(device_freep) sd_device *device = NULL;
	sd_id128_t id;

	if (access("/run/udev/control", F_OK) < 0 || sd_event_new(&event) < 0 ||
	    sd_device_monitor_new(&monitor) < 0 ||
	    sd_device_monitor_filter_add_match_subsystem_devtype(monitor, "block", NULL) < 0 ||
	    sd_device_monitor_attach_event(monitor, event) < 0 ||
	    sd_device_monitor_start(monitor, see_event, &id) < 0 ||
	    sd_device_new_from_subsystem_sysname(&device, "block", name) < 0 ||
	    sd_device_trigger_with_uuid(device, SD_DEVICE_CHANGE, &id) < 0 ||
	    sd_event_add_time_relative(event, NULL, CLOCK_MONOTONIC, PATIENCE_US, ACCURACY_US, NULL,
				       NULL) < 0)
		return;
	sd_event_loop(event);
}
