/* SPDX-License-Identifier: MIT */
/*
 * What a completion belongs to, as carried in sqe->user_data: a slot number and
 * the slot's reuse count, never a pointer. A completion that comes late or twice
 * names an epoch that has passed, and is dropped without touching the operation.
 */
#ifndef RING_TAG_H
#define RING_TAG_H

#include <stdint.h>

struct ring_tag {
	uint32_t slot;	/* index into the engine's slots */
	uint32_t epoch; /* raised each time the slot is given back */
};

/* Of requests nobody waits for: no table is as long as its slot number. */
#define RING_TAG_NONE UINT64_MAX

static inline uint64_t ring_tag_pack(struct ring_tag tag)
{
	return (uint64_t)tag.slot | (uint64_t)tag.epoch << 32;
}

static inline struct ring_tag ring_tag_unpack(uint64_t user_data)
{
	return (struct ring_tag){
		.slot = (uint32_t)user_data,
		.epoch = (uint32_t)(user_data >> 32),
	};
}

#endif
