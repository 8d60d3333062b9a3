/* SPDX-License-Identifier: MIT */
/* Holding back what changes the disk of an image, for an instant, under load. */
#ifndef HOLD_H
#define HOLD_H

#include "image/image.h"

/*
 * No write and no TRIM of @image begins until server_release_writes(), and those that had
 * begun have ended when this returns; reads go on. With server->changes held, while the
 * workers run. Blocks for as long as the slowest of them takes.
 */
void server_hold_writes(struct image *image);

/* They go on, in the plane that is now the current one. */
void server_release_writes(struct image *image);

#endif
