/* SPDX-License-Identifier: MIT */
/*
 * What requests need to know of the image they go to. Frozen while it is served,
 * except what is marked atomic.
 */
#ifndef REQUEST_DISK_H
#define REQUEST_DISK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "map/map.h"
#include "request/base_place.h"

struct moment;

struct disk {
	struct map map;
	/*
	 * What the disk was at one instant, held for an export; NULL: nothing is. Set
	 * between map_switch_begin(), whose waiter has been woken, and map_switch_end().
	 */
	_Atomic(struct moment *) moment;
	_Atomic bool revoked; /* the keys are not to be used: new requests answer EPERM */
	uint64_t nr_sectors;
	uint32_t nr_tib; /* TiBs begun: XTS keys per sealed plane */
	/*
	 * A base that is its file: sector n is at byte 512 n of @base_fd, up to
	 * @base_data_bytes. -1: no base, or one in pieces: then @base_locate tells
	 * where sectors are, as base_locate() in image/base.h.
	 */
	int base_fd;
	bool base_in_memory;
	uint64_t base_data_bytes;
	int (*base_locate)(const void *base, uint64_t first_sector, uint64_t limit_sectors,
			   struct base_place *ret_place);
	const void *base;
};

#endif
