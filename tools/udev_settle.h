/* SPDX-License-Identifier: MIT */
/* Waiting for udev to have seen what has become of a block device. */
#ifndef TOOLS_UDEV_SETTLE_H
#define TOOLS_UDEV_SETTLE_H

/*
 * Have udev look at block device @name ("nbd0") again, and wait until it has: its links
 * under /dev/disk are then as the device is. Where no udev runs, and when that has not
 * answered after 10 s, this is all: the device can be used without it.
 */
void udev_settle(const char *name);

#endif
