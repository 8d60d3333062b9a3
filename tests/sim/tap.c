/* SPDX-License-Identifier: MIT */
/* A ring in front of another one: see tap.h. */
#include "sim/tap.h"

static struct tap *tap_of(struct ring *ring)
{
	return CONTAINER_OF(ring, struct tap, ring);
}

static void tap_submit(struct ring *ring, struct ring_op *op)
{
	ring_submit(tap_of(ring)->inner, op);
}

static int tap_wait(struct ring *ring, int timeout_ms)
{
	struct tap *tap = tap_of(ring);
	int r;

	if (tap->moment)
		tap->moment(tap->arg);
	r = ring_wait(tap->inner, timeout_ms);
	ring->nr_in_flight = tap->inner->nr_in_flight;
	return r;
}

static void tap_free(struct ring *ring)
{
	ring_free(tap_of(ring)->inner);
}

static const struct ring_ops tap_ops = {
	.submit = tap_submit,
	.wait = tap_wait,
	.free = tap_free,
};

void tap_init(struct tap *tap, struct ring *inner)
{
	*tap = (struct tap){ .ring = { .ops = &tap_ops }, .inner = inner };
}
