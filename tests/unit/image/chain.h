/* SPDX-License-Identifier: MIT */
/* A folder of dynamic and differencing VHDs, of one test. */
#ifndef TESTS_IMAGE_CHAIN_H
#define TESTS_IMAGE_CHAIN_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

#include "image/base.h"
#include "vhd_layer.h"

enum {
	BLOCK = 64 << 10,
	SECTORS_PER_BLOCK = BLOCK / SECTOR_BYTES,
	BLOCKS = 8,
	DISK_SECTORS = BLOCKS * SECTORS_PER_BLOCK - 3, /* the last block is cut */
};

static char folder[64];
static struct problem problem;
static struct base base;

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static inline void begin(void)
{
	strcpy(folder, "/tmp/sealblk-chain-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
}

static inline void end(void)
{
	base_close(&base);
	nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static inline const char *path_of(const char *name)
{
	static char paths[4][128];
	static unsigned int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

static inline struct vhd_layer_recipe recipe_of(uint8_t id)
{
	return (struct vhd_layer_recipe){
		.disk_bytes = DISK_SECTORS * SECTOR_BYTES,
		.block_bytes = BLOCK,
		.created_s = 1000u + id,
		.uuid = { id },
	};
}

/* The child of layer @id - 1, which is called @parent. */
static inline struct vhd_layer_recipe child_recipe(uint8_t id, const char *parent)
{
	struct vhd_layer_recipe recipe = recipe_of(id);

	recipe.relative = parent;
	recipe.parent_uuid[0] = id - 1;
	recipe.parent_modified_s = 1000u + id - 1;
	return recipe;
}

static inline void start(struct vhd_layer *layer, const char *name,
			 const struct vhd_layer_recipe *recipe)
{
	int fd = open(path_of(name), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
	layer_begin(layer, fd, recipe);
}

static inline void put(struct vhd_layer *layer, uint64_t first, uint64_t nr, uint8_t fill)
{
	uint8_t bytes[SECTOR_BYTES];

	memset(bytes, fill, sizeof(bytes));
	for (uint64_t i = first; i < first + nr; i++)
		layer_put(layer, i, bytes);
}

static inline void finish(struct vhd_layer *layer)
{
	layer_finish(layer);
	close(layer->fd);
}

/* A layer with one run of sectors. */
static inline void make(const char *name, const struct vhd_layer_recipe *recipe, uint64_t first,
			uint64_t nr, uint8_t fill)
{
	struct vhd_layer layer;

	start(&layer, name, recipe);
	put(&layer, first, nr, fill);
	finish(&layer);
}

#endif
