/* SPDX-License-Identifier: MIT */
/*
 * A picture of a disk by state: a grid of cells, row by row from the disk's
 * first byte to its last, as a standalone SVG 1.1 file without scripts. The same
 * disk in the same state gives the same bytes.
 *
 * A cell is filled like a glass: what is worst lies at the bottom, and shows
 * even when it is a single sector. Colours are told apart by the colour-blind.
 */
#ifndef TOOLS_PICTURE_H
#define TOOLS_PICTURE_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#include "base/compiler.h"
#include "control/report.h"

enum { PICTURE_CELLS_MAX = 8192 };

struct picture {
	uint64_t disk_sectors;
	uint64_t cell_sectors; /* a power of two */
	uint32_t nr_cells;
	uint64_t (*cells)[REPORT_STATES]; /* sectors by state, of each cell */
	uint64_t sectors[REPORT_STATES];  /* of the whole disk */
};

/* @disk_sectors: not 0. Returns 0 (picture_done() it) or -ENOMEM. */
int MUST_CHECK picture_init(struct picture *picture, uint64_t disk_sectors);

/* Accepts a zeroed struct. */
void picture_done(struct picture *picture);

/* A report_extent_fn; @arg: the picture. What lies past the disk's end is left out. Returns 0. */
int picture_add(void *arg, uint64_t first_sector, uint64_t nr_sectors, enum report_state state);

/*
 * Write it. @name: of the image, any bytes. @info: of the image, as
 * report_info_json(). Whether all was written ferror() tells.
 */
void picture_print(const struct picture *picture, const char *name, const json_t *info, FILE *to);

#endif
