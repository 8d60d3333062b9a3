/* SPDX-License-Identifier: MIT */
/*
 * Writes a VHDX for tests, and what its disk then holds into a raw file beside it:
 * a chain is made file by file, all into one raw file. The same seed makes the
 * same blocks.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>

#include "vhdx_lies.h"

struct wanted {
	const char *path;
	const char *raw_path;
	const char *parent;
	const char *log;
	const char *lie;
	uint64_t block_bytes;
	uint64_t logical_bytes;
	uint64_t seed;
	struct vhdx_recipe recipe;
};

static const char usage[] =
	"usage: mkvhdx [--parent FILE [--absolute]] [--size N] [--block N] [--sector N] [--seed N]\n"
	"              [--fixed] [--log HOW] [--lie WHAT] FILE RAW\n"
	"Write a VHDX, or with --parent a differencing one, with blocks of random states and\n"
	"random bytes; write what its disk then holds into RAW. Sizes are in bytes.\n"
	"\n"
	"  --absolute   name the parent by its absolute path only, else by the relative one\n"
	"  --log HOW    metadata and BAT are in the log only. One of: replay, wrap (around its\n"
	"               end), torn-last (behind what counts), append (the last block is not in\n"
	"               the file yet), and these, which are to be refused: torn, checksum, id,\n"
	"               empty, tail, cut, payload, headers, descriptor\n"
	"  --lie WHAT   one of those in tests/vhdx_lies.h\n";

/* ---- options ---- */

static void lie(struct vhdx_image *image, const char *what)
{
	if (vhdx_lie(image, what))
		return;
	fputs(usage, stderr);
	exit(2);
}

static int parse_number(const char *text, uint64_t *ret_number)
{
	char *end;

	errno = 0;
	*ret_number = strtoull(text, &end, 10);
	return errno != 0 || end == text || *end ? -EINVAL : 0;
}

static void check_options(struct wanted *wanted, int nr_paths)
{
	wanted->recipe.block_bytes = (uint32_t)wanted->block_bytes;
	wanted->recipe.logical_bytes = (uint32_t)wanted->logical_bytes;
	wanted->recipe.id = (uint8_t)wanted->seed;
	if (nr_paths == 2 && wanted->recipe.disk_bytes > 0 &&
	    wanted->recipe.disk_bytes % wanted->logical_bytes == 0 &&
	    wanted->block_bytes >= VHDX_BLOCK_BYTES_MIN &&
	    wanted->block_bytes <= VHDX_BLOCK_BYTES_MAX)
		return;
	fputs(usage, stderr);
	exit(2);
}

static void parse_options(int argc, char **argv, struct wanted *wanted)
{
	static const struct option options[] = {
		{ "parent", required_argument, NULL, 'p' },
		{ "absolute", no_argument, NULL, 'a' },
		{ "size", required_argument, NULL, 's' },
		{ "block", required_argument, NULL, 'b' },
		{ "sector", required_argument, NULL, 'c' },
		{ "seed", required_argument, NULL, 'r' },
		{ "fixed", no_argument, NULL, 'f' },
		{ "log", required_argument, NULL, 'o' },
		{ "lie", required_argument, NULL, 'l' },
		{ NULL, 0, NULL, 0 },
	};
	static char absolute[4096], relative[4096];
	const char *slash;
	bool by_absolute = false;
	int rc = 0, c;

	while (rc == 0 && (c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'p')
			wanted->parent = optarg;
		else if (c == 'a')
			by_absolute = true;
		else if (c == 's')
			rc = parse_number(optarg, &wanted->recipe.disk_bytes);
		else if (c == 'b')
			rc = parse_number(optarg, &wanted->block_bytes);
		else if (c == 'c')
			rc = parse_number(optarg, &wanted->logical_bytes);
		else if (c == 'r')
			rc = parse_number(optarg, &wanted->seed);
		else if (c == 'f')
			wanted->recipe.is_fixed = true;
		else if (c == 'o')
			wanted->log = optarg;
		else if (c == 'l')
			wanted->lie = optarg;
		else
			rc = -EINVAL;
	}
	check_options(wanted, rc < 0 ? 0 : argc - optind);
	wanted->path = argv[optind];
	wanted->raw_path = argv[optind + 1];
	if (!wanted->parent)
		return;
	slash = strrchr(wanted->parent, '/');
	snprintf(relative, sizeof(relative), ".\\%s", slash ? slash + 1 : wanted->parent);
	if (by_absolute && !realpath(wanted->parent, absolute))
		exit(1);
	wanted->recipe.relative = by_absolute ? NULL : relative;
	wanted->recipe.absolute = by_absolute ? absolute : "\\\\?\\c:\\disks\\parent.vhdx";
}

/* ---- the content ---- */

static void fail(const char *path)
{
	fprintf(stderr, "mkvhdx: %s: %s\n", path, strerror(errno));
	exit(1);
}

