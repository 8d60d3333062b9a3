/* SPDX-License-Identifier: MIT */
/* Reads numbers of sectors, one a line, and prints the geometry that each disk gets. */
#include <inttypes.h>
#include <stdio.h>

#include "vhd/geometry.h"

int main(void)
{
	uint64_t sectors;

	while (scanf("%" SCNu64, &sectors) == 1) {
		struct vhd_geometry geometry = vhd_geometry_of(sectors);

		printf("%u/%u/%u\n", be16_get(geometry.cylinders), geometry.heads,
		       geometry.sectors);
	}
	return 0;
}
