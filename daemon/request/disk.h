/* SPDX-License-Identifier: MIT */
/* What requests need to know of the image they go to. Frozen while it is served. */
#ifndef REQUEST_DISK_H
#define REQUEST_DISK_H

#include <stdint.h>

#include "map/map.h"

struct disk {
	struct map map;
	uint64_t nr_sectors;
	uint32_t nr_tib;		/* TiBs begun: XTS keys per sealed plane */
	int base_fd;			/* -1: no base */
	uint64_t base_data_bytes;	/* of the base's file that are disk data */
};

#endif
