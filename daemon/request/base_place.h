/* SPDX-License-Identifier: MIT */
/* Where sectors of the base are: what requests and the base agree on. */
#ifndef REQUEST_BASE_PLACE_H
#define REQUEST_BASE_PLACE_H

#include <stdbool.h>
#include <stdint.h>

struct base_place {
	uint64_t nr_sectors;   /* alike, from the one asked for on */
	uint64_t stored_bytes; /* of them that are in the file; the rest reads as zeros */
	uint64_t offset_bytes; /* of the first in @fd, if any is stored */
	int fd;
	bool in_memory; /* as struct store says of @fd */
	bool direct;	/* as struct ring_op says of it */
};

static inline bool base_place_is_hole(const struct base_place *place)
{
	return place->stored_bytes == 0;
}

#endif
