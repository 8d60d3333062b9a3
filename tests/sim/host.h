/* SPDX-License-Identifier: MIT */
/*
 * What the crash tests put in the place of the host, beside files and rings:
 * random numbers that are the same in each run, so that states of different
 * runs can be compared; and, because they open an image millions of times, key
 * memory that is not locked and MACs that nobody is asked to forge. Defined
 * here, these win over those of the archive. All else is what the daemon runs.
 */
#ifndef TESTS_SIM_HOST_H
#define TESTS_SIM_HOST_H

#include <stdint.h>

/*
 * The generator of random numbers is the process's own: whoever runs another
 * world in the middle of one puts it back afterwards. Returns its state before.
 */
uint64_t host_swap_random(uint64_t state);

#endif
