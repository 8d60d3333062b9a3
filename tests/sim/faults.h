/* SPDX-License-Identifier: MIT */
/*
 * Errors from below: scripts in which the n-th write, fdatasync, punch or
 * allocation fails, for every n until nothing fails any more, and what must
 * follow (invariants 5 and 7):
 *
 * - a FLUSH or FUA is never answered with success by an fdatasync that failed;
 * - after any failed write or fdatasync of a commit writes and flushes fail for
 *   good, reads go on; a WRITE that met a full disk spoils nothing else, and
 *   with space again everything works without a restart;
 * - opened again, the sectors read as the oracle allows; when acknowledged
 *   writes may be lost, only with --accept-loss.
 */
#ifndef TESTS_SIM_FAULTS_H
#define TESTS_SIM_FAULTS_H

#include "sim/explore.h"

/* Of the scripts for it every @one_in-th; with another geometry than 0 those of fresh disks. */
void faults_run(struct explorer *x, unsigned int geometry, unsigned int one_in);

/* One script. */
void faults_run_script(struct explorer *x, const struct script *script);

/* An image that was not closed, its dirty file gone though the host was not. */
void faults_lose_dirty_file(struct explorer *x);

#endif
