/* SPDX-License-Identifier: MIT */
/*
 * A ring in front of another one that calls out whenever the program waits:
 * these are the moments at which a run can be looked at from outside, with
 * everything submitted that the program wanted to submit. What a crash could
 * find between two submissions is among what it may find then, since nothing
 * of what is in flight need have happened.
 */
#ifndef TESTS_SIM_TAP_H
#define TESTS_SIM_TAP_H

#include "ring/ring.h"

struct tap {
	struct ring ring; /* what the program sees */
	struct ring *inner;
	void (*moment)(void *arg); /* NULL: nobody looks */
	void *arg;
};

void tap_init(struct tap *tap, struct ring *inner);

#endif