static uint64_t random_word(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void put_random(struct vhdx_image *image, int raw, uint64_t offset, size_t nr_bytes,
		       uint64_t *state)
{
	uint8_t *bytes = malloc(nr_bytes);

	assert(bytes);
	for (size_t i = 0; i < nr_bytes; i += sizeof(*state)) {
		uint64_t word = random_word(state);

		memcpy(bytes + i, &word, sizeof(word));
	}
	vhdx_put(image, offset, bytes, nr_bytes);
	vhdx_write(raw, offset, bytes, nr_bytes);
	free(bytes);
}

static void put_zeros(int raw, uint64_t offset, size_t nr_bytes)
{
	uint8_t *bytes = calloc(1, nr_bytes);

	assert(bytes);
	vhdx_write(raw, offset, bytes, nr_bytes);
	free(bytes);
}

/* Runs of logical sectors; what is not marked is noise that must not be seen. */
static void put_partial(struct vhdx_image *image, int raw, uint64_t offset, size_t nr_bytes,
			uint64_t *state)
{
	const uint32_t logical = image->logical_bytes;
	static const uint8_t noise[65536] = { [0 ... 65535] = 0xee };

	for (size_t at = 0; at < nr_bytes; at += sizeof(noise))
		vhdx_put(image, offset + at, noise, min_u64(sizeof(noise), nr_bytes - at));
	for (unsigned int run = 0; run < 20; run++) {
		uint64_t first = random_word(state) % (nr_bytes / logical);
		uint64_t nr = min_u64(random_word(state) % 20 + 1, nr_bytes / logical - first);

		put_random(image, raw, offset + first * logical, nr * logical, state);
		for (uint64_t i = first; i < first + nr; i++)
			vhdx_mark(image, offset / logical + i);
	}
}

/* Block 0 is always there, so that there is something to lie about; so is the last one. */
static void put_blocks(struct vhdx_image *image, int raw, const struct wanted *wanted)
{
	static const enum vhdx_block_state states[] = {
		VHDX_BLOCK_NOT_PRESENT,	  VHDX_BLOCK_ZERO,	    VHDX_BLOCK_UNMAPPED,
		VHDX_BLOCK_FULLY_PRESENT, VHDX_BLOCK_FULLY_PRESENT, VHDX_BLOCK_PARTIALLY_PRESENT,
	};
	const uint64_t disk_bytes = wanted->recipe.disk_bytes;
	uint64_t random = (wanted->seed + 1) * 0x9e3779b97f4a7c15;

	for (uint32_t i = 0; i < image->nr_blocks; i++) {
		const uint64_t offset = (uint64_t)i * image->block_bytes;
		const size_t nr_bytes = (size_t)min_u64(image->block_bytes, disk_bytes - offset);
		enum vhdx_block_state state =
			states[random_word(&random) % (wanted->parent ? 6 : 5)];

		if (i == 0 || i == image->nr_blocks - 1 || wanted->recipe.is_fixed)
			state = VHDX_BLOCK_FULLY_PRESENT;
		vhdx_set_block(image, i, state);
		if (state == VHDX_BLOCK_FULLY_PRESENT)
			put_random(image, raw, offset, nr_bytes, &random);
		else if (state == VHDX_BLOCK_PARTIALLY_PRESENT)
			put_partial(image, raw, offset, nr_bytes, &random);
		else if (state != VHDX_BLOCK_NOT_PRESENT || !wanted->parent)
			put_zeros(raw, offset, nr_bytes);
	}
}

/* ---- the log ---- */

static struct vhdx_log_maker log_maker;

/* Metadata and BAT, as the log's changes: used sectors only. */
static void log_all(struct vhdx_image *image)
{
	const struct vhdx_change clear[] = {
		{ VHDX_TEST_METADATA, NULL, VHDX_TEST_METADATA_BYTES },
		{ VHDX_TEST_BAT, NULL, image->bat_bytes },
	};
	const size_t bat_used = round_up(image->nr_entries * sizeof(le64), VHDX_LOG_SECTOR_BYTES);
	struct vhdx_change changes[VHDX_TEST_LOG_SECTORS];
	unsigned int nr = 0;

	vhdx_log_add(&log_maker, clear, 2);
	for (size_t at = 0; at < sizeof(image->metadata); at += VHDX_LOG_SECTOR_BYTES)
		changes[nr++] =
			(struct vhdx_change){ VHDX_TEST_METADATA + at, image->metadata + at, 0 };
	vhdx_log_add(&log_maker, changes, nr);
	nr = 0;
	for (size_t at = 0; at < bat_used; at += VHDX_LOG_SECTOR_BYTES)
		changes[nr++] = (struct vhdx_change){ VHDX_TEST_BAT + at,
						      (const uint8_t *)image->bat + at, 0 };
	vhdx_log_add(&log_maker, changes, nr);
}

static void tear(uint32_t sector)
{
	const uint32_t nr =
		le32_get(vhdx_log_header_at(&log_maker, sector)->nr_bytes) / VHDX_LOG_SECTOR_BYTES;

	memset(vhdx_log_sector(&log_maker, sector + nr - 1), 0x33, VHDX_LOG_SECTOR_BYTES);
}

/* One more entry behind those that count. */
static void log_one(uint64_t offset)
{
	static const uint8_t data[VHDX_LOG_SECTOR_BYTES] = { 0xdd };
	const struct vhdx_change change = { offset, data, 0 };

	vhdx_log_add(&log_maker, &change, 1);
}

/* What the file itself has are older metadata and an older BAT: nonsense, and nothing. */
static void write_old(struct vhdx_image *image)
{
	static const uint8_t nonsense[8192] = { 0x55 };

	vhdx_write(image->fd, VHDX_TEST_METADATA, nonsense, sizeof(nonsense));
	vhdx_write(image->fd, VHDX_TEST_BAT, nonsense, sizeof(nonsense));
}

static void finish_with_log(struct vhdx_image *image, const char *how, int raw)
{
	uint64_t last_block = vhdx_entry_place(image, vhdx_entry_of(image, image->nr_blocks - 1));

	vhdx_log_begin(&log_maker, image->end_bytes);
	if (strcmp(how, "wrap") == 0)
		log_maker.at_sector = log_maker.tail_sector = VHDX_TEST_LOG_SECTORS - 3;
	if (strcmp(how, "append") == 0) {
		uint64_t disk_bytes = (uint64_t)lseek(raw, 0, SEEK_END);
		uint64_t first = (uint64_t)(image->nr_blocks - 1) * image->block_bytes;

		log_maker.flushed_bytes = last_block + 8192 + 256;
		put_zeros(raw, first + 8192 + 256, disk_bytes - first - 8192 - 256);
	}
	if (strcmp(how, "cut") == 0)
		log_maker.flushed_bytes += MIB;
	if (strcmp(how, "tail") == 0)
		log_maker.tail_sector = 200;
	if (strcmp(how, "empty") != 0)
		log_all(image);
	if (strcmp(how, "torn-last") == 0) {
		log_one(VHDX_TEST_BAT);
		tear(log_maker.last_sector);
	} else if (strcmp(how, "torn") == 0) {
		tear(log_maker.last_sector);
		memset(vhdx_log_sector(&log_maker, 0), 0, 3 * VHDX_LOG_SECTOR_BYTES);
	} else if (strcmp(how, "checksum") == 0) {
		vhdx_log_header_at(&log_maker, 0)->flushed_bytes.b[0] ^= 1;
	} else if (strcmp(how, "payload") == 0) {
		log_one(last_block);
	} else if (strcmp(how, "headers") == 0) {
		log_one(VHDX_HEADER_OFFSET);
	} else if (strcmp(how, "descriptor") == 0) {
		vhdx_log_descriptor_at(&log_maker, 0, 0)->offset.b[0] = 1;
		vhdx_log_mend(&log_maker, 0);
	}
	if (strcmp(how, "id") == 0)
		log_maker.log_id[5] ^= 1;
	write_old(image);
	vhdx_finish_with_log(image, &log_maker);
	if (strcmp(how, "append") == 0 && ftruncate(image->fd, (off_t)log_maker.flushed_bytes) < 0)
		fail("the file");
}

/* ---- the file ---- */

static void read_parent(struct wanted *wanted)
{
	struct vhdx_header header;
	int fd = open(wanted->parent, O_RDONLY | O_CLOEXEC);

	if (fd < 0 ||
	    pread(fd, &header, sizeof(header), VHDX_HEADER_OFFSET) != (ssize_t)sizeof(header))
		fail(wanted->parent);
	close(fd);
	wanted->recipe.parent_id = header.data_write_id[0];
}

int main(int argc, char **argv)
{
	static struct vhdx_image image;
	struct wanted wanted = {
		.block_bytes = VHDX_BLOCK_BYTES_MIN,
		.logical_bytes = 512,
		.recipe = { .disk_bytes = 16 * MIB },
	};
	int fd, raw;

	parse_options(argc, argv, &wanted);
	if (wanted.parent)
		read_parent(&wanted);
	fd = open(wanted.path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		fail(wanted.path);
	raw = open(wanted.raw_path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (raw < 0 || ftruncate(raw, (off_t)wanted.recipe.disk_bytes) < 0)
		fail(wanted.raw_path);
	vhdx_begin(&image, fd, &wanted.recipe);
	put_blocks(&image, raw, &wanted);
	if (wanted.lie)
		lie(&image, wanted.lie);
	if (wanted.log)
		finish_with_log(&image, wanted.log, raw);
	else
		vhdx_finish(&image);
	close(raw);
	close(fd);
	return 0;
}
