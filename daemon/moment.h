/* SPDX-License-Identifier: MIT */
/*
 * Moments of disks that are being served, for the control socket: held, read, let go
 * (request/moment.h). One of an image at a time.
 */
#ifndef MOMENT_H
#define MOMENT_H

#include "control/moment.h"
#include "server.h"

/* For struct control_actions. */
extern const struct control_moments server_moments;

/*
 * The keys of @image are being taken away: what was kept under a moment's own goes, too.
 * With server->changes held.
 */
void server_moment_revoke(struct image *image);

#endif
