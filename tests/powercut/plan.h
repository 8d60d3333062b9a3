/* SPDX-License-Identifier: MIT */
/*
 * What the load on a file system does, step by step: a seed gives all of it, so that
 * whoever checks knows it without being told. Steps count from 1; a step that syncs
 * is followed by a mark with its number.
 */
#ifndef TESTS_POWERCUT_PLAN_H
#define TESTS_POWERCUT_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "sealblk/units.h"

enum {
	TABLE_SECTORS = 96, /* of the file "table", written in step 1 */
	FILE_SECTORS_MAX = 96,
};

enum step_kind {
	STEP_TABLE,   /* writes "table" as a whole, then sectors of it in place */
	STEP_CREATE,  /* a file with the step's number for its name */
	STEP_REMOVE,  /* that of the step @first */
	STEP_REPLACE, /* "state": a new one is written, synced and renamed over the old */
	STEP_APPEND,  /* to "log" */
};

struct step {
	enum step_kind kind;
	bool synced;	  /* fsync of what it changed, and of the folder if that did */
	uint64_t first;	  /* sector in the file; of STEP_REMOVE see there */
	uint64_t nr;	  /* sectors */
	uint64_t gone_by; /* of STEP_CREATE: the step that removes it, or UINT64_MAX */
};

struct plan {
	uint64_t seed;
	uint64_t nr_steps;
	struct step *steps; /* 1 to nr_steps */
};

struct plan plan_of(uint64_t seed, uint64_t nr_steps);

/* Bytes of a sector of the file that STEP_CREATE, or the first step of another kind, began. */
void plan_fill(const struct plan *plan, uint64_t file, uint64_t sector, uint64_t step,
	       uint8_t bytes[SECTOR_BYTES]);

/* The step that wrote them; 0: zeros; UINT64_MAX: neither. */
uint64_t plan_step_of(const struct plan *plan, uint64_t file, uint64_t sector,
		      const uint8_t bytes[SECTOR_BYTES]);

/* Numbers of files that are not named by a step. */
enum { FILE_TABLE = 1 << 24, FILE_STATE, FILE_LOG };

#endif
