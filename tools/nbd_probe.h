/* SPDX-License-Identifier: MIT */
/*
 * Does each connection of a device of the kernel's NBD client answer? Linux (6.1 was
 * looked at) receives the replies of each connection in a work item that never ends while
 * it is connected. Where making another kernel thread takes a little too long, as when a
 * system starts, the work queue's rescue thread gets them all, and runs one after the
 * other: then only the first connection is ever listened to.
 */
#ifndef TOOLS_NBD_PROBE_H
#define TOOLS_NBD_PROBE_H

#include <stdbool.h>
#include <sys/types.h>

#include "nbd_link.h"

struct nbd_probe {
	pid_t readers[NBD_LINK_SOCKETS_MAX]; /* 0: has ended */
	unsigned int nr_readers;
};

/* Start a process for each connection of /dev/nbd@index that reads through it. */
void nbd_probe_begin(struct nbd_probe *probe, unsigned int index, unsigned int nr_connections);

/* Have all of them got an answer? Waits for that, 10 s at most. */
bool nbd_probe_wait(struct nbd_probe *probe);

/* Wait for those that are left: they end when the device is disconnected. */
void nbd_probe_end(struct nbd_probe *probe);

#endif
