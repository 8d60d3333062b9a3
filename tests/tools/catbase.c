/* SPDX-License-Identifier: MIT */
/* Writes the disk of a base to a raw file, by the way that requests take; holes stay holes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "image/base.h"
#include "sealblk/units.h"

static struct base base;
static uint8_t buffer[1 << 20];

static int fail(const char *what, int error)
{
	fprintf(stderr, "catbase: %s: %s\n", what, strerror(-error));
	return 1;
}

static int copy(const struct base_place *place, uint64_t to_bytes, int to)
{
	uint64_t done = 0;

	while (done < place->stored_bytes) {
		size_t nr = (size_t)min_u64(sizeof(buffer), place->stored_bytes - done);
		ssize_t got = pread(place->fd, buffer, nr, (off_t)(place->offset_bytes + done));

		if (got <= 0)
			return got < 0 ? -errno : -EIO;
		if (pwrite(to, buffer, (size_t)got, (off_t)(to_bytes + done)) != got)
			return -EIO;
		done += (uint64_t)got;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static struct problem problem;
	uint64_t at = 0, nr_sectors;
	int to, r;

	if (argc != 3) {
		fputs("usage: catbase BASE RAW\n", stderr);
		return 2;
	}
	r = base_open(&base, open(argv[1], O_RDONLY | O_CLOEXEC), argv[1], BASE_AUTO,
		      &base_opener_direct, &problem);
	if (r < 0) {
		fprintf(stderr, "catbase: %s\n", problem.text);
		return base_is_refused(r) ? 3 : 1;
	}
	nr_sectors = bytes_to_sectors(base.disk_bytes);
	to = open(argv[2], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (to < 0 || ftruncate(to, (off_t)base.disk_bytes) < 0)
		return fail(argv[2], -errno);
	while (at < nr_sectors) {
		struct base_place place;

		r = base_locate(&base, at, nr_sectors - at, &place);
		if (r == 0)
			r = copy(&place, sectors_to_bytes(at), to);
		if (r < 0)
			return fail(argv[1], r);
		at += place.nr_sectors;
	}
	base_close(&base);
	close(to);
	return 0;
}
