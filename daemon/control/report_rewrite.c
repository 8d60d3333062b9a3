/* SPDX-License-Identifier: MIT */
/* How far background rewrites are: see report.h. Reads atomic words only. */
#include <string.h>

#include "control/report.h"

static const char *state_of(const struct image *image, enum seal_rewrite which)
{
	const struct rewrite *rewrite = &image->rewrite;

	if (!(atomic_load(&rewrite->started) & which))
		return "none";
	if (atomic_load(&rewrite->paused) & which)
		return "paused";
	if (!image->started && !atomic_load(&image->disk.revoked))
		return "stopped";
	return atomic_load(&rewrite->jobs) & which ? "running" : "waiting";
}

static json_t *bytes(uint64_t sectors)
{
	return json_integer((json_int_t)sectors_to_bytes(sectors));
}

/* Of the part of the disk not yet looked at, at the present speed; null: unknown. */
static json_t *eta(const struct image *image)
{
	const uint64_t sectors_s = atomic_load(&image->rewrite.sectors_s);
	const uint64_t at_sector = atomic_load(&image->rewrite.at_sector);

	if (!atomic_load(&image->rewrite.jobs) || sectors_s == 0)
		return json_null();
	return json_integer((json_int_t)((image->disk.nr_sectors - at_sector) / sectors_s));
}

json_t *report_rewrite_json(const struct image *image)
{
	const struct rewrite *rewrite = &image->rewrite;
	const int error = atomic_load(&rewrite->error);

	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "encrypt",
			 state_of(image, SEAL_REWRITE_ENCRYPT), "rekey",
			 state_of(image, SEAL_REWRITE_REKEY), "at_bytes",
			 bytes(atomic_load(&rewrite->at_sector)), "disk_bytes",
			 bytes(image->disk.nr_sectors), "moved_bytes",
			 bytes(atomic_load(&rewrite->moved_sectors)), "failed_bytes",
			 bytes(atomic_load(&rewrite->failed_sectors)), "problem",
			 error ? json_string(strerror(-error)) : json_null(), "bytes_s",
			 bytes(atomic_load(&rewrite->sectors_s)), "eta_s", eta(image), "max_rate",
			 json_integer((json_int_t)atomic_load(&rewrite->max_rate)));
}
