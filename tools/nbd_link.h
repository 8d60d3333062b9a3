/* SPDX-License-Identifier: MIT */
/*
 * The kernel's NBD client by its netlink family "nbd" (include/uapi/linux/nbd-netlink.h
 * and Documentation/ of Linux): connect a device, connect it anew, disconnect it. Wants
 * CAP_SYS_ADMIN. Calls block until the kernel has answered.
 */
#ifndef TOOLS_NBD_LINK_H
#define TOOLS_NBD_LINK_H

#include <stdbool.h>

#include "base/compiler.h"
#include "control/attachment.h"
#include "image/problem.h"
#include "nbd/client.h"

enum { NBD_LINK_SOCKETS_MAX = 4 };

struct nl_sock;

struct nbd_link {
	struct nl_sock *sock;
	int family;
};

/* How a device is to be. */
struct nbd_link_setup {
	struct nbdc_export export;
	int sockets[NBD_LINK_SOCKETS_MAX]; /* connections past the handshake; the caller's still */
	unsigned int nr_sockets;
	unsigned int timeout_s;	  /* until a request is sent again on another connection */
	unsigned int dead_conn_s; /* with no connection left, until requests fail */
	char identity[ATTACH_IDENTITY_BYTES]; /* kept by the kernel with the device */
};

/*
 * Returns 0 (nbd_link_close() it), or -ENODEV: no module nbd; or another negative errno,
 * with *problem.
 */
int MUST_CHECK nbd_link_open(struct nbd_link *link, struct problem *problem);

void nbd_link_close(struct nbd_link *link);

/*
 * Connect a device that nobody uses, or a new one: *ret_index is N of /dev/nbdN. It has
 * its size then. Returns 0 or a negative errno.
 */
int MUST_CHECK nbd_link_connect(const struct nbd_link *link, const struct nbd_link_setup *setup,
				unsigned int *ret_index);

/*
 * Give device @index new connections in place of those that are dead; the others stay.
 * Returns 0; -EINVAL: it is not one of @setup->identity, or was disconnected; or another
 * negative errno.
 */
int MUST_CHECK nbd_link_reconnect(const struct nbd_link *link, unsigned int index,
				  const struct nbd_link_setup *setup);

/* What is under way on it fails. Returns 0, also when it was not connected; or a negative errno. */
int nbd_link_disconnect(const struct nbd_link *link, unsigned int index);

#endif
