/* SPDX-License-Identifier: MIT */
/* Sizes for people: see size_text.h. */
#include "control/size_text.h"

#include <inttypes.h>
#include <stdio.h>

#include "sealblk/units.h"

const char *size_text(uint64_t bytes, char text[SIZE_TEXT_BYTES])
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB" };
	unsigned int unit = 0;
	uint64_t whole = KIB, tenths;

	if (bytes < KIB) {
		snprintf(text, SIZE_TEXT_BYTES, "%" PRIu64 " bytes", bytes);
		return text;
	}
	while (unit < 3 && bytes / whole >= 1024) {
		whole <<= 10;
		unit++;
	}
	tenths = bytes % whole * 10 / whole;
	if (tenths)
		snprintf(text, SIZE_TEXT_BYTES, "%" PRIu64 ".%" PRIu64 " %s", bytes / whole, tenths,
			 units[unit]);
	else
		snprintf(text, SIZE_TEXT_BYTES, "%" PRIu64 " %s", bytes / whole, units[unit]);
	return text;
}
