/* SPDX-License-Identifier: MIT */
#include "powercut/content.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "powercut/util.h"
#include "sealblk/byteorder.h"

#define CONTENT_MAGIC UINT64_C(0x7365616c626c6b21)
#define MARK_MAGIC    UINT64_C(0x7365616c6d61726b)

struct record {
	le64 magic;
	le64 seed;
	le64 sector;
	le64 version;
};

enum { RECORDS = SECTOR_BYTES / sizeof(struct record) };

static void fill(uint8_t *bytes, uint64_t magic, uint64_t seed, uint64_t sector, uint64_t version)
{
	struct record record = { le64_of(magic), le64_of(seed), le64_of(sector), le64_of(version) };

	for (int i = 0; i < RECORDS; i++)
		memcpy(bytes + (size_t)i * sizeof(record), &record, sizeof(record));
}

static enum content read_as(uint64_t magic, const uint8_t *bytes, uint64_t seed, uint64_t sector,
			    uint64_t *ret_version)
{
	uint8_t wanted[SECTOR_BYTES] = { 0 };
	struct record record;
	uint64_t version;

	if (memcmp(bytes, wanted, SECTOR_BYTES) == 0)
		return CONTENT_ZEROS;
	memcpy(&record, bytes, sizeof(record));
	version = le64_get(record.version);
	fill(wanted, magic, seed, sector, version);
	if (memcmp(bytes, wanted, SECTOR_BYTES) != 0)
		return CONTENT_WRONG;
	*ret_version = version;
	return CONTENT_WRITTEN;
}

void content_fill(uint8_t bytes[SECTOR_BYTES], uint64_t seed, uint64_t sector, uint64_t version)
{
	fill(bytes, CONTENT_MAGIC, seed, sector, version);
}

enum content content_read(const uint8_t bytes[SECTOR_BYTES], uint64_t seed, uint64_t sector,
			  uint64_t *ret_version)
{
	return read_as(CONTENT_MAGIC, bytes, seed, sector, ret_version);
}

void mark_write(int fd, uint64_t offset_bytes, uint64_t seed, uint64_t number)
{
	static _Alignas(4096) uint8_t bytes[SECTOR_BYTES];

	fill(bytes, MARK_MAGIC, seed, 0, number);
	must_write(fd, bytes, sizeof(bytes), offset_bytes);
}

uint64_t mark_read(const char *disk, uint64_t offset_bytes, uint64_t seed)
{
	int fd = must_open(disk, O_RDONLY);
	uint8_t bytes[SECTOR_BYTES];
	uint64_t number = 0;

	must_read(fd, bytes, sizeof(bytes), offset_bytes);
	close(fd);
	if (read_as(MARK_MAGIC, bytes, seed, 0, &number) == CONTENT_WRONG)
		die(0, "%s: no mark of this run", disk);
	return number;
}
