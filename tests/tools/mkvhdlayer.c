/* SPDX-License-Identifier: MIT */
/*
 * Writes a dynamic or differencing VHD for tests, and what its disk then holds
 * into a raw file beside it: a chain is made file by file, all into one raw file.
 * The same seed makes the same sectors.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>

#include "vhd_layer.h"

struct wanted {
	const char *path;
	const char *raw_path;
	const char *parent;
	const char *lie;
	uint64_t disk_bytes;
	uint32_t block_bytes;
	uint64_t seed;
	uint64_t align_sectors; /* of runs and their lengths */
	bool absolute;		/* only an absolute locator */
};

static const char usage[] =
	"usage: mkvhdlayer [--parent FILE [--absolute]] [--size N] [--block N] [--seed N]\n"
	"                  [--align N] [--lie WHAT] FILE RAW\n"
	"Write a dynamic VHD, or with --parent a differencing one, that holds random runs of\n"
	"sectors; write the same sectors into RAW. Sizes are in bytes.\n"
	"\n"
	"  --absolute   name the parent by its absolute path only, else by the relative one\n"
	"  --align N    runs begin and end at multiples of N sectors (1)\n"
	"  --lie WHAT   one of: footer (only the last one: the file stays good), header,\n"
	"               block-size, geometry, bat-short, bat-long, bat-outside, bat-on-header,\n"
	"               block-on-header, block-on-bat, block-on-footer, block-outside,\n"
	"               blocks-overlap, parent-id, parent-time, size\n";

/* ---- lies ---- */

static void set_first_block(struct vhd_layer *layer, uint64_t sector)
{
	layer->bat[0] = be32_of((uint32_t)sector);
}

static int lie(struct vhd_layer *layer, const char *what)
{
	uint64_t stride = layer_bitmap_sectors(layer) + layer->block_sectors;

	if (strcmp(what, "footer") == 0)
		layer->break_last_footer = true;
	else if (strcmp(what, "header") == 0)
		layer->header.version = be32_of(0x00020000);
	else if (strcmp(what, "block-size") == 0)
		layer->header.block_bytes = be32_of(3 << 20);
	else if (strcmp(what, "geometry") == 0) {
		memcpy(layer->footer.creator_app, VHD_CREATOR_QEMU, VHD_CREATOR_BYTES);
		layer->footer.geometry.cylinders = be16_of(0xfff0);
	} else if (strcmp(what, "bat-short") == 0)
		layer->header.max_entries = be32_of(layer->nr_blocks - 1);
	else if (strcmp(what, "bat-long") == 0)
		layer->header.block_bytes = be32_of(SECTOR_BYTES);
	else if (strcmp(what, "bat-outside") == 0)
		layer->header.max_entries = be32_of(UINT32_MAX);
	else if (strcmp(what, "bat-on-header") == 0)
		layer->header.bat_offset = be64_of(LAYER_HEADER_OFFSET + SECTOR_BYTES);
	else if (strcmp(what, "block-on-header") == 0)
		set_first_block(layer, 0);
	else if (strcmp(what, "block-on-bat") == 0)
		set_first_block(layer, LAYER_BAT_OFFSET / SECTOR_BYTES);
	else if (strcmp(what, "block-on-footer") == 0)
		set_first_block(layer, layer->end_sector - stride + 1);
	else if (strcmp(what, "block-outside") == 0)
		set_first_block(layer, UINT32_MAX - 1);
	else if (strcmp(what, "blocks-overlap") == 0)
		layer->bat[0] = layer->bat[1];
	else if (strcmp(what, "parent-id") == 0)
		layer->header.parent_uuid[0] ^= 1;
	else if (strcmp(what, "parent-time") == 0)
		layer->header.parent_modified_s.b[0] ^= 1;
	else if (strcmp(what, "size") == 0)
		layer->footer.current_bytes =
			be64_of(be64_get(layer->footer.current_bytes) - SECTOR_BYTES);
	else
		return -EINVAL;
	return 0;
}

/* ---- options ---- */

static int parse_number(const char *text, uint64_t *ret_number)
{
	char *end;

	errno = 0;
	*ret_number = strtoull(text, &end, 10);
	return errno != 0 || end == text || *end ? -EINVAL : 0;
}

