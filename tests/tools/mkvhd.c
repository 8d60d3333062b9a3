/* SPDX-License-Identifier: MIT */
/*
 * Writes a fixed VHD for tests and the demo: a stand-in for a marketplace disk.
 *
 * By default the first MiB of every 4 MiB and the disk's last sector hold data,
 * and the rest is holes. Each sector with data begins with a line that names
 * it, so that a misplaced sector and a leak of plaintext both show; noise
 * follows, the same in every run.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/compiler.h"
#include "sealblk/limits.h"
#include "vhd/footer.h"

enum {
	DATA_BYTES = 1 << 20,
	STRIDE_BYTES = 4 << 20,
	DEFAULT_MIB = 64,
	CREATED_S = 0x30000000, /* July 2025: the same footer in every run */
};

struct wanted {
	const char *path;
	uint64_t disk_bytes;
	uint8_t creator[VHD_CREATOR_BYTES];
	bool pattern;
};

static const char usage[] =
	"usage: mkvhd [--creator XXXX] [--size N] [--pattern | --empty] FILE\n"
	"Write a fixed VHD with the same content in every run.\n"
	"\n"
	"  --creator XXXX  creator code, padded with NULs (\"win \")\n"
	"  --size N        of the disk, a multiple of 512; K, M, G, T (64M)\n"
	"  --pattern       data in the first MiB of every 4 and the last sector (default)\n"
	"  --empty         holes only\n"
	"  --help\n";

static int parse_size(const char *text, uint64_t *ret_bytes)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;
	unsigned long long number;
	uint64_t bytes;

	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno != 0 || end == text || *text == '-')
		return -EINVAL;
	bytes = number;
	unit = *end ? strchr(units, *end) : NULL;
	if (*end && (!unit || end[1]))
		return -EINVAL;
	if (unit && __builtin_mul_overflow(number, KIB << (10 * (unit - units)), &bytes))
		return -EINVAL;
	if (bytes == 0 || bytes % SECTOR_BYTES != 0 || bytes > DISK_BYTES_MAX)
		return -EINVAL;
	*ret_bytes = bytes;
	return 0;
}

static int parse_creator(const char *text, uint8_t ret_creator[VHD_CREATOR_BYTES])
{
	if (strlen(text) > VHD_CREATOR_BYTES)
		return -EINVAL;
	memset(ret_creator, 0, VHD_CREATOR_BYTES);
	memcpy(ret_creator, text, strlen(text));
	return 0;
}

/* Fills in @wanted. Exits on --help and on anything wrong. */
static void parse_options(int argc, char **argv, struct wanted *wanted)
{
	static const struct option options[] = {
		{ "creator", required_argument, NULL, 'c' },
		{ "size", required_argument, NULL, 's' },
		{ "pattern", no_argument, NULL, 'p' },
		{ "empty", no_argument, NULL, 'e' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int rc = 0;
	int c;

	while (rc == 0 && (c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'h') {
			fputs(usage, stdout);
			exit(0);
		}
		if (c == 'c')
			rc = parse_creator(optarg, wanted->creator);
		else if (c == 's')
			rc = parse_size(optarg, &wanted->disk_bytes);
		else if (c == 'p' || c == 'e')
			wanted->pattern = c == 'p';
		else
			rc = -EINVAL;
	}
	if (rc < 0 || optind != argc - 1) {
		fputs(usage, stderr);
		exit(2);
	}
	wanted->path = argv[optind];
}

static int write_at(int fd, uint64_t offset_bytes, const uint8_t *bytes, size_t nr_bytes)
{
	while (nr_bytes > 0) {
		ssize_t put = pwrite(fd, bytes, nr_bytes, (off_t)offset_bytes);

		if (put < 0)
			return -errno;
		bytes += put;
		offset_bytes += (uint64_t)put;
		nr_bytes -= (size_t)put;
	}
	return 0;
}

/* A line that names the sector, then xorshift noise seeded by it. */
static void fill_sector(uint64_t sector, uint8_t bytes[SECTOR_BYTES])
{
	uint64_t noise = (sector + 1) * 0x9e3779b97f4a7c15;
	int line_bytes = snprintf((char *)bytes, SECTOR_BYTES,
				  "PLAINTEXT of the base, sector %020" PRIu64 "\n", sector);

	for (size_t i = (size_t)line_bytes; i < SECTOR_BYTES; i++) {
		noise ^= noise << 13;
		noise ^= noise >> 7;
		noise ^= noise << 17;
		bytes[i] = (uint8_t)(noise >> 32);
	}
}

static int write_pattern(int fd, uint64_t first_byte, uint64_t nr_bytes)
{
	static uint8_t chunk[DATA_BYTES];

	for (uint64_t i = 0; i < nr_bytes; i += SECTOR_BYTES)
		fill_sector(bytes_to_sectors(first_byte + i), chunk + i);
	return write_at(fd, first_byte, chunk, nr_bytes);
}

static int write_patterns(int fd, uint64_t disk_bytes)
{
	for (uint64_t at = 0; at < disk_bytes; at += STRIDE_BYTES) {
		int rc = write_pattern(fd, at, min_u64(DATA_BYTES, disk_bytes - at));

		if (rc < 0)
			return rc;
	}
	return write_pattern(fd, disk_bytes - SECTOR_BYTES, SECTOR_BYTES);
}

static int write_footer(int fd, const struct wanted *wanted)
{
	struct vhd_fixed fixed = { .disk_bytes = wanted->disk_bytes, .created_s = CREATED_S };
	struct vhd_footer footer;

	memcpy(fixed.creator_app, wanted->creator, sizeof(fixed.creator_app));
	memcpy(fixed.uuid, "sealblk test VHD", sizeof(fixed.uuid));
	vhd_footer_build(&fixed, &footer);
	return write_at(fd, wanted->disk_bytes, (const uint8_t *)&footer, sizeof(footer));
}

static void closep(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static int write_vhd(const struct wanted *wanted)
{
	CLEANUP(closep) int fd = open(wanted->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	int rc;

	if (fd < 0)
		return -errno;
	rc = wanted->pattern ? write_patterns(fd, wanted->disk_bytes) : 0;
	if (rc < 0)
		return rc;
	return write_footer(fd, wanted);
}

int main(int argc, char **argv)
{
	struct wanted wanted = {
		.disk_bytes = DEFAULT_MIB * MIB,
		.creator = { 'w', 'i', 'n', ' ' },
		.pattern = true,
	};
	int rc;

	parse_options(argc, argv, &wanted);
	rc = write_vhd(&wanted);
	if (rc < 0) {
		fprintf(stderr, "mkvhd: %s: %s\n", wanted.path, strerror(-rc));
		return 1;
	}
	return 0;
}