static void parse_options(int argc, char **argv, struct wanted *wanted)
{
	static const struct option options[] = {
		{ "parent", required_argument, NULL, 'p' },
		{ "absolute", no_argument, NULL, 'a' },
		{ "size", required_argument, NULL, 's' },
		{ "block", required_argument, NULL, 'b' },
		{ "seed", required_argument, NULL, 'r' },
		{ "align", required_argument, NULL, 'n' },
		{ "lie", required_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	uint64_t block = wanted->block_bytes;
	int rc = 0;
	int c;

	while (rc == 0 && (c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'h') {
			fputs(usage, stdout);
			exit(0);
		}
		if (c == 'p')
			wanted->parent = optarg;
		else if (c == 'a')
			wanted->absolute = true;
		else if (c == 's')
			rc = parse_number(optarg, &wanted->disk_bytes);
		else if (c == 'b')
			rc = parse_number(optarg, &block);
		else if (c == 'r')
			rc = parse_number(optarg, &wanted->seed);
		else if (c == 'n')
			rc = parse_number(optarg, &wanted->align_sectors);
		else if (c == 'l')
			wanted->lie = optarg;
		else
			rc = -EINVAL;
	}
	wanted->block_bytes = (uint32_t)block;
	if (rc < 0 || optind != argc - 2 || wanted->disk_bytes == 0 ||
	    wanted->disk_bytes % SECTOR_BYTES != 0 || block < SECTOR_BYTES || block > GIB ||
	    wanted->align_sectors == 0) {
		fputs(usage, stderr);
		exit(2);
	}
	wanted->path = argv[optind];
	wanted->raw_path = argv[optind + 1];
}

/* ---- the file ---- */

static void fail(const char *path)
{
	fprintf(stderr, "mkvhdlayer: %s: %s\n", path, strerror(errno));
	exit(1);
}

/* The parent's size goes for the child's. */
static void describe_parent(struct wanted *wanted, struct vhd_layer_recipe *recipe, char *absolute)
{
	const char *slash = strrchr(wanted->parent, '/');
	static char relative[4096];
	struct vhd_footer footer;
	int fd = open(wanted->parent, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || lseek(fd, -VHD_FOOTER_BYTES, SEEK_END) < 0 ||
	    read(fd, &footer, sizeof(footer)) != (ssize_t)sizeof(footer) ||
	    !realpath(wanted->parent, absolute))
		fail(wanted->parent);
	close(fd);
	snprintf(relative, sizeof(relative), ".\\%s", slash ? slash + 1 : wanted->parent);
	recipe->parent_name = relative + 2;
	if (wanted->absolute)
		recipe->absolute = absolute;
	else
		recipe->relative = relative;
	memcpy(recipe->parent_uuid, footer.uuid, sizeof(recipe->parent_uuid));
	recipe->parent_modified_s = be32_get(footer.created_s);
	wanted->disk_bytes = be64_get(footer.current_bytes);
}

static uint64_t random_word(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Runs of 1 to 40 sectors all over the disk, many of which meet or overlap; the last sector. */
static void put_runs(struct vhd_layer *layer, int raw, const struct wanted *wanted)
{
	uint64_t state = (wanted->seed + 1) * 0x9e3779b97f4a7c15;
	uint64_t disk_sectors = bytes_to_sectors(wanted->disk_bytes);
	uint8_t sector[SECTOR_BYTES];

	for (int run = 0; run < 64; run++) {
		uint64_t first = random_word(&state) % disk_sectors;
		uint64_t nr = min_u64(random_word(&state) % 40 + 1, disk_sectors - first);

		if (run < 2) /* so that there are two blocks to lie about */
			first = run * min_u64(layer->block_sectors, disk_sectors - 40);
		if (run == 2)
			first = disk_sectors - nr;
		first -= first % wanted->align_sectors;
		nr = min_u64(round_up(nr, wanted->align_sectors), disk_sectors - first);
		for (uint64_t at = first; at < first + nr; at++) {
			for (size_t i = 0; i < sizeof(sector); i += 8) {
				uint64_t word = random_word(&state);

				memcpy(sector + i, &word, sizeof(word));
			}
			layer_put(layer, at, sector);
			if (pwrite(raw, sector, sizeof(sector), (off_t)sectors_to_bytes(at)) < 0)
				fail(wanted->raw_path);
		}
	}
}

int main(int argc, char **argv)
{
	static char absolute[4096];
	struct wanted wanted = {
		.disk_bytes = 16 * MIB,
		.block_bytes = VHD_BLOCK_BYTES_DEFAULT,
		.align_sectors = 1,
	};
	struct vhd_layer_recipe recipe = { .created_s = 0x30000000 };
	struct vhd_layer layer;
	int fd, raw;

	parse_options(argc, argv, &wanted);
	if (wanted.parent)
		describe_parent(&wanted, &recipe, absolute);
	recipe.disk_bytes = wanted.disk_bytes;
	recipe.block_bytes = wanted.block_bytes;
	recipe.created_s += (uint32_t)wanted.seed;
	snprintf((char *)recipe.uuid, sizeof(recipe.uuid), "layer %" PRIu64, wanted.seed);

	fd = open(wanted.path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		fail(wanted.path);
	raw = open(wanted.raw_path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (raw < 0 || ftruncate(raw, (off_t)wanted.disk_bytes) < 0)
		fail(wanted.raw_path);
	layer_begin(&layer, fd, &recipe);
	put_runs(&layer, raw, &wanted);
	if (wanted.lie && lie(&layer, wanted.lie) < 0) {
		fputs(usage, stderr);
		return 2;
	}
	layer_finish(&layer);
	close(raw);
	close(fd);
	return 0;
}
